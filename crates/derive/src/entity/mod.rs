//! `#[derive(Entity)]`: reads the model, then writes its table.

mod constraint;
mod field;
mod generate;

use proc_macro2::TokenStream;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, Error, Ident, LitStr, Path, Result, Visibility};

use crate::attr::{self, Errors, named, named_fields};
use constraint::{Columns, Constraint, Ending, check_names};
use field::Field;

/// A model as its struct and attributes describe it.
pub(crate) struct Model {
    ident: Ident,
    vis: Visibility,
    root: TokenStream,
    table: String,
    fields: Vec<Field>,
    uniques: Vec<Constraint>,
    indexes: Vec<Constraint>,
    search: Option<Constraint>,
}

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    Ok(generate::generate(&Model::parse(input)?))
}

/// What `#[entity(..)]` says.
#[derive(Default)]
struct Attributes {
    table: Option<LitStr>,
    krate: Option<Path>,
    uniques: Vec<Columns>,
    indexes: Vec<Columns>,
    search: Option<Columns>,
}

impl Attributes {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("table") {
            attr::once(&mut self.table, attr::db_name(meta.value()?)?, meta)
        } else if meta.path.is_ident("crate") {
            attr::once(&mut self.krate, attr::crate_path(meta)?, meta)
        } else if meta.path.is_ident("unique") {
            self.uniques.push(Columns::parse(meta)?);
            Ok(())
        } else if meta.path.is_ident("index") {
            self.indexes.push(Columns::parse(meta)?);
            Ok(())
        } else if meta.path.is_ident("search") {
            attr::once(&mut self.search, Columns::parse(meta)?, meta)
        } else {
            Err(attr::unknown(
                meta,
                "entity",
                &["table", "index", "unique", "search", "crate"],
            ))
        }
    }
}

impl Model {
    fn parse(input: DeriveInput) -> Result<Self> {
        let mut errors = Errors::default();
        let mut attributes = Attributes::default();
        for attribute in named(&input.attrs, "entity") {
            errors.keep(attribute.parse_nested_meta(|meta| attributes.read(&meta)));
        }
        let root = errors.keep(crate::root::root(attributes.krate.as_ref()));
        let mut fields = Vec::new();
        for field in named_fields(&input, "Entity")? {
            fields.extend(Field::parse(field, &input.ident, &mut errors));
        }
        let Some(table) = attributes.table else {
            errors.at(&input.ident, missing_table(&input.ident));
            errors.finish()?;
            return Err(Error::new_spanned(
                &input.ident,
                missing_table(&input.ident),
            ));
        };
        let table = table.value();

        check_key(&input.ident, &fields, &mut errors);
        check_fields(&fields, &mut errors);
        let of_fields = |columns: fn(&Field) -> Option<&Columns>| {
            fields
                .iter()
                .filter_map(columns)
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut resolve = |own: Vec<Columns>, more: Vec<Columns>, ending: &'static str| {
            let all = own.into_iter().chain(more);
            let ending = Ending::OfColumns(ending);
            all.filter_map(|columns| columns.resolve(&table, &fields, ending, &mut errors))
                .collect()
        };
        let uniques: Vec<Constraint> = resolve(
            of_fields(|field| field.unique.as_ref()),
            attributes.uniques,
            "key",
        );
        let indexes: Vec<Constraint> = resolve(
            of_fields(|field| field.index.as_ref()),
            attributes.indexes,
            "idx",
        );
        check_names(&uniques, &indexes, &mut errors);
        let search = attributes.search.and_then(|columns| {
            columns.resolve(&table, &fields, Ending::Only("search"), &mut errors)
        });
        if let Some(search) = &search {
            check_search(search, &fields, &mut errors);
        }

        errors.finish()?;
        let root = root.ok_or_else(|| Error::new_spanned(&input.ident, "found no Larder"))?;
        Ok(Self {
            ident: input.ident,
            vis: input.vis,
            root,
            table,
            fields,
            uniques,
            indexes,
            search,
        })
    }

    /// The positions of the key's columns.
    fn key(&self) -> Vec<usize> {
        (0..self.fields.len())
            .filter(|&at| self.fields[at].key.is_some())
            .collect()
    }
}

fn missing_table(model: &Ident) -> String {
    format!("which table holds `{model}`? Write #[entity(table = \"..\")] under #[derive(Entity)]")
}

/// The key must exist, be small, and be a single column if the store makes it.
fn check_key(model: &Ident, fields: &[Field], errors: &mut Errors) {
    let keys: Vec<&Field> = fields.iter().filter(|field| field.key.is_some()).collect();
    match keys.as_slice() {
        [] => errors.at(
            model,
            format!("`{model}` has no key: write #[key] or #[key(auto)] on a field"),
        ),
        [_] => {}
        [_, _, _, _, fifth, ..] => {
            errors.at(
                &fifth.ident,
                "a key has at most four columns: remove #[key] here",
            );
        }
        several => {
            for field in several.iter().filter(|field| field.auto()) {
                errors.at(
                    &field.ident,
                    "the store makes keys of one column only: write #[key] here, \
                     or remove the other #[key]",
                );
            }
        }
    }
}

/// A full-text index finds rows by a single key, and has names of its own.
fn check_search(search: &Constraint, fields: &[Field], errors: &mut Errors) {
    let mut refuse = |message: String| errors.push(Error::new(search.span, message));
    if fields.iter().filter(|field| field.key.is_some()).count() > 1 {
        refuse("only a model whose key is one integer can be searched".to_owned());
    }
    if fields.iter().any(|field| field.constant == "SEARCH") {
        refuse(
            "the constant of the field `search` would hide the model's `SEARCH`: \
             call the field otherwise and write #[column(name = \"search\")]"
                .to_owned(),
        );
    }
    for name in search.columns.iter().map(|&at| &fields[at].name) {
        if ["rank", "rowid"]
            .iter()
            .any(|taken| name.eq_ignore_ascii_case(taken))
        {
            refuse(format!(
                "a searched column cannot be called `{name}`, which SQLite keeps for itself: \
                 write #[column(name = \"..\")] on the field"
            ));
        }
    }
}

/// Names must differ, and each thing the layer keeps has one column.
fn check_fields(fields: &[Field], errors: &mut Errors) {
    for (at, field) in fields.iter().enumerate() {
        if field.constant == "KEY" {
            errors.at(
                &field.ident,
                "the constant of a field `key` would hide the model's `KEY`: \
                 call the field otherwise and write #[column(name = \"key\")]",
            );
        }
        for earlier in &fields[..at] {
            if field.name.eq_ignore_ascii_case(&earlier.name) {
                errors.at(
                    &field.ident,
                    format!(
                        "a second column `{}`: give one of them another name",
                        field.name
                    ),
                );
            }
            if let (Some(one), Some(two)) = (field.keeper, earlier.keeper)
                && one == two
            {
                errors.at(
                    &field.ident,
                    format!("a second #[{}]: remove one", one.attribute()),
                );
            }
        }
    }
}
