//! Where to go on: rows of the target must be the source's first ones, in the order of the key.

use std::cmp::Ordering;

use indicatif::ProgressBar;
use larder::{Db, Table, Value};

use super::digest::hash;
use super::pages::{Page, Pages, key, key_text};
use super::{FROM, PAGE_ROWS, TO};
use crate::cli::failure::{Failure, Outcome};

/// What a table of the target holds already: the beginning of this copy.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// How many rows.
    pub(super) rows: u64,
    /// The key of the last of them.
    pub(super) last: Option<Vec<Value>>,
}

/// Compares what a table of the target holds with the beginning of the source's, row by row.
///
/// Refuses a target that holds anything else, and names the first row of it.
pub(super) async fn beginning(
    source: &Db,
    target: &Db,
    table: &'static Table,
    bar: &ProgressBar,
) -> Outcome<Beginning> {
    let mut theirs = Walk::new(target, table);
    let mut ours = Walk::new(source, table);
    let mut found = Beginning::default();
    let at = |side: &'static str| move |error| Failure::from(error).about(side);
    while let Some(there) = theirs.next().await.map_err(at(TO))? {
        let here = ours.next().await.map_err(at(FROM))?;
        match difference(table, here, there) {
            None => found.last = Some(key(table, there)),
            Some(difference) => return Err(refusal(table, &difference)),
        }
        found.rows += 1;
        bar.set_position(found.rows);
    }
    Ok(found)
}

fn refusal(table: &Table, difference: &str) -> Failure {
    Failure::operation(format!(
        "the target holds rows that are not the beginning of this copy: {}, {difference}",
        table.name
    ))
    .advice("name an empty database, or remove those rows from the target; nothing was copied")
}

/// What tells a row of the target from the one that should stand there, in words.
fn difference(table: &Table, here: Option<&[Value]>, there: &[Value]) -> Option<String> {
    let Some(here) = here else {
        return Some(foreign(table, there));
    };
    match key(table, here).cmp(&key(table, there)) {
        Ordering::Greater => Some(foreign(table, there)),
        Ordering::Less => Some(format!(
            "key {} of the source is missing before key {}",
            key_text(table, here),
            key_text(table, there)
        )),
        Ordering::Equal if hash(here) == hash(there) => None,
        Ordering::Equal => {
            let differs = |at: &usize| hash(&here[*at..=*at]) != hash(&there[*at..=*at]);
            let columns: Vec<&str> = (0..table.columns.len())
                .filter(differs)
                .map(|at| table.columns[at].name)
                .collect();
            Some(format!(
                "key {} differs in {}",
                key_text(table, there),
                columns.join(", ")
            ))
        }
    }
}

fn foreign(table: &Table, row: &[Value]) -> String {
    format!("key {} is not in the source", key_text(table, row))
}

/// The rows of a table one by one.
struct Walk<'a> {
    pages: Pages<'a>,
    page: Page,
    at: usize,
}

impl<'a> Walk<'a> {
    fn new(db: &'a Db, table: &'static Table) -> Self {
        Self {
            pages: Pages::new(db, table, PAGE_ROWS),
            page: Page::empty(table),
            at: 0,
        }
    }

    async fn next(&mut self) -> larder::Result<Option<&[Value]>> {
        if self.at == self.page.rows().len() {
            match self.pages.next().await? {
                Some(page) => (self.page, self.at) = (page, 0),
                None => return Ok(None),
            }
        }
        self.at += 1;
        Ok(self.page.row(self.at - 1))
    }
}
