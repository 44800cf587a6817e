//! `#[derive(TextEnum)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Ident, LitStr, Path, Result};

use crate::attr::{self, Errors, named};

/// How the text is made from a variant's name.
#[derive(Clone, Copy, Default)]
enum Case {
    #[default]
    Snake,
    Kebab,
    ScreamingSnake,
    Lower,
    Camel,
    Pascal,
}

impl Case {
    const NAMES: [(&str, Self); 6] = [
        ("snake_case", Self::Snake),
        ("kebab-case", Self::Kebab),
        ("SCREAMING_SNAKE_CASE", Self::ScreamingSnake),
        ("lowercase", Self::Lower),
        ("camelCase", Self::Camel),
        ("PascalCase", Self::Pascal),
    ];

    fn parse(text: &LitStr) -> Result<Self> {
        let value = text.value();
        Self::NAMES
            .into_iter()
            .find(|(name, _)| *name == value)
            .map(|(_, case)| case)
            .ok_or_else(|| {
                let names = Self::NAMES
                    .map(|(name, _)| format!("\"{name}\""))
                    .join(", ");
                Error::new(text.span(), format!("rename_all is one of {names}"))
            })
    }

    /// The text of a variant, whose name is in `PascalCase`.
    fn apply(self, variant: &Ident) -> String {
        let pascal = variant.unraw().to_string();
        match self {
            Self::Snake => separated(&pascal, '_'),
            Self::Kebab => separated(&pascal, '-'),
            Self::ScreamingSnake => separated(&pascal, '_').to_uppercase(),
            Self::Lower => pascal.to_lowercase(),
            Self::Camel => {
                let mut chars = pascal.chars();
                chars
                    .next()
                    .into_iter()
                    .flat_map(char::to_lowercase)
                    .chain(chars)
                    .collect()
            }
            Self::Pascal => pascal,
        }
    }
}

/// `InReview` as `in_review`, the way serde does it.
fn separated(pascal: &str, separator: char) -> String {
    let mut text = String::with_capacity(pascal.len() + 4);
    for (at, letter) in pascal.char_indices() {
        if at > 0 && letter.is_uppercase() {
            text.push(separator);
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// What `#[text_enum(..)]` says.
#[derive(Default)]
struct Attributes {
    case: Option<Case>,
    krate: Option<Path>,
}

impl Attributes {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("rename_all") {
            attr::once(&mut self.case, Case::parse(&meta.value()?.parse()?)?, meta)
        } else if meta.path.is_ident("crate") {
            attr::once(&mut self.krate, attr::crate_path(meta)?, meta)
        } else {
            Err(attr::unknown(meta, "text_enum", &["rename_all", "crate"]))
        }
    }
}

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let mut attributes = Attributes::default();
    for attribute in named(&input.attrs, "text_enum") {
        errors.keep(attribute.parse_nested_meta(|meta| attributes.read(&meta)));
    }
    let data = unit_enum(&input)?;
    let texts = texts(data, attributes.case.unwrap_or_default(), &mut errors);
    let root = errors.keep(crate::root::root(attributes.krate.as_ref()));
    errors.finish()?;
    let Some(root) = root else {
        return Ok(TokenStream::new());
    };

    let (ident, vis) = (&input.ident, &input.vis);
    let name = ident.unraw().to_string();
    let variants: Vec<&Ident> = data.variants.iter().map(|variant| &variant.ident).collect();
    let known = texts.join(", ");
    Ok(quote! {
        #[automatically_derived]
        #[allow(dead_code, unreachable_pub)]
        impl #ident {
            /// The text that the variant is stored as.
            #[must_use]
            #vis const fn as_str(&self) -> &'static str {
                match self {
                    #(Self::#variants => #texts,)*
                }
            }
        }

        #[automatically_derived]
        impl #root::ColumnType for #ident {
            type Base = Self;
            const KIND: #root::Kind = #root::Kind::Text;

            fn into_value(self) -> #root::Result<#root::Value> {
                ::core::result::Result::Ok(#root::static_text(self.as_str()))
            }

            fn from_value(value: #root::ValueRef<'_>) -> #root::Result<Self> {
                match #root::text(value)? {
                    #(#texts => ::core::result::Result::Ok(Self::#variants),)*
                    other => {
                        let error = #root::unknown_variant(#name, #known, other);
                        ::core::result::Result::Err(error)
                    }
                }
            }
        }

        #[automatically_derived]
        impl ::core::fmt::Display for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        #[automatically_derived]
        impl ::core::str::FromStr for #ident {
            type Err = #root::Error;

            fn from_str(text: &str) -> #root::Result<Self> {
                match text {
                    #(#texts => ::core::result::Result::Ok(Self::#variants),)*
                    other => ::core::result::Result::Err(#root::no_variant(#known, other)),
                }
            }
        }
    })
}

fn unit_enum(input: &DeriveInput) -> Result<&DataEnum> {
    match &input.data {
        Data::Enum(data) if !data.variants.is_empty() => {
            let with_data = data
                .variants
                .iter()
                .find(|variant| variant.fields != Fields::Unit);
            match with_data {
                None => Ok(data),
                Some(variant) => Err(Error::new_spanned(
                    &variant.ident,
                    "a text enum's variants hold no data: remove it, or store the enum as Json<..>",
                )),
            }
        }
        _ => Err(Error::new_spanned(
            &input.ident,
            "#[derive(TextEnum)] needs an enum with at least one variant",
        )),
    }
}

/// The variants' texts, in order.
fn texts(data: &DataEnum, case: Case, errors: &mut Errors) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for variant in &data.variants {
        let mut text = case.apply(&variant.ident);
        for attribute in named(&variant.attrs, "text") {
            match attribute.parse_args::<LitStr>() {
                Ok(given) if given.value().contains('\0') => {
                    errors.at(&given, "text cannot hold a NUL character: remove it");
                }
                Ok(given) => text = given.value(),
                Err(_) => errors.at(attribute, "write the variant's text as #[text(\"..\")]"),
            }
        }
        if texts.contains(&text) {
            errors.at(
                &variant.ident,
                format!(
                    "a second variant stored as \"{text}\": \
                     give one of them another #[text(\"..\")]"
                ),
            );
        }
        texts.push(text);
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_texts_in_every_case() {
        let variant: Ident = syn::parse_quote!(InReview);
        let texts: Vec<_> = Case::NAMES
            .into_iter()
            .map(|(_, case)| case.apply(&variant))
            .collect();
        assert_eq!(
            texts,
            [
                "in_review",
                "in-review",
                "IN_REVIEW",
                "inreview",
                "inReview",
                "InReview"
            ]
        );
    }
}
