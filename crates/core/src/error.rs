//! What can go wrong, in terms a caller can act on.
//!
//! An [`Error`] has a [kind](ErrorKind), says whether trying again can help, and names the
//! table, the columns or the constraint it is about. Engines classify by the driver's code at
//! their edge, never by message text. The offending value travels in the error
//! ([`Error::value`]) but is kept out of `Display` and `Debug`, so that logs stay free of data.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::column::ConstraintTarget;

/// The result of everything Larder does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Kind and retryability are separate: see [`Error::is_retryable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The row asked for by key does not exist.
    NotFound,
    /// A unique constraint refused the write; [`Error::violates`] tells which.
    Unique,
    /// A reference refused the write: the parent is missing, or children still point here.
    Reference,
    /// A column that must have a value got none.
    NotNull,
    /// A check of the database refused the write.
    Check,
    /// A text is longer than its column allows.
    TooLong,
    /// A value cannot be stored without loss, or input did not validate; nothing was sent.
    Invalid,
    /// A stored value cannot be read as the type the model gives it. A write that answers this was
    /// applied; only the rows that came back could not be read.
    Decode,
    /// The engine cannot do this; nothing was sent.
    Unsupported,
    /// Concurrent work got in the way (serialization failure, deadlock): run the unit again.
    Conflict,
    /// The row changed since it was read (optimistic lock).
    Stale,
    /// The deadline passed; nothing was applied.
    Timeout,
    /// The store is busy beyond its bound (locked, pool exhausted, queue full).
    Busy,
    /// The acknowledgement was lost: the write may or may not have been applied.
    Unknown,
    /// The store cannot be reached.
    Unavailable,
    /// The handle was closed, or its transaction has ended.
    Closed,
    /// No room left on the store.
    Full,
    /// The store, or this transaction, allows reads only.
    ReadOnly,
    /// The store's data is damaged.
    Corrupt,
    /// A table or column the model names is missing: migrations have not been run.
    Schema,
    /// The reader of a feed has missed something; see [`Gap`](crate::feed::Gap). It goes on behind it
    /// when it is asked again.
    Gap,
    /// The call itself makes no sense (a cursor of another query, a finished transaction).
    Misuse,
    /// Anything else the engine reported.
    Engine,
}

/// An error of Larder or of a store under it.
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    message: Cow<'static, str>,
    retryable: bool,
    table: Option<Cow<'static, str>>,
    columns: Vec<Cow<'static, str>>,
    constraint: Option<Cow<'static, str>>,
    fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    value: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind with a sentence that tells the person what to do.
    ///
    /// `Conflict`, `Busy`, `Unavailable` and `Gap` start out retryable, the rest not.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(
            kind,
            ErrorKind::Conflict | ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::Gap
        );
        Self(Box::new(Repr {
            kind,
            message: message.into(),
            retryable,
            table: None,
            columns: Vec::new(),
            constraint: None,
            fields: Vec::new(),
            value: None,
            source: None,
        }))
    }

    /// A value that cannot be stored or sent as it is.
    #[cold]
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A stored value that is not what the model says.
    #[cold]
    pub fn decode(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Decode, message)
    }

    /// Something this engine cannot do, refused before anything was sent.
    #[cold]
    pub fn unsupported(engine: &str, what: &str) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            format!("{engine} cannot do this: {what}"),
        )
    }

    /// A call that makes no sense as it stands.
    #[cold]
    pub fn misuse(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Misuse, message)
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call, or the whole transaction, may succeed when run again.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The sentence without table, column or source.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The table this is about, where known.
    pub fn table(&self) -> Option<&str> {
        self.0.table.as_deref()
    }

    /// The columns this is about, where known; for a violated constraint, its columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.columns.iter().map(AsRef::as_ref)
    }

    /// The one column this is about, if it is about exactly one.
    pub fn column(&self) -> Option<&str> {
        match self.0.columns.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The violated constraint's name, where the engine or the model knows it.
    pub fn constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }

    /// The failing fields of a validation and what each needs, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .fields
            .iter()
            .map(|(field, message)| (field.as_ref(), message.as_ref()))
    }

    /// The offending value as text. May hold personal data; never part of `Display` or `Debug`.
    pub fn value(&self) -> Option<&str> {
        self.0.value.as_deref()
    }

    /// Whether this is a violation of the given unique key or reference:
    /// `e.violates(User::EMAIL)`, `e.violates(Comment::POST_ID)`, `e.violates(Post::KEY)`.
    pub fn violates(&self, target: impl ConstraintTarget) -> bool {
        let (table, columns) = target.target();
        matches!(self.0.kind, ErrorKind::Unique | ErrorKind::Reference)
            && self.table() == Some(table.name)
            && self.0.columns.len() == columns.len()
            && columns
                .iter()
                .all(|&at| self.columns().any(|name| name == table.columns[at].name))
    }

    /// Marks whether trying again may help.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Names the table.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<Cow<'static, str>>) -> Self {
        self.0.table = Some(table.into());
        self
    }

    /// Names a column (of the table, where one is named); several calls name several.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<Cow<'static, str>>) -> Self {
        self.0.columns.push(column.into());
        self
    }

    /// Names the column unless the error already names one.
    #[must_use]
    pub fn or_column(self, table: &'static str, column: &'static str) -> Self {
        if self.0.columns.is_empty() {
            self.with_table(table).with_column(column)
        } else {
            self
        }
    }

    /// Names the violated constraint.
    #[must_use]
    pub fn with_constraint(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.0.constraint = Some(name.into());
        self
    }

    /// Adds a failing field of a validation.
    #[must_use]
    pub fn with_field(
        mut self,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.0.fields.push((field.into(), message.into()));
        self
    }

    /// Carries the offending value.
    #[must_use]
    pub fn with_value(mut self, value: impl fmt::Display) -> Self {
        self.0.value = Some(value.to_string());
        self
    }

    /// Says that the write it is about was applied all the same.
    pub(crate) fn of_applied_write(mut self) -> Self {
        self.0.message = format!("{}; the write itself was applied", self.0.message).into();
        self
    }

    /// Carries the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// A copy without its source, for answering several callers of one failed batch.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let repr = &self.0;
        Self(Box::new(Repr {
            kind: repr.kind,
            message: repr.message.clone(),
            retryable: repr.retryable,
            table: repr.table.clone(),
            columns: repr.columns.clone(),
            constraint: repr.constraint.clone(),
            fields: repr.fields.clone(),
            value: repr.value.clone(),
            source: repr.source.as_ref().map(|source| source.to_string().into()),
        }))
    }
}

macro_rules! predicates {
    ($($name:ident $kind:ident),* $(,)?) => {
        /// One predicate per kind a caller commonly branches on.
        impl Error {
            $(
                #[doc = concat!("Whether the kind is [`ErrorKind::", stringify!($kind), "`].")]
                pub fn $name(&self) -> bool {
                    self.0.kind == ErrorKind::$kind
                }
            )*
        }
    };
}

predicates! {
    is_not_found NotFound, is_unique_violation Unique, is_reference_violation Reference,
    is_invalid Invalid, is_too_long TooLong, is_decode Decode, is_unsupported Unsupported,
    is_conflict Conflict, is_stale Stale, is_timeout Timeout, is_busy Busy,
    is_unknown_outcome Unknown, is_unavailable Unavailable, is_closed Closed,
    is_misuse Misuse, is_gap Gap, is_schema Schema, is_read_only ReadOnly,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &self.0;
        match (&repr.table, repr.columns.as_slice()) {
            (Some(table), []) => write!(f, "`{table}`: ")?,
            (Some(table), columns) => write!(f, "`{table}.{}`: ", columns.join("`, `"))?,
            (None, []) => {}
            (None, columns) => write!(f, "`{}`: ", columns.join("`, `"))?,
        }
        f.write_str(&repr.message)?;
        for (at, (field, message)) in repr.fields.iter().enumerate() {
            write!(f, "{} {field} {message}", if at == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repr = &self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &repr.kind)
            .field("message", &self.to_string());
        if let Some(constraint) = &repr.constraint {
            out.field("constraint", constraint);
        }
        if repr.value.is_some() {
            out.field("value", &"<redacted>");
        }
        if let Some(source) = &repr.source {
            out.field("source", &source.to_string());
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_out_of_text() {
        let error = Error::invalid("holds a NUL")
            .with_column("bio")
            .with_value("secret");
        assert_eq!(error.to_string(), "`bio`: holds a NUL");
        assert!(!format!("{error:?}").contains("secret"));
        assert_eq!(error.value(), Some("secret"));
    }
}
