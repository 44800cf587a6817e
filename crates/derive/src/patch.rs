//! `#[derive(Patch)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, Path, Result};

use crate::attr::{self, Errors, Target, inside, located, named, named_fields};

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let target = errors.keep(Target::of(&input, "patch", "Patch"));
    let mut changes = Vec::new();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for field in named_fields(&input, "Patch")? {
        let mut column: Option<Path> = None;
        for attribute in named(&field.attrs, "patch") {
            errors.keep(attribute.parse_nested_meta(|meta| read(&mut column, &meta)));
        }
        if inside(&field.ty, "Option").is_none() {
            let ty = &field.ty;
            errors.at(
                ty,
                format!(
                    "a field of a patch is an Option, `None` leaving the column as it is: \
                     write `Option<{}>`",
                    quote!(#ty).to_string().replace(' ', "")
                ),
            );
        }
        let (Some(target), Some(own)) = (&target, &field.ident) else {
            continue;
        };
        let column = target.column(own, column.as_ref());
        let (root, model) = (&target.root, &target.model);
        let patch = located(&field.ty, quote!(#root::Column::<#model, _>::patch));
        let value = located(&field.ty, quote!(self.#own));
        changes.push(quote!(#patch(#column, #value, changes)?;));
        columns.push(column);
        fields.push(own.clone());
    }
    errors.finish()?;
    let Some(Target { model, root }) = target else {
        return Ok(TokenStream::new());
    };
    let ident = &input.ident;
    let once = attr::set_once(&root, &fields, &columns);
    Ok(quote! {
        #[automatically_derived]
        impl #root::Patch for #ident {
            type Entity = #model;

            fn into_changes(self, changes: &mut #root::Changes) -> #root::Result<()> {
                #(#changes)*
                ::core::result::Result::Ok(())
            }
        }

        #once
    })
}

fn read(column: &mut Option<Path>, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.path.is_ident("column") {
        attr::once(column, Path::parse_mod_style(meta.value()?)?, meta)
    } else {
        Err(attr::unknown(meta, "patch", &["column"]))
    }
}
