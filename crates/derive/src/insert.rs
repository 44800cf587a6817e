//! `#[derive(Insert)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, Path, Result};

use crate::attr::{self, Errors, Target, located, named, named_fields};

/// What `#[insert(..)]` on a field says.
#[derive(Default)]
struct Attributes {
    column: Option<Path>,
    into: Option<()>,
}

impl Attributes {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("column") {
            attr::once(
                &mut self.column,
                Path::parse_mod_style(meta.value()?)?,
                meta,
            )
        } else if meta.path.is_ident("into") {
            attr::once(&mut self.into, (), meta)
        } else {
            Err(attr::unknown(meta, "insert", &["column", "into"]))
        }
    }
}

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let target = errors.keep(Target::of(&input, "insert", "Insert"));
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let mut encodes = Vec::new();
    for field in named_fields(&input, "Insert")? {
        let mut attributes = Attributes::default();
        for attribute in named(&field.attrs, "insert") {
            errors.keep(attribute.parse_nested_meta(|meta| attributes.read(&meta)));
        }
        let (Some(target), Some(own)) = (&target, &field.ident) else {
            continue;
        };
        let root = &target.root;
        let column = target.column(own, attributes.column.as_ref());
        let value = if attributes.into.is_some() {
            located(&field.ty, quote!(::core::convert::Into::into(self.#own)))
        } else {
            located(&field.ty, quote!(self.#own))
        };
        let model = &target.model;
        let encode = located(&field.ty, quote!(#root::encode::<#model, _>));
        encodes.push(quote!(#encode(#column, #value, values)?;));
        columns.push(column);
        fields.push(own.clone());
    }
    errors.finish()?;
    let Some(Target { model, root }) = target else {
        return Ok(TokenStream::new());
    };
    let ident = &input.ident;
    let covers = located(
        ident,
        quote!(#root::assert_insert_covers(
            <#model as #root::Entity>::TABLE,
            <#ident as #root::Insert>::COLUMNS,
        )),
    );
    let once = attr::set_once(&root, &fields, &columns);
    Ok(quote! {
        #[automatically_derived]
        impl #root::Insert for #ident {
            type Entity = #model;
            const COLUMNS: &'static [usize] = &[#(#columns.index()),*];

            fn into_values(self, values: &mut ::std::vec::Vec<#root::Value>) -> #root::Result<()> {
                #(#encodes)*
                ::core::result::Result::Ok(())
            }
        }

        #[automatically_derived]
        const _: () = #covers;

        #once
    })
}
