//! The pre-flight: what of the source the target cannot hold, found before anything is written.

use indicatif::ProgressBar;
use larder::filter::{Filter, Related};
use larder::{Db, Table, Value};

use super::digest::Digest;
use super::pages::{Page, Pages, count, first, key_text};
use super::{Holds, PAGE_ROWS};
use crate::cli::exchange::{Problem, Reads, check_column};
use crate::cli::failure::Outcome;

/// How many findings are shown one by one.
const SHOWN_MAX: usize = 20;

/// What is wrong with the source.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many values.
    pub(super) count: u64,
    /// The first of them, with table and key.
    pub(super) shown: Vec<String>,
}

impl Findings {
    fn add(&mut self, table: &Table, row: &[Value], problem: &Problem) {
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            let key = key_text(table, row);
            self.shown
                .push(format!("{}, key {key}: {problem}", table.name));
        }
    }
}

/// Reads a table of the source: notes what the target cannot hold, and what there is.
pub(super) async fn check(
    source: &Db,
    (table, reads): (&'static Table, Reads),
    holds: Holds,
    findings: &mut Findings,
    bar: &ProgressBar,
) -> Outcome<Digest> {
    let mut digest = Digest::default();
    let mut pages = Pages::new(source, table, PAGE_ROWS).checked_by(reads);
    while let Some(page) = pages.next().await? {
        check_page(table, &page, holds, findings);
        page.rows().for_each(|row| digest.add(row));
        bar.set_position(digest.rows);
    }
    check_references(source, table, findings).await?;
    Ok(digest)
}

/// Notes the page's values that do not fit: each column once, the row's unreadable ones first.
fn check_page(table: &'static Table, page: &Page, holds: Holds, findings: &mut Findings) {
    let mut unreadable = page.unreadable.iter().peekable();
    for (number, row) in page.rows().enumerate() {
        let mut told: Vec<&str> = Vec::new();
        while let Some((_, problem)) = unreadable.next_if(|(at, _)| *at == number) {
            findings.add(table, row, problem);
            told.extend(problem.field.as_deref());
        }
        for (column, value) in table.columns.iter().zip(row) {
            if told.contains(&column.name) {
                continue;
            }
            let refused = holds(value).map(|reason| Problem::of(column.name, reason));
            if let Some(problem) = check_column(column, value).err().or(refused) {
                findings.add(table, row, &problem);
            }
        }
    }
}

/// Notes the rows that refer to one that is not there, which no engine takes.
async fn check_references(source: &Db, table: &'static Table, findings: &mut Findings) -> Outcome {
    for (at, column) in table.columns.iter().enumerate() {
        let Some(reference) = &column.references else {
            continue;
        };
        let parent = (reference.table)();
        let refers = Filter::Related(Box::new(Related {
            from: at,
            table: parent,
            to: parent.key[0],
            filter: Filter::All,
        }));
        let nowhere = Filter::Not(Box::new(Filter::Or(vec![
            Filter::IsNull { column: at },
            refers,
        ])));
        let missing = count(source, table, nowhere.clone()).await?;
        if missing == 0 {
            continue;
        }
        let page = first(source, table, nowhere, SHOWN_MAX as u64).await?;
        for row in page.rows() {
            let key = crate::cli::exchange::to_text(&row[at]);
            let reason = format!("there is no row {key} in {}", parent.name);
            findings.add(table, row, &Problem::of(column.name, reason));
        }
        findings.count += missing - page.rows().len() as u64;
    }
    Ok(())
}
