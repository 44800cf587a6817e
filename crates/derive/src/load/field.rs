//! One field of a plan and where its value comes from.

use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, Path, Result, Token, Type};

use crate::attr::{self, Errors, inside, named};

/// A field of a plan.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) source: Source,
}

/// Where a field's value comes from.
pub(crate) enum Source {
    /// A column of the plan's model; by the field's name where no other is given.
    Column(Option<Path>),
    /// The model itself, or another plan of it.
    Flatten,
    /// Other rows.
    Relation(Box<Relation>),
}

/// A relation, and how its rows become the field.
pub(crate) struct Relation {
    pub(crate) shape: Shape,
    pub(crate) via: Path,
    /// The type of the rows; of a count the model that refers.
    pub(crate) rows: Type,
    pub(crate) filters: Vec<Expr>,
    pub(crate) orders: Vec<Expr>,
    pub(crate) limit: Option<Expr>,
}

/// What a relation leads to.
pub(crate) enum Shape {
    /// `Vec<C>`: rows that refer to this one.
    Many,
    /// `Option<C>`: the row that refers to this one.
    One,
    /// `C`: the row that this one refers to.
    Parent,
    /// `Option<C>`: the row that this one may refer to.
    MaybeParent,
    /// `Vec<C>`: rows that a join model pairs with this one; its column that refers to them.
    Through(Path),
    /// `u64`: how many rows refer to this one.
    Count,
}

/// What `#[load(..)]` on a field says.
#[derive(Default)]
struct Attributes {
    column: Option<Path>,
    flatten: Option<()>,
    count: Option<()>,
    has_one: Option<()>,
    via: Option<Path>,
    to: Option<Path>,
    filters: Vec<Expr>,
    orders: Vec<Expr>,
    limit: Option<Expr>,
}

const KNOWN: [&str; 9] = [
    "column", "flatten", "via", "to", "filter", "order", "limit", "count", "has_one",
];

impl Attributes {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let Some(key) = meta.path.get_ident() else {
            return Err(attr::unknown(meta, "load", &KNOWN));
        };
        match key.to_string().as_str() {
            "column" => attr::once(&mut self.column, column(meta)?, meta),
            "via" => attr::once(&mut self.via, column(meta)?, meta),
            "to" => attr::once(&mut self.to, column(meta)?, meta),
            "flatten" => attr::once(&mut self.flatten, (), meta),
            "count" => attr::once(&mut self.count, (), meta),
            "has_one" => attr::once(&mut self.has_one, (), meta),
            "limit" => attr::once(&mut self.limit, meta.value()?.parse()?, meta),
            "filter" => {
                self.filters.push(meta.value()?.parse()?);
                Ok(())
            }
            "order" => {
                self.orders.extend(several(meta.value()?.parse()?));
                Ok(())
            }
            _ => Err(attr::unknown(meta, "load", &KNOWN)),
        }
    }

    /// The first of these that was written, to be refused.
    fn first_of(&self, keys: &[&'static str]) -> Option<&'static str> {
        let written = |key: &str| match key {
            "column" => self.column.is_some(),
            "flatten" => self.flatten.is_some(),
            "via" => self.via.is_some(),
            "to" => self.to.is_some(),
            "filter" => !self.filters.is_empty(),
            "order" => !self.orders.is_empty(),
            "limit" => self.limit.is_some(),
            "count" => self.count.is_some(),
            "has_one" => self.has_one.is_some(),
            _ => false,
        };
        keys.iter().copied().find(|key| written(key))
    }
}

/// `Post::AUTHOR_ID`.
fn column(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let path: Path = meta.value()?.call(Path::parse_mod_style)?;
    if path.segments.len() < 2 {
        return Err(Error::new_spanned(
            &path,
            "write the column with its model: `Model::COLUMN`",
        ));
    }
    Ok(path)
}

/// The parts of a tuple or array, or the expression itself.
fn several(expr: Expr) -> Punctuated<Expr, Token![,]> {
    match expr {
        Expr::Tuple(tuple) => tuple.elems,
        Expr::Array(array) => array.elems,
        other => std::iter::once(other).collect(),
    }
}

impl Field {
    /// Reads a field of the plan; `None` after a mistake.
    pub(crate) fn parse(
        field: &syn::Field,
        model: Option<&Path>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let mut attributes = Attributes::default();
        for attribute in named(&field.attrs, "load") {
            errors.keep(attribute.parse_nested_meta(|meta| attributes.read(&meta)))?;
        }
        let ident = field.ident.clone()?;
        let source = errors.keep(attributes.into_source(&ident, &field.ty, model))?;
        Some(Self {
            ident,
            ty: field.ty.clone(),
            source,
        })
    }
}

impl Attributes {
    fn into_source(self, field: &Ident, ty: &Type, model: Option<&Path>) -> Result<Source> {
        let refuse = |key: &str, why: &str| {
            Err(Error::new(
                field.span(),
                format!("remove `{key}` here: {why}"),
            ))
        };
        if let Some(via) = self.via.clone() {
            return match self.first_of(&["column", "flatten"]) {
                Some(key) => refuse(key, "a relation is not a column"),
                None => self
                    .into_relation(via, field, ty, model)
                    .map(|relation| Source::Relation(Box::new(relation))),
            };
        }
        if let Some(key) = self.first_of(&["to", "filter", "order", "limit", "count", "has_one"]) {
            return Err(Error::new(
                field.span(),
                format!("`{key}` is about a relation: say which with `via = Model::COLUMN`"),
            ));
        }
        match (self.flatten, self.column) {
            (Some(()), Some(_)) => refuse("column", "`flatten` takes whole plans"),
            (Some(()), None) => Ok(Source::Flatten),
            (None, column) if inside(ty, "Vec").is_some_and(|inner| !is_byte(inner)) => {
                if column.is_some() {
                    return Ok(Source::Column(column));
                }
                Err(Error::new(
                    ty.span(),
                    "through which column? Write #[load(via = Model::COLUMN)] with the column \
                     that refers to this model",
                ))
            }
            (None, column) => Ok(Source::Column(column)),
        }
    }

    fn into_relation(
        self,
        via: Path,
        field: &Ident,
        ty: &Type,
        model: Option<&Path>,
    ) -> Result<Relation> {
        let own = model.is_some_and(|model| owner(&via) == last(model));
        let (shape, rows) = self.shape(&via, field, ty, own)?;
        let refused = match shape {
            Shape::Many | Shape::Through(_) => None,
            Shape::One => self
                .first_of(&["limit"])
                .map(|key| (key, "an Option takes one row")),
            Shape::Parent | Shape::MaybeParent => {
                let why = "a reference leads to one row";
                self.first_of(&["order", "limit"]).map(|key| (key, why))
            }
            Shape::Count => {
                let why = "a count has neither order nor limit";
                self.first_of(&["order", "limit"]).map(|key| (key, why))
            }
        };
        if let Some((key, why)) = refused {
            return Err(Error::new(
                field.span(),
                format!("remove `{key}` here: {why}"),
            ));
        }
        let Self {
            filters,
            orders,
            limit,
            ..
        } = self;
        Ok(Relation {
            shape,
            via,
            rows,
            filters,
            orders,
            limit,
        })
    }

    /// What the field's type and the attributes make of the relation.
    fn shape(&self, via: &Path, field: &Ident, ty: &Type, own: bool) -> Result<(Shape, Type)> {
        let error = |text: &str| Err(Error::new(field.span(), text));
        if self.count.is_some() {
            if self.to.is_some() {
                return error(
                    "remove `to` here: the rows of the join model are counted; \
                     filter them with `whose`",
                );
            }
            // A column of the model itself counts its children too: a parent is never counted.
            return Ok((Shape::Count, owner_type(via)?));
        }
        let (many, maybe) = (inside(ty, "Vec"), inside(ty, "Option"));
        if self.has_one.is_some() && (maybe.is_none() || self.to.is_some()) {
            return error("`has_one` is for an Option without `to`: remove it");
        }
        match (many, maybe, &self.to) {
            (Some(rows), _, Some(to)) => Ok((Shape::Through(to.clone()), rows.clone())),
            (_, _, Some(_)) => {
                error("a join model leads to any number of rows: make the field a Vec")
            }
            (Some(rows), _, None) => Ok((Shape::Many, rows.clone())),
            (_, Some(rows), None) if own && self.has_one.is_none() => {
                Ok((Shape::MaybeParent, rows.clone()))
            }
            (_, Some(rows), None) => Ok((Shape::One, rows.clone())),
            (None, None, None) if own => Ok((Shape::Parent, ty.clone())),
            (None, None, None) => error(
                "`via` is a column of another model, so there may be any number of rows: \
                 make the field a Vec, an Option for at most one, or say `count`",
            ),
        }
    }
}

/// The name of the model that a column belongs to.
fn owner(column: &Path) -> Option<&Ident> {
    column
        .segments
        .iter()
        .rev()
        .nth(1)
        .map(|segment| &segment.ident)
}

fn last(model: &Path) -> Option<&Ident> {
    model.segments.last().map(|segment| &segment.ident)
}

/// The model that a column belongs to.
fn owner_type(column: &Path) -> Result<Type> {
    let mut path = column.clone();
    path.segments.pop();
    path.segments.pop_punct();
    syn::parse2(path.into_token_stream())
}

fn is_byte(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("u8"))
}
