//! Names the constraint and the columns that a write violated.
//!
//! PostgreSQL names the table and the constraint, of a missing value also the column. The columns
//! follow from the model: a unique key has its name there, and what has none there has the name
//! that PostgreSQL gives by itself, `table_column_fkey`. Rows that are in a parent's way stand in
//! a table that its model does not know; their column is read out of such a name. A constraint of
//! another name leaves the error with its kind and table.

use std::borrow::Cow;

use larder_core::eval::check_fits;
use larder_core::write::{ConflictAction, WriteOp};
use larder_core::{Assign, Error, ErrorKind, Kind, Table, Value, Write};
use larder_sql::Dialect;
use tokio_postgres::error::DbError;

use crate::bind::{self, Unfit, upsert_set};
use crate::error::Refusal;

/// What PostgreSQL says about a refused statement, apart from its text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused<'a> {
    pub(crate) state: &'a str,
    pub(crate) table: Option<&'a str>,
    pub(crate) column: Option<&'a str>,
    pub(crate) constraint: Option<&'a str>,
    /// The function of the server that refused.
    pub(crate) routine: Option<&'a str>,
}

impl<'a> From<&'a DbError> for Refused<'a> {
    fn from(refused: &'a DbError) -> Self {
        Self {
            state: refused.code().code(),
            table: refused.table(),
            column: refused.column(),
            constraint: refused.constraint(),
            routine: refused.routine(),
        }
    }
}

/// The error of a write that violated a constraint or left a range; `None` for other refusals.
pub(crate) fn explain(refused: &Refused<'_>, refusal: Refusal, write: &Write) -> Option<Error> {
    Some(match refusal {
        Refusal::Unique => unique(refused, write),
        Refusal::Reference => reference(refused, write),
        Refusal::NotNull => {
            let error = Error::new(ErrorKind::NotNull, "the column must have a value");
            named(error.with_table(write.table().name), refused)
        }
        Refusal::Check => check(refused, write),
        Refusal::TooLong => too_long(write).unwrap_or_else(|| {
            let error = Error::new(
                ErrorKind::TooLong,
                "a text is longer than its column allows",
            );
            error.with_table(write.table().name)
        }),
        Refusal::OutOfRange => out_of_range(refused, write),
        _ => return None,
    })
}

/// Adds the names that PostgreSQL gives.
pub(crate) fn named(mut error: Error, refused: &Refused<'_>) -> Error {
    if let Some(table) = refused.table {
        error = error.with_table(table.to_owned());
    }
    if let Some(column) = refused.column {
        error = error.with_column(column.to_owned());
    }
    match refused.constraint {
        Some(constraint) => error.with_constraint(constraint.to_owned()),
        None => error,
    }
}

/// Whether the refusal is about the write's own table, as far as is said.
fn is_own(refused: &Refused<'_>, table: &Table) -> bool {
    refused.table.is_none_or(|name| kept(table.name) == name)
}

fn unique(refused: &Refused<'_>, write: &Write) -> Error {
    let error = Error::new(ErrorKind::Unique, "a row with this value exists already");
    let table = write.table();
    let error = named(error.with_table(table.name), refused);
    let Some(constraint) = refused.constraint.filter(|_| is_own(refused, table)) else {
        return error;
    };
    let unique = table
        .uniques
        .iter()
        .find(|one| kept(one.name) == constraint);
    let columns = match unique {
        Some(unique) => unique.columns,
        None if is_default(constraint, table.name, None, "pkey") => table.key,
        None => return error,
    };
    (columns.iter()).fold(error, |error, &at| {
        error.with_column(table.columns[at].name)
    })
}

fn reference(refused: &Refused<'_>, write: &Write) -> Error {
    let table = write.table();
    let own = refused.constraint.filter(|_| is_own(refused, table));
    let column = own.and_then(|constraint| {
        let mut columns = table.columns.iter().enumerate();
        columns.find(|(_, column)| {
            column.references.is_some()
                && is_default(constraint, table.name, Some(column.name), "fkey")
        })
    });
    let is_missing_parent = match column {
        Some((at, _)) => writes(&write.op, at),
        None => is_own(refused, table) && !matches!(write.op, WriteOp::Delete(_)),
    };
    let message = if is_missing_parent {
        "the row that this refers to does not exist"
    } else {
        "rows still refer to what was to be deleted: delete or change them first"
    };
    let error = Error::new(ErrorKind::Reference, message).with_table(table.name);
    let error = named(error, refused);
    let of_child = || foreign_column(refused.table?, refused.constraint?);
    match column {
        Some((_, column)) => error.with_column(column.name),
        None => match of_child() {
            Some(column) => error.with_column(column.to_owned()),
            None => error,
        },
    }
}

fn check(refused: &Refused<'_>, write: &Write) -> Error {
    let table = write.table();
    if is_own(refused, table) {
        if let Some(error) = too_long(write) {
            return error;
        }
        let about = |at: usize| {
            let name = table.columns[at].name;
            (refused.constraint)
                .is_some_and(|constraint| is_default(constraint, table.name, Some(name), "check"))
        };
        if let Some(at) = additions(write).find(|&at| about(at)) {
            return left_range(table, at);
        }
    }
    let error = Error::new(ErrorKind::Check, "a check constraint refuses the row");
    named(error.with_table(table.name), refused)
}

/// The sum that left its range: the only one, or the only one of the type that the server was
/// adding.
fn out_of_range(refused: &Refused<'_>, write: &Write) -> Error {
    let table = write.table();
    let is_adding = |kind: Kind| match refused.routine {
        Some("int82" | "int28pl" | "int82pl") => kind == Kind::I16,
        Some("int84" | "int48pl" | "int84pl") => kind == Kind::I32,
        Some("int8pl") => kind == Kind::I64,
        Some(_) => !kind.is_integer(),
        None => true,
    };
    let alike = || additions(write).filter(|&at| is_adding(table.columns[at].kind));
    let column = only(additions(write)).or_else(|| only(alike()));
    match column {
        Some(at) => left_range(table, at),
        None => Error::invalid("a number leaves the range of its column; nothing was changed")
            .with_table(table.name),
    }
}

fn only(mut columns: impl Iterator<Item = usize>) -> Option<usize> {
    let first = columns.next()?;
    columns.next().is_none().then_some(first)
}

fn left_range(table: &'static Table, at: usize) -> Error {
    Error::invalid("the sum leaves the range of the column; nothing was changed")
        .or_column(table.name, table.columns[at].name)
}

/// The columns that the write adds to, but for the version.
fn additions(write: &Write) -> impl Iterator<Item = usize> + '_ {
    let version = write.table().version;
    let adds = set(write).iter().filter_map(|(at, assign)| match assign {
        Assign::Add(_) => Some(*at),
        Assign::Set(_) => None,
    });
    adds.filter(move |at| Some(*at) != version)
}

/// What the write sets to the same in every row.
fn set(write: &Write) -> &[(usize, Assign)] {
    match &write.op {
        WriteOp::Update(update) => &update.set,
        WriteOp::UpdateRows(update) => &update.set,
        WriteOp::Insert(_) => upsert_set(write),
        WriteOp::Delete(_) => &[],
    }
}

/// The values that the write stores, with their columns.
fn stored(write: &Write) -> impl Iterator<Item = (usize, &Value)> {
    let (columns, values) = match &write.op {
        WriteOp::Insert(insert) => (&insert.columns[..], &insert.values[..]),
        WriteOp::UpdateRows(update) => (&update.columns[..], &update.values[..]),
        WriteOp::Update(_) | WriteOp::Delete(_) => (&[][..], &[][..]),
    };
    let of_rows = columns.iter().copied().cycle().zip(values);
    let of_set = set(write).iter().filter_map(|(at, assign)| match assign {
        Assign::Set(value) => Some((*at, value)),
        Assign::Add(_) => None,
    });
    of_rows.chain(of_set)
}

/// Whether the write gives the column values of its own.
fn writes(op: &WriteOp, column: usize) -> bool {
    let sets = |set: &[(usize, Assign)]| set.iter().any(|(at, _)| *at == column);
    match op {
        WriteOp::Insert(insert) => {
            insert.columns.contains(&column)
                || matches!(
                    insert.on_conflict.as_ref().map(|on| &on.action),
                    Some(ConflictAction::Update { set, .. }) if sets(set)
                )
        }
        WriteOp::UpdateRows(update) => {
            update.columns[update.by..].contains(&column) || sets(&update.set)
        }
        WriteOp::Update(update) => sets(&update.set),
        WriteOp::Delete(_) => false,
    }
}

/// The error of a text that is longer than the model allows, if the write has one.
fn too_long(write: &Write) -> Option<Error> {
    let table = write.table();
    stored(write).find_map(|(at, value)| {
        let (Value::Text(text), Some(max)) = (value, table.columns[at].max_len) else {
            return None;
        };
        let length = text.chars().count();
        (length > max as usize).then(|| {
            let message =
                format!("the text is {length} characters long; at most {max} are allowed");
            Error::new(ErrorKind::TooLong, message)
                .or_column(table.name, table.columns[at].name)
                .with_value(text)
        })
    })
}

/// The error of the write's first value that cannot be stored.
#[cold]
pub(crate) fn find_unfit(write: &Write) -> Option<Error> {
    let table = write.table();
    let mut values = stored(write).filter(|(_, value)| !value.is_null());
    values.find_map(|(at, value)| {
        let kind = table.columns[at].kind;
        let refused = bind::check_stored(value, kind).err()?;
        Some(unfit(table, at, value, refused))
    })
}

/// The error of a value that cannot be stored: what every store says, or PostgreSQL's reason.
#[cold]
pub(crate) fn unfit(table: &'static Table, at: usize, value: &Value, reason: Unfit) -> Error {
    check_fits(table, at, value).err().unwrap_or_else(|| {
        Error::invalid(reason.to_string())
            .or_column(table.name, table.columns[at].name)
            .with_value(format!("{value:?}"))
    })
}

/// The longest name that PostgreSQL keeps, in bytes.
const NAME_MAX: usize = 63;

fn kept(name: &str) -> &str {
    Dialect::Postgres.name_kept(name)
}

/// Whether PostgreSQL gives this name by itself to a constraint of the table, or of its column.
/// It adds a number to one that is taken.
fn is_default(constraint: &str, table: &str, column: Option<&str>, label: &str) -> bool {
    let number = constraint.len()
        - constraint
            .trim_end_matches(|c: char| c.is_ascii_digit())
            .len();
    let number = &constraint[constraint.len() - number..];
    default_name(table, column, label) == constraint
        || !number.is_empty()
            && default_name(table, column, &format!("{label}{number}")) == constraint
}

/// The name that PostgreSQL makes (its `makeObjectName`): the longer part is cut first.
fn default_name(table: &str, column: Option<&str>, label: &str) -> String {
    let (table, column) = (kept(table), column.map(kept));
    let joints = 1 + usize::from(column.is_some());
    let room = NAME_MAX.saturating_sub(label.len() + joints);
    let (mut first, mut second) = (table.len(), column.map_or(0, str::len));
    while first + second > room {
        if first > second {
            first -= 1;
        } else {
            second -= 1;
        }
    }
    let table = &table[..table.floor_char_boundary(first)];
    let column = column.map(|column| &column[..column.floor_char_boundary(second)]);
    let column = column.map_or(Cow::Borrowed(""), |column| Cow::Owned(format!("_{column}")));
    format!("{table}{column}_{label}")
}

/// The column of another table in the name that PostgreSQL gives to its reference by itself;
/// `None` where it may have been cut.
fn foreign_column<'a>(table: &str, constraint: &'a str) -> Option<&'a str> {
    if constraint.len() >= NAME_MAX - 3 {
        return None;
    }
    let column = constraint.strip_prefix(table)?.strip_prefix('_')?;
    column
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .strip_suffix("_fkey")
        .filter(|column| !column.is_empty())
}

#[cfg(test)]
mod tests {
    use larder_core::models::{Comment, Post, PostTag, User};
    use larder_core::write::{DeleteWhere, InsertRows, UpdateWhere};
    use larder_core::{Entity, Filter};

    use super::*;
    use crate::error::refusal;

    fn refused<'a>(state: &'a str, table: &'a str, constraint: &'a str) -> Refused<'a> {
        Refused {
            state,
            table: Some(table),
            constraint: Some(constraint),
            ..Refused::default()
        }
    }

    fn explained(refused: &Refused<'_>, write: &Write) -> Error {
        explain(refused, refusal(refused.state), write).expect("it is a violation")
    }

    fn insert(table: &'static Table, columns: &[usize], values: Vec<Value>) -> Write {
        Write::new(WriteOp::Insert(InsertRows {
            table,
            columns: columns.to_vec(),
            values,
            on_conflict: None,
        }))
    }

    fn update(table: &'static Table, set: Vec<(usize, Assign)>) -> Write {
        let filter = Filter::All;
        Write::new(WriteOp::Update(UpdateWhere { table, set, filter }))
    }

    fn delete(table: &'static Table) -> Write {
        let filter = Filter::All;
        Write::new(WriteOp::Delete(DeleteWhere { table, filter }))
    }

    #[test]
    fn a_unique_key_is_found_by_its_name() {
        let write = insert(User::TABLE, &[], Vec::new());
        let error = explained(&refused("23505", "users", "users_email_key"), &write);
        assert!(error.violates(User::EMAIL), "{error:?}");
        assert_eq!(error.constraint(), Some("users_email_key"));
        let error = explained(&refused("23505", "users", "users_pkey"), &write);
        assert!(error.violates(User::ID), "{error:?}");
        let write = insert(PostTag::TABLE, &[], Vec::new());
        let error = explained(&refused("23505", "post_tags", "post_tags_pkey"), &write);
        assert!(error.violates(PostTag::KEY), "{error:?}");
        let error = explained(&refused("23505", "audit", "post_tags_pkey"), &write);
        assert_eq!((error.table(), error.columns().count()), (Some("audit"), 0));
    }

    #[test]
    fn a_reference_is_found_by_the_name_it_gets() {
        let author = Post::AUTHOR_ID.index();
        let refusal = refused("23503", "posts", "posts_author_id_fkey");
        for write in [
            insert(Post::TABLE, &[author], vec![Value::Int(9)]),
            update(Post::TABLE, vec![(author, Assign::Set(Value::Int(9)))]),
        ] {
            let error = explained(&refusal, &write);
            assert!(error.violates(Post::AUTHOR_ID), "{error:?}");
            assert!(error.message().contains("does not exist"), "{error}");
        }
        let again = refused("23503", "posts", "posts_author_id_fkey12");
        let error = explained(&again, &insert(Post::TABLE, &[author], vec![Value::Int(9)]));
        assert!(error.violates(Post::AUTHOR_ID), "{error:?}");
        let other = refused("23503", "posts", "the_author");
        let error = explained(&other, &insert(Post::TABLE, &[author], vec![Value::Int(9)]));
        assert_eq!(
            (error.constraint(), error.column()),
            (Some("the_author"), None)
        );
    }

    #[test]
    fn a_child_in_the_way_is_named_though_its_model_is_not_known() {
        let refusal = refused("23503", "comments", "comments_post_id_fkey");
        let error = explained(&refusal, &delete(Post::TABLE));
        assert!(error.violates(Comment::POST_ID), "{error:?}");
        assert!(error.message().contains("still refer"), "{error}");
        let refusal = refused("23503", "comments", "some_name");
        let error = explained(&refusal, &delete(Post::TABLE));
        assert_eq!((error.table(), error.column()), (Some("comments"), None));
    }

    #[test]
    fn a_missing_value_is_named() {
        let mut refusal = Refused {
            state: "23502",
            table: Some("posts"),
            column: Some("title"),
            ..Refused::default()
        };
        let write = insert(Post::TABLE, &[], Vec::new());
        let error = explained(&refusal, &write);
        assert_eq!(
            (error.kind(), error.table()),
            (ErrorKind::NotNull, Some("posts"))
        );
        assert_eq!(error.column(), Some("title"));
        refusal.column = None;
        assert_eq!(explained(&refusal, &write).column(), None);
    }

    #[test]
    fn a_check_of_a_length_is_told_from_others() {
        let title = Post::TITLE.index();
        let text = |length: usize| vec![Value::Text("é".repeat(length).into())];
        let refusal = refused("23514", "posts", "posts_title_check");
        let error = explained(&refusal, &insert(Post::TABLE, &[title], text(201)));
        assert_eq!(
            (error.kind(), error.column()),
            (ErrorKind::TooLong, Some("title"))
        );
        let error = explained(&refusal, &insert(Post::TABLE, &[title], text(200)));
        assert_eq!((error.kind(), error.column()), (ErrorKind::Check, None));
        assert_eq!(error.constraint(), Some("posts_title_check"));
    }

    #[test]
    fn a_sum_out_of_range_names_its_column() {
        let add = |at| (at, Assign::Add(Value::Int(1)));
        let author = Post::AUTHOR_ID.index();
        let mut refusal = refused("22003", "posts", "");
        refusal.table = None;
        let error = explained(&refusal, &update(Post::TABLE, vec![add(author)]));
        assert_eq!(
            (error.kind(), error.column()),
            (ErrorKind::Invalid, Some("author_id"))
        );
        let two = update(Post::TABLE, vec![add(author), add(Post::ID.index())]);
        let error = explained(&refusal, &two);
        assert_eq!((error.kind(), error.column()), (ErrorKind::Invalid, None));
        let mixed = update(Post::TABLE, vec![add(author), add(Post::TITLE.index())]);
        refusal.routine = Some("int8pl");
        assert_eq!(explained(&refusal, &mixed).column(), Some("author_id"));
    }

    #[test]
    fn a_value_that_cannot_be_sent_is_found() {
        let (author, title) = (Post::AUTHOR_ID.index(), Post::TITLE.index());
        let row = vec![Value::Int(1), Value::Text("a\0".into())];
        let error = find_unfit(&insert(Post::TABLE, &[author, title], row)).expect("NUL");
        assert_eq!(
            (error.kind(), error.column()),
            (ErrorKind::Invalid, Some("title"))
        );
        assert!(!error.to_string().contains("a\0") && error.value().is_some());
        let set = vec![(author, Assign::Set(Value::Bool(true)))];
        let error = find_unfit(&update(Post::TABLE, set)).expect("a bool");
        assert_eq!(
            (error.table(), error.column()),
            (Some("posts"), Some("author_id"))
        );
        assert!(find_unfit(&delete(Post::TABLE)).is_none());
    }

    #[test]
    fn default_names_are_those_of_the_server() {
        let name = |table: &str, column| default_name(table, column, "fkey");
        assert_eq!(name("posts", Some("author_id")), "posts_author_id_fkey");
        assert_eq!(default_name("posts", None, "pkey"), "posts_pkey");
        let (long, longer) = ("t".repeat(40), "c".repeat(50));
        let cut = format!("{}_{}_fkey", "t".repeat(29), "c".repeat(28));
        assert_eq!(name(&long, Some(&longer)), cut);
        let cut = format!("{}_pkey", "é".repeat(29));
        assert_eq!(default_name(&"é".repeat(40), None, "pkey"), cut);
    }

    #[test]
    fn a_name_that_may_have_been_cut_tells_no_column() {
        assert_eq!(
            foreign_column("rooms", "rooms_house_id_fkey"),
            Some("house_id")
        );
        assert_eq!(
            foreign_column("rooms", "rooms_house_id_fkey3"),
            Some("house_id")
        );
        let column = "c".repeat(60);
        let cut = default_name("rooms", Some(&column), "fkey");
        assert_eq!(foreign_column("rooms", &cut), None);
        for other in [
            "houses_house_id_fkey",
            "rooms_fkey",
            "rooms__fkey",
            "rooms_house_id_key",
        ] {
            assert_eq!(foreign_column("rooms", other), None, "{other}");
        }
    }
}
