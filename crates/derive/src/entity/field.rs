//! One field of a model and what its attributes say.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Ident, LitInt, LitStr, Meta, Path, Result, Token, Type};

use super::constraint::Columns;
use crate::attr::{self, Errors};

/// A field of a model.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// The column's name.
    pub(crate) name: String,
    /// The constant's name.
    pub(crate) constant: Ident,
    pub(crate) key: Option<Key>,
    pub(crate) unique: Option<Columns>,
    pub(crate) index: Option<Columns>,
    pub(crate) references: Option<References>,
    pub(crate) column: Column,
    pub(crate) keeper: Option<Keeper>,
}

/// Where a key comes from.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Key {
    Given,
    Auto,
}

/// What the layer keeps in a column.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Keeper {
    CreatedAt,
    UpdatedAt,
    Version,
}

/// `#[column(..)]`.
#[derive(Default)]
pub(crate) struct Column {
    name: Option<LitStr>,
    pub(crate) max_len: Option<LitInt>,
    pub(crate) default: Option<Default>,
}

/// `default = ..`.
pub(crate) enum Default {
    Bool(syn::LitBool),
    Int(TokenStream),
    Float(TokenStream),
    Text(LitStr),
    /// A variant of a text enum.
    Variant(Path),
}

/// `#[references(..)]`.
pub(crate) struct References {
    pub(crate) model: Path,
    pub(crate) on_delete: OnDelete,
}

/// `on_delete = ..`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum OnDelete {
    Restrict,
    Cascade,
    SetNull,
}

impl Keeper {
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Version => "version",
        }
    }
}

impl Field {
    pub(crate) fn auto(&self) -> bool {
        self.key == Some(Key::Auto)
    }

    /// Reads a field of the model; `None` if it has no name.
    pub(crate) fn parse(field: &syn::Field, model: &Ident, errors: &mut Errors) -> Option<Self> {
        let ident = field.ident.clone()?;
        let name = ident.unraw().to_string();
        let mut parsed = Self {
            constant: attr::constant(&ident),
            ty: without_self(&field.ty, model),
            ident,
            name,
            key: None,
            unique: None,
            index: None,
            references: None,
            column: Column::default(),
            keeper: None,
        };
        for attribute in &field.attrs {
            errors.keep(parsed.read(attribute));
        }
        if let Some(name) = &parsed.column.name {
            parsed.name = name.value();
        }
        if let Some(references) = &mut parsed.references {
            references.model = without_self(&references.model, model);
        }
        parsed.check(errors);
        Some(parsed)
    }

    fn read(&mut self, attribute: &Attribute) -> Result<()> {
        let Some(name) = attribute.path().get_ident() else {
            return Ok(());
        };
        match name.to_string().as_str() {
            "key" => {
                // Given or made: either way the model has a key, whatever else is wrong.
                set(&mut self.key, Key::Given, attribute)?;
                self.key = Some(key(attribute)?);
                Ok(())
            }
            "unique" => set(
                &mut self.unique,
                Columns::of_field(attribute, &self.ident)?,
                attribute,
            ),
            "index" => set(
                &mut self.index,
                Columns::of_field(attribute, &self.ident)?,
                attribute,
            ),
            "references" => set(&mut self.references, attribute.parse_args()?, attribute),
            "column" => attribute.parse_nested_meta(|meta| self.column.read(&meta)),
            "created_at" => self.keep(Keeper::CreatedAt, attribute),
            "updated_at" => self.keep(Keeper::UpdatedAt, attribute),
            "version" => self.keep(Keeper::Version, attribute),
            _ => Ok(()),
        }
    }

    fn keep(&mut self, keeper: Keeper, attribute: &Attribute) -> Result<()> {
        attribute.meta.require_path_only()?;
        set(&mut self.keeper, keeper, attribute)
    }

    /// Refuses attributes that contradict each other.
    fn check(&self, errors: &mut Errors) {
        if let (Some(_), Some(keeper)) = (self.key, self.keeper) {
            errors.at(
                &self.ident,
                format!(
                    "a key does not change, so it cannot be #[{}] too: remove one",
                    keeper.attribute()
                ),
            );
        }
        if self.auto() && self.references.is_some() {
            errors.at(
                &self.ident,
                "a key made by the store refers to nothing: write #[key] instead of #[key(auto)]",
            );
        }
        if self.column.default.is_some() && (self.auto() || self.keeper.is_some()) {
            errors.at(
                &self.ident,
                "the store or the layer sets this column: remove `default`",
            );
        }
        if let (Some(max), Some(Default::Text(text))) = (&self.column.max_len, &self.column.default)
            && max
                .base10_parse::<usize>()
                .is_ok_and(|max| text.value().chars().count() > max)
        {
            errors.at(text, "the default is longer than max_len allows");
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T, attribute: &Attribute) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new_spanned(
            attribute,
            "said already: remove one of the two",
        ));
    }
    Ok(())
}

/// `#[key]` or `#[key(auto)]`.
fn key(attribute: &Attribute) -> Result<Key> {
    if let Meta::Path(_) = attribute.meta {
        return Ok(Key::Given);
    }
    let word: Ident = attribute.parse_args()?;
    if word == "auto" {
        Ok(Key::Auto)
    } else {
        Err(Error::new(
            word.span(),
            "write #[key], or #[key(auto)] for a key made by the store",
        ))
    }
}

impl Column {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("name") {
            attr::once(&mut self.name, attr::db_name(meta.value()?)?, meta)
        } else if meta.path.is_ident("max_len") {
            let max: LitInt = meta.value()?.parse()?;
            match max.base10_parse::<u32>() {
                Ok(1..) => attr::once(&mut self.max_len, max, meta),
                _ => Err(Error::new(
                    max.span(),
                    "max_len is a number of characters, 1 or more",
                )),
            }
        } else if meta.path.is_ident("default") {
            attr::once(&mut self.default, meta.value()?.parse()?, meta)
        } else {
            Err(attr::unknown(
                meta,
                "column",
                &["name", "max_len", "default"],
            ))
        }
    }
}

impl Parse for Default {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            let text: LitStr = input.parse()?;
            if text.value().contains('\0') {
                return Err(Error::new(
                    text.span(),
                    "text cannot hold a NUL character: remove it",
                ));
            }
            return Ok(Self::Text(text));
        }
        if input.peek(syn::LitBool) {
            return input.parse().map(Self::Bool);
        }
        let minus: Option<Token![-]> = input.parse()?;
        if input.peek(LitInt) {
            let number: LitInt = input.parse()?;
            let text = format!(
                "{}{}",
                if minus.is_some() { "-" } else { "" },
                number.base10_digits()
            );
            return match text.parse::<i64>() {
                Ok(_) if number.suffix().is_empty() => Ok(Self::Int(quote!(#minus #number))),
                Ok(_) => Err(Error::new(
                    number.span(),
                    "write the number without a suffix",
                )),
                Err(_) => Err(Error::new(number.span(), "the number does not fit an i64")),
            };
        }
        if input.peek(syn::LitFloat) {
            let number: syn::LitFloat = input.parse()?;
            return if number.suffix().is_empty() {
                Ok(Self::Float(quote!(#minus #number)))
            } else {
                Err(Error::new(
                    number.span(),
                    "write the number without a suffix",
                ))
            };
        }
        let start = input.span();
        match (minus, input.call(Path::parse_mod_style)) {
            (None, Ok(path)) if input.is_empty() || input.peek(Token![,]) => {
                Ok(Self::Variant(path))
            }
            _ => Err(Error::new(
                start,
                "a default is a bool, a number, a text in quotes, or a variant of a text enum; \
                 anything else belongs into the code that inserts",
            )),
        }
    }
}

impl Parse for References {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let model = Path::parse_mod_style(input)?;
        let mut on_delete = OnDelete::Restrict;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let key: Ident = input.parse()?;
            if key != "on_delete" {
                return Err(Error::new(
                    key.span(),
                    "after the model only `on_delete = cascade`, `restrict` or `set_null` \
                     can follow",
                ));
            }
            input.parse::<Token![=]>()?;
            let word: Ident = input.parse()?;
            on_delete = match word.to_string().as_str() {
                "restrict" => OnDelete::Restrict,
                "cascade" => OnDelete::Cascade,
                "set_null" => OnDelete::SetNull,
                _ => {
                    let text = "on_delete is `cascade`, `restrict` or `set_null`";
                    return Err(Error::new(word.span(), text));
                }
            };
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(Self { model, on_delete })
    }
}

/// A type or path with `Self` written out: the table is a static, where `Self` has no meaning.
fn without_self<T: ToTokens + Parse + Clone>(written: &T, model: &Ident) -> T {
    let tokens = replace_self(written.to_token_stream(), model);
    syn::parse2(tokens).unwrap_or_else(|_| written.clone())
}

fn replace_self(tokens: TokenStream, model: &Ident) -> TokenStream {
    use proc_macro2::{Group, TokenTree};
    tokens
        .into_iter()
        .map(|tree| match tree {
            TokenTree::Ident(ident) if ident == "Self" => {
                TokenTree::Ident(Ident::new(&model.to_string(), ident.span()))
            }
            TokenTree::Group(group) => {
                let stream = replace_self(group.stream(), model);
                let mut replaced = Group::new(group.delimiter(), stream);
                replaced.set_span(group.span());
                TokenTree::Group(replaced)
            }
            other => other,
        })
        .collect()
}
