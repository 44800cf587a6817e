//! Unique constraints and indexes: the fields they name, found in the model.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::ParseStream;
use syn::{Attribute, Error, Ident, LitStr, Meta, Result, Token};

use super::field::Field;
use crate::attr::{Errors, NAME_MAX, db_name};

/// The fields of a constraint or index as written, with its name where there is one.
#[derive(Clone)]
pub(crate) struct Columns {
    name: Option<LitStr>,
    fields: Vec<Ident>,
    span: Span,
}

/// How a name ends that nobody gave.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    /// After the columns' names.
    OfColumns(&'static str),
    /// After the table's.
    Only(&'static str),
}

/// A constraint or index with the positions of its columns.
pub(crate) struct Constraint {
    pub(crate) name: String,
    pub(crate) columns: Vec<usize>,
    pub(crate) span: Span,
}

impl Columns {
    /// Reads `index(author_id, status)` or `unique(name = "..", author_id, slug)`.
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>) -> Result<Self> {
        let content;
        if meta.input.peek(syn::token::Bracket) {
            syn::bracketed!(content in meta.input);
        } else {
            syn::parenthesized!(content in meta.input);
        }
        let name = name(&content)?;
        let fields = content.parse_terminated(Ident::parse_any, Token![,])?;
        if fields.is_empty() {
            return Err(meta.error("over which fields? Write their names in the parentheses"));
        }
        let span = meta
            .path
            .get_ident()
            .map_or_else(Span::call_site, Ident::span);
        Ok(Self {
            name,
            fields: fields.into_iter().collect(),
            span,
        })
    }

    /// Reads `#[unique]` or `#[index(name = "..")]` on a field.
    pub(crate) fn of_field(attribute: &Attribute, field: &Ident) -> Result<Self> {
        let name = match &attribute.meta {
            Meta::Path(_) => None,
            _ => attribute.parse_args_with(|input: ParseStream<'_>| {
                let name = name(input)?;
                if input.is_empty() && name.is_some() {
                    return Ok(name);
                }
                Err(input.error(
                    "on a field only `name = \"..\"` can be said here; \
                     one over several fields belongs into #[entity(..)]",
                ))
            })?,
        };
        Ok(Self {
            name,
            fields: vec![field.clone()],
            span: field.span(),
        })
    }

    /// Finds the fields and makes up the name: the table's, the columns' unless it is the only one
    /// of its kind, and the ending.
    pub(crate) fn resolve(
        self,
        table: &str,
        fields: &[Field],
        ending: Ending,
        errors: &mut Errors,
    ) -> Option<Constraint> {
        let mut columns = Vec::new();
        for ident in &self.fields {
            match fields
                .iter()
                .position(|field| field.ident.unraw() == ident.unraw())
            {
                None => errors.at(ident, format!("the model has no field `{ident}`")),
                Some(at) if columns.contains(&at) => {
                    errors.at(ident, format!("`{ident}` is named twice: remove one"));
                }
                Some(at) => columns.push(at),
            }
        }
        if columns.len() < self.fields.len() {
            return None;
        }
        let names: Vec<&str> = columns.iter().map(|&at| fields[at].name.as_str()).collect();
        let name = match self.name {
            Some(name) => name.value(),
            None => match ending {
                Ending::OfColumns(ending) => format!("{table}_{}_{ending}", names.join("_")),
                Ending::Only(ending) => format!("{table}_{ending}"),
            },
        };
        if name.len() > NAME_MAX {
            errors.push(Error::new(
                self.span,
                format!(
                    "its name `{name}` is longer than {NAME_MAX} bytes: \
                     write a shorter one with name = \"..\""
                ),
            ));
        }
        Some(Constraint {
            name,
            columns,
            span: self.span,
        })
    }
}

/// Reads `name = "..",` where it stands.
fn name(input: ParseStream<'_>) -> Result<Option<LitStr>> {
    if !(input.peek(Ident) && input.peek2(Token![=])) {
        return Ok(None);
    }
    let key: Ident = input.parse()?;
    if key != "name" {
        return Err(Error::new(
            key.span(),
            "only `name = \"..\"` can stand here",
        ));
    }
    input.parse::<Token![=]>()?;
    let name = db_name(input)?;
    input.parse::<Option<Token![,]>>()?;
    Ok(Some(name))
}

/// Names must differ within the database, and nothing is worth declaring twice.
pub(crate) fn check_names(uniques: &[Constraint], indexes: &[Constraint], errors: &mut Errors) {
    let all: Vec<&Constraint> = uniques.iter().chain(indexes).collect();
    for (at, one) in all.iter().enumerate() {
        for earlier in &all[..at] {
            if one.name == earlier.name {
                errors.push(Error::new(
                    one.span,
                    format!(
                        "`{}` is declared twice: remove one, or give it another name",
                        one.name
                    ),
                ));
            } else if one.columns == earlier.columns {
                errors.push(Error::new(
                    one.span,
                    format!(
                        "`{}` already covers exactly these fields: remove one",
                        earlier.name
                    ),
                ));
            }
        }
    }
}
