//! [`Exchange`]: models that can be moved in and out as files, one line per row.
//!
//! Everything that differs between models stands here; reading, writing and showing go by the
//! model's metadata.

mod value;

use larder::models::{Comment, Favorite, Follow, Post, PostStatus, PostTag, Tag, User};
use larder::{ColumnDef, Email, Entity, Insert, Kind, Row, Search, Table, Value, ValueRef};

pub(crate) use value::{from_json, from_text, to_text, write_json};

/// A model that can be moved in and out.
pub(crate) trait Exchange: Entity + Insert<Entity = Self> + Clone {
    /// The columns of a file, in order. Others (password hashes) stay in the database.
    const FIELDS: &'static [&'static str];

    /// The full-text index, if there is one.
    const SEARCHED: Option<Search<Self>> = None;

    /// What a column may hold, if that is a short list.
    fn choices(_column: &str) -> &'static [&'static str] {
        &[]
    }

    /// What the model asks of a value besides its type: a problem in a few words, if any.
    fn problem(_column: &str, _value: &str) -> Option<String> {
        None
    }

    /// Fills in what a line left out and the row needs.
    #[must_use]
    fn completed(self) -> Self {
        self
    }
}

impl Exchange for User {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "email",
        "name",
        "username",
        "is_active",
        "bio",
        "image",
        "created_at",
        "updated_at",
    ];

    fn problem(column: &str, value: &str) -> Option<String> {
        match column {
            "email" => value
                .parse::<Email>()
                .err()
                .map(|error| error.message().to_owned()),
            "name" if value.trim().is_empty() => Some("must not be blank".to_owned()),
            "username" if value.trim().is_empty() => Some("must not be blank".to_owned()),
            _ => None,
        }
    }

    /// Names are not unique; with the key they are. Migration V6 does the same.
    fn completed(mut self) -> Self {
        let made = || format!("{}-{}", self.name, self.id);
        self.username = Some(self.username.take().unwrap_or_else(made));
        self
    }
}

impl Exchange for Post {
    const SEARCHED: Option<Search<Self>> = Some(Self::SEARCH);

    const FIELDS: &'static [&'static str] = &[
        "id",
        "slug",
        "title",
        "summary",
        "content",
        "author_id",
        "status",
        "created_at",
        "updated_at",
    ];

    fn choices(column: &str) -> &'static [&'static str] {
        const STATUS: &[&str] = &[
            PostStatus::Draft.as_str(),
            PostStatus::Published.as_str(),
            PostStatus::Archived.as_str(),
        ];
        if column == Post::STATUS.name() {
            STATUS
        } else {
            &[]
        }
    }
}

impl Exchange for Comment {
    const FIELDS: &'static [&'static str] =
        &["id", "post_id", "author_id", "content", "created_at"];
}

impl Exchange for Tag {
    const FIELDS: &'static [&'static str] = &["id", "name"];
}

impl Exchange for PostTag {
    const FIELDS: &'static [&'static str] = &["post_id", "tag_id", "position"];
}

/// Tells whether a row can be read as a model's struct.
pub(crate) type Reads = fn(&dyn Row) -> larder::Result<()>;

/// All the models' tables, parents before their children, each with what reads its rows.
pub(crate) fn models() -> [(&'static Table, Reads); 7] {
    fn model<E: Entity>() -> (&'static Table, Reads) {
        (E::TABLE, |row| E::from_row(row).map(drop))
    }
    [
        model::<User>(),
        model::<Post>(),
        model::<Comment>(),
        model::<Tag>(),
        model::<PostTag>(),
        model::<Favorite>(),
        model::<Follow>(),
    ]
}

/// The fields of a file with their positions in the table.
pub(crate) fn fields<E: Exchange>() -> impl Iterator<Item = (usize, &'static ColumnDef)> {
    E::FIELDS.iter().map(|name| {
        let at = E::TABLE
            .column(name)
            .expect("FIELDS names columns of the model");
        (at, &E::TABLE.columns[at])
    })
}

/// Why a field of a line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The field, if it is about one.
    pub(crate) field: Option<String>,
    /// The reason in words.
    pub(crate) reason: String,
}

impl Problem {
    /// A problem of one field.
    pub(crate) fn of(field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            reason: reason.into(),
        }
    }

    /// A problem of the line.
    pub(crate) fn line(reason: impl Into<String>) -> Self {
        Self {
            field: None,
            reason: reason.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Checks a value against the column and the model.
pub(crate) fn check<E: Exchange>(column: &ColumnDef, value: &Value) -> Result<(), Problem> {
    check_column(column, value)?;
    let Value::Text(text) = value else {
        return Ok(());
    };
    let refuse = |reason: String| Err(Problem::of(column.name, reason));
    let choices = E::choices(column.name);
    if !choices.is_empty() && !choices.contains(&text.as_ref()) {
        return refuse(format!(
            "{} is none of {}",
            quoted(text),
            choices.join(", ")
        ));
    }
    match E::problem(column.name, text) {
        Some(problem) => refuse(format!("{} {problem}", quoted(text))),
        None => Ok(()),
    }
}

/// Checks a value against the column alone.
pub(crate) fn check_column(column: &ColumnDef, value: &Value) -> Result<(), Problem> {
    let refuse = |reason: String| Err(Problem::of(column.name, reason));
    let text = match value {
        Value::Null if !column.nullable => {
            let kind = column.kind.name();
            return refuse(format!("must not be empty: it holds a {kind}"));
        }
        Value::Text(text) => text,
        _ => return Ok(()),
    };
    if text.contains('\0') {
        return refuse("holds a NUL character, which no engine keeps; remove it".to_owned());
    }
    let length = text.chars().count();
    match column.max_len {
        Some(max) if length > max as usize => refuse(format!(
            "is {length} characters long; at most {max} are allowed"
        )),
        _ => Ok(()),
    }
}

/// A value as part of a message: quoted, on one line, not too long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let line = super::output::one_line(text);
    if line.chars().count() <= SHOWN_MAX {
        return format!("\"{line}\"");
    }
    let start: String = line.chars().take(SHOWN_MAX).collect();
    format!("\"{start}…\"")
}

/// Builds a model from all its columns' values.
pub(crate) fn build<E: Entity>(values: &[Value]) -> larder::Result<E> {
    E::from_row(&Named {
        table: E::TABLE,
        values,
    })
}

/// Values with the names of a table's columns.
struct Named<'a> {
    table: &'static Table,
    values: &'a [Value],
}

impl Row for Named<'_> {
    fn value(&self, at: usize, _: Kind) -> larder::Result<ValueRef<'_>> {
        Ok(self.values[at].as_ref())
    }

    fn name(&self, at: usize) -> String {
        self.table.columns[at].name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_can_be_read() {
        let named = models().map(|(table, _)| table.name);
        assert_eq!(named, larder::models::tables().map(|table| table.name));
    }

    #[test]
    fn every_field_is_a_column() {
        let lengths = [
            fields::<User>().count(),
            fields::<Post>().count(),
            fields::<Comment>().count(),
            fields::<Tag>().count(),
            fields::<PostTag>().count(),
        ];
        assert_eq!(lengths, [9, 9, 5, 2, 3]);
    }
}
