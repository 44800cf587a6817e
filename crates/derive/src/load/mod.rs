//! `#[derive(Load)]`: reads the plan, then writes its queries.

mod field;
mod generate;

use proc_macro2::TokenStream;
use syn::{DeriveInput, Ident, Result};

use crate::attr::{Errors, Target, named_fields};
use field::{Field, Source};

/// A loading plan as its struct and attributes describe it.
pub(crate) struct Plan {
    ident: Ident,
    target: Target,
    fields: Vec<Field>,
}

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let target = errors.keep(Target::of(&input, "load", "Load"));
    let mut fields: Vec<Field> = Vec::new();
    for field in named_fields(&input, "Load")? {
        let model = target.as_ref().map(|target| &target.model);
        let Some(field) = Field::parse(field, model, &mut errors) else {
            continue;
        };
        let flat = |field: &Field| matches!(field.source, Source::Flatten);
        if flat(&field) && fields.iter().any(flat) {
            errors.at(
                &field.ident,
                "a plan has one flattened field at most: name the columns here",
            );
        }
        fields.push(field);
    }
    errors.finish()?;
    let Some(target) = target else {
        return Ok(TokenStream::new());
    };
    Ok(generate::generate(&Plan {
        ident: input.ident,
        target,
        fields,
    }))
}
