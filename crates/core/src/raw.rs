//! Statements in the engine's own SQL, as data: [`RawStatement`].
//!
//! For what queries cannot say: window functions, recursive queries, set operations. The text is
//! written by a programmer and values are bound, never made part of it. What comes back is checked
//! against what was asked for before the first row is read:
//!
//! ```text
//!   wanted: SqlRow::columns ──┐
//!                             ├── RawStatement::place ──> Places ──> each row, as it was asked for
//!   found: the prepared text ─┘
//! ```
//!
//! It runs no scripts, changes no schema and ends no transaction: the statement begins with a word
//! of the few that read or change rows.

mod rows;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::rows::Row;
use crate::types::ColumnType;
use crate::value::{Kind, Value, ValueRef};

pub use rows::{SqlColumn, SqlRow};

/// One statement in the engine's own SQL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RawStatement {
    /// The text; values stand in it as `$1`, `$2` and so on.
    pub text: SqlText,
    /// The values, the first for `$1`. The engine refuses (`Misuse`) a statement that has more
    /// placeholders than values, or fewer.
    pub params: Vec<RawParam>,
    /// What it may do.
    pub access: RawAccess,
    /// What its rows are to bring; `None` if nobody wants them.
    pub columns: Option<Vec<SqlColumn>>,
    /// When to give up a statement that may write, as for [`Write`](crate::Write).
    pub deadline: Option<Instant>,
}

/// What a statement may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawAccess {
    /// Read. The engine refuses (`ReadOnly`) to write anything.
    Read,
    /// Read and write.
    Write,
}

/// A value of a statement.
#[derive(Clone, Debug)]
pub enum RawParam {
    /// A value of this kind; may be NULL.
    Value(Value, Kind),
    /// A list of values of this kind.
    List(Vec<Value>, Kind),
}

/// The text of a statement: written in the source code, so that no input can be part of it.
///
/// ```compile_fail
/// # use larder_core::{Db, Result};
/// # async fn f(db: &Db, name: &str) -> Result<()> {
/// let text = format!("SELECT id FROM users WHERE name = '{name}'"); // an injection
/// db.sql(text).rows::<(i64,)>().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlText(Cow<'static, str>);

impl SqlText {
    /// A text made at run time: of parts that are all trusted, such as one of a few orders.
    ///
    /// The text appears in events and reports. Never format a value into it: bind it.
    pub fn from_trusted(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is part of the program, so that a prepared statement of it is worth
    /// keeping.
    pub fn is_static(&self) -> bool {
        matches!(self.0, Cow::Borrowed(_))
    }

    /// The word it begins with behind its comments, in capitals.
    pub fn first_word(&self) -> String {
        let mut rest = self.0.as_ref();
        loop {
            rest = rest.trim_start();
            rest = if let Some(comment) = rest.strip_prefix("--") {
                comment.split_once('\n').map_or("", |(_, after)| after)
            } else if let Some(comment) = rest.strip_prefix("/*") {
                comment.split_once("*/").map_or("", |(_, after)| after)
            } else {
                break;
            };
        }
        let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next();
        word.unwrap_or_default().to_ascii_uppercase()
    }
}

impl From<&'static str> for SqlText {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// With what a statement that reads begins.
const READING: [&str; 4] = ["SELECT", "WITH", "VALUES", "TABLE"];
/// With what else a statement that writes begins.
const WRITING: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"];

impl RawStatement {
    /// A statement without values, whose rows nobody wants.
    ///
    /// # Errors
    /// `Misuse` if the text begins with another word than a statement that reads or changes rows.
    pub fn new(text: SqlText, access: RawAccess) -> Result<Self> {
        let word = text.first_word();
        let reads = READING.contains(&&*word);
        let writes = WRITING.contains(&&*word);
        match access {
            RawAccess::Read if writes => {
                return Err(Error::misuse(format!(
                    "a statement that begins with {word} writes: end it with `execute` or \
                     `returning`"
                )));
            }
            _ if !reads && !writes => {
                return Err(Error::misuse(format!(
                    "a statement in SQL begins with one of {}, {}: schemas are for migrations, \
                     and transactions have their own methods",
                    READING.join(", "),
                    WRITING.join(", ")
                )));
            }
            _ => {}
        }
        Ok(Self {
            text,
            params: Vec::new(),
            access,
            columns: None,
            deadline: None,
        })
    }

    /// Finds the wanted columns among those that the prepared statement brings. To be called
    /// before it runs.
    ///
    /// # Errors
    /// `Misuse` that lists what was wanted and what came, if one is missing, there twice or of
    /// another type.
    pub fn place(&self, found: &[FoundColumn<'_>]) -> Result<Places> {
        let Some(wanted) = &self.columns else {
            return Ok(Places(Vec::new()));
        };
        let by_position = wanted.iter().all(|column| column.name.is_none());
        let mut faults = Vec::new();
        if by_position && wanted.len() != found.len() {
            faults.push(format!(
                "{} columns instead of {}",
                found.len(),
                wanted.len()
            ));
        }
        let mut places = Vec::with_capacity(wanted.len());
        for (position, column) in wanted.iter().enumerate() {
            match find(column, position, found) {
                Ok(at) => places.push(Place {
                    at,
                    kind: found[at].known_kind(),
                }),
                Err(_) if by_position && !faults.is_empty() => {}
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            return Ok(Places(places));
        }
        let mut message = format!("the statement brings other columns: {}", faults.join(", "));
        let _ = write!(message, "; wanted: {}", listed(wanted.iter()));
        let _ = write!(message, "; came: {}", listed(found.iter()));
        Err(Error::misuse(message))
    }
}

/// Where the column is, or what is wrong.
fn find(column: &SqlColumn, position: usize, found: &[FoundColumn<'_>]) -> Result<usize, String> {
    let at = match column.name {
        None => (position < found.len()).then_some(position),
        Some(name) => {
            let mut named = (0..found.len()).filter(|&at| found[at].name == name);
            match (named.next(), named.next()) {
                (Some(_), Some(_)) => return Err(format!("`{name}` is there twice")),
                (first, _) => first,
            }
        }
    };
    let Some(at) = at else {
        return Err(format!("{column} is missing"));
    };
    if found[at].fits(column.kind) {
        Ok(at)
    } else {
        Err(format!("{} is no {}", found[at], column.kind.name()))
    }
}

fn listed<T: std::fmt::Display>(columns: impl Iterator<Item = T>) -> String {
    let columns: Vec<_> = columns.map(|column| column.to_string()).collect();
    if columns.is_empty() {
        "nothing".to_owned()
    } else {
        columns.join(", ")
    }
}

/// A column that a prepared statement brings.
#[derive(Clone, Debug)]
pub struct FoundColumn<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its type.
    pub holds: Holds<'a>,
}

/// What an engine knows of a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds<'a> {
    /// Each value has a type of its own, which is looked at when it is read.
    Anything,
    /// Values of this kind.
    Kind(Kind),
    /// A type that no kind stands for, by the engine's name.
    Other(Cow<'a, str>),
}

impl FoundColumn<'_> {
    fn known_kind(&self) -> Option<Kind> {
        match self.holds {
            Holds::Kind(kind) => Some(kind),
            _ => None,
        }
    }

    /// Whether a value of the column can be read as this kind. A smaller number is a larger one.
    fn fits(&self, wanted: Kind) -> bool {
        match self.holds {
            Holds::Anything => true,
            Holds::Other(_) => false,
            Holds::Kind(found) => {
                found == wanted
                    || matches!(
                        (found, wanted),
                        (Kind::I16, Kind::I32 | Kind::I64)
                            | (Kind::I32, Kind::I64)
                            | (Kind::F32, Kind::F64)
                    )
            }
        }
    }
}

impl std::fmt::Display for FoundColumn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.name)?;
        match &self.holds {
            Holds::Anything => Ok(()),
            Holds::Kind(kind) => write!(f, " {}", kind.name()),
            Holds::Other(name) => write!(f, " {name}"),
        }
    }
}

/// Where the wanted columns are in the statement's rows.
#[derive(Clone, Debug)]
pub struct Places(Vec<Place>);

#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    /// What the engine knows to be there.
    kind: Option<Kind>,
}

impl Places {
    /// The engine's row, its columns where they are wanted.
    pub fn row<'a>(&'a self, row: &'a dyn Row) -> PlacedRow<'a> {
        PlacedRow { places: self, row }
    }
}

/// A row of a statement, seen as it was asked for.
pub struct PlacedRow<'a> {
    places: &'a Places,
    row: &'a dyn Row,
}

impl Row for PlacedRow<'_> {
    fn value(&self, at: usize, kind: Kind) -> Result<ValueRef<'_>> {
        match self.places.0.get(at) {
            Some(place) => self.row.value(place.at, place.kind.unwrap_or(kind)),
            None => Err(Error::misuse(format!("the row has no position {at}"))),
        }
    }

    fn name(&self, at: usize) -> String {
        let place = self.places.0.get(at);
        self.row.name(place.map_or(at, |place| place.at))
    }
}

/// What can be bound: a value that a column can hold, or a `&str`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound to a statement",
    note = "bind a value that a column can hold; lists are for `bind_list`"
)]
pub trait Bind {
    /// The value.
    fn into_param(self) -> Result<RawParam>;
}

impl<T: ColumnType> Bind for T {
    fn into_param(self) -> Result<RawParam> {
        Ok(RawParam::Value(self.into_value()?, T::KIND))
    }
}

impl Bind for &str {
    fn into_param(self) -> Result<RawParam> {
        self.to_owned().into_param()
    }
}

#[cfg(test)]
mod tests;
