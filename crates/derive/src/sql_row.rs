//! `#[derive(SqlRow)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, LitStr, Path, Result};

use crate::attr::{self, Errors, located, named, named_fields};

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let mut krate: Option<Path> = None;
    for attribute in named(&input.attrs, "sql") {
        errors.keep(attribute.parse_nested_meta(|meta| read_struct(&mut krate, &meta)));
    }
    let root = errors.keep(crate::root::root(krate.as_ref()));
    let (mut columns, mut fields) = (Vec::new(), Vec::new());
    let mut seen = Vec::new();
    for (at, field) in named_fields(&input, "SqlRow")?.iter().enumerate() {
        let mut name: Option<LitStr> = None;
        for attribute in named(&field.attrs, "sql") {
            errors.keep(attribute.parse_nested_meta(|meta| read_field(&mut name, &meta)));
        }
        let (Some(root), Some(own)) = (&root, &field.ident) else {
            continue;
        };
        let ty = &field.ty;
        let name = name.unwrap_or_else(|| LitStr::new(&own.unraw().to_string(), own.span()));
        if seen.contains(&name.value()) {
            errors.at(
                field,
                "another field reads the same column: remove one of them",
            );
        }
        seen.push(name.value());
        columns.push(located(ty, quote!(#root::SqlColumn::named::<#ty>(#name))));
        let get = located(ty, quote!(#root::get::<#ty>));
        fields.push(quote!(#own: #get(row, #at)?));
    }
    errors.finish()?;
    let Some(root) = root else {
        return Ok(TokenStream::new());
    };
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #root::SqlRow for #ident {
            fn columns() -> ::std::vec::Vec<#root::SqlColumn> {
                ::std::vec![#(#columns),*]
            }

            fn read(row: &dyn #root::Row) -> #root::Result<Self> {
                ::core::result::Result::Ok(Self { #(#fields),* })
            }
        }
    })
}

fn read_struct(krate: &mut Option<Path>, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.path.is_ident("crate") {
        attr::once(krate, attr::crate_path(meta)?, meta)
    } else {
        Err(attr::unknown(meta, "sql", &["crate"]))
    }
}

fn read_field(name: &mut Option<LitStr>, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.path.is_ident("name") {
        attr::once(name, attr::db_name(meta.value()?)?, meta)
    } else {
        Err(attr::unknown(meta, "sql", &["name"]))
    }
}
