//! `#[derive(Newtype)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{Data, DeriveInput, Error, Fields, Path, Result, Type};

use crate::attr::{self, Errors, located, named};

/// What `#[newtype(..)]` says.
#[derive(Default)]
struct Attributes {
    validate: Option<Path>,
    krate: Option<Path>,
}

impl Attributes {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("validate") {
            attr::once(&mut self.validate, meta.value()?.parse()?, meta)
        } else if meta.path.is_ident("crate") {
            attr::once(&mut self.krate, attr::crate_path(meta)?, meta)
        } else {
            Err(attr::unknown(meta, "newtype", &["validate", "crate"]))
        }
    }
}

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let mut attributes = Attributes::default();
    for attribute in named(&input.attrs, "newtype") {
        errors.keep(attribute.parse_nested_meta(|meta| attributes.read(&meta)));
    }
    let inner = errors.keep(only_field(&input));
    let root = errors.keep(crate::root::root(attributes.krate.as_ref()));
    errors.finish()?;
    let (Some(inner), Some(root)) = (inner, root) else {
        return Ok(TokenStream::new());
    };

    let ident = &input.ident;
    let column = located(inner, quote!(<#inner as #root::ColumnType>));
    let conversion = conversion(&input, inner, &root, attributes.validate.as_ref());
    let not_null = located(
        inner,
        quote!(#root::must(
            !#column::NULLABLE,
            "a newtype holds a value: remove the Option here \
             and make the model's field an Option of the newtype",
        )),
    );
    Ok(quote! {
        #[automatically_derived]
        impl #root::ColumnType for #ident {
            type Base = Self;
            const KIND: #root::Kind = #column::KIND;

            fn into_value(self) -> #root::Result<#root::Value> {
                #column::into_value(self.0)
            }

            fn from_value(value: #root::ValueRef<'_>) -> #root::Result<Self> {
                ::core::result::Result::Ok(Self(#column::from_value(value)?))
            }
        }

        #conversion

        #[automatically_derived]
        impl ::core::convert::From<#ident> for #inner {
            fn from(value: #ident) -> Self {
                value.0
            }
        }

        #[automatically_derived]
        const _: () = #not_null;
    })
}

/// `From` the inner type, or `TryFrom` where a function validates.
fn conversion(
    input: &DeriveInput,
    inner: &Type,
    root: &TokenStream,
    validate: Option<&Path>,
) -> TokenStream {
    let ident = &input.ident;
    let Some(validate) = validate else {
        return quote! {
            #[automatically_derived]
            impl ::core::convert::From<#inner> for #ident {
                fn from(value: #inner) -> Self {
                    Self(value)
                }
            }
        };
    };
    let check = located(validate, quote!(#root::validated(#validate(&value))?;));
    quote! {
        #[automatically_derived]
        impl ::core::convert::TryFrom<#inner> for #ident {
            type Error = #root::Error;

            fn try_from(value: #inner) -> #root::Result<Self> {
                #check
                ::core::result::Result::Ok(Self(value))
            }
        }
    }
}

fn only_field(input: &DeriveInput) -> Result<&Type> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "#[derive(Newtype)] needs a struct without generic parameters: remove them",
        ));
    }
    if let Data::Struct(data) = &input.data
        && let Fields::Unnamed(fields) = &data.fields
        && let Some(field) = fields.unnamed.first()
        && fields.unnamed.len() == 1
    {
        return Ok(&field.ty);
    }
    let ident = &input.ident;
    Err(Error::new_spanned(
        ident,
        format!(
            "#[derive(Newtype)] needs a struct of one unnamed field: \
             write `struct {ident}(String);`"
        ),
    ))
}
