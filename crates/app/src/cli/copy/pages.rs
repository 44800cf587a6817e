//! [`Pages`]: a table's rows in the order of its key, some thousand at a time.
//!
//! Works on any table by its metadata, so nothing here knows a model.

use std::future::Future;
use std::time::{Duration, Instant};

use larder::filter::Filter;
use larder::select::OrderBy;
use larder::write::{InsertRows, WriteOp};
use larder::{
    Aggregate, Comparison, Db, Error, ErrorKind, Expr, Flow, Nulls, Output, Result, Row, Rows,
    Select, Sink, Table, Value, Write,
};

use crate::cli::exchange::{Problem, Reads, to_text};

/// How long one page may take to be read or written.
const PAGE_TIMEOUT: Duration = Duration::from_mins(10);
/// From this size on a page is full, however few its rows.
const PAGE_BYTES: usize = 16 << 20;

/// A walk through a table, page by page.
pub(super) struct Pages<'a> {
    db: &'a Db,
    table: &'static Table,
    rows_max: u64,
    /// Whether rows must be readable as the model's struct too.
    reads: Option<Reads>,
    after: Option<Vec<Value>>,
    ended: bool,
}

/// Rows that follow each other in the order of the key.
#[derive(Debug)]
pub(super) struct Page {
    table: &'static Table,
    /// All columns' values, row after row; NULL for those that cannot be read.
    pub(super) values: Vec<Value>,
    /// What cannot be read, with the number of its row in the page.
    pub(super) unreadable: Vec<(usize, Problem)>,
}

impl<'a> Pages<'a> {
    /// From the first row, at most so many rows a page.
    pub(super) fn new(db: &'a Db, table: &'static Table, rows_max: u64) -> Self {
        Self {
            db,
            table,
            rows_max,
            reads: None,
            after: None,
            ended: false,
        }
    }

    /// Notes rows too that this cannot read.
    pub(super) fn checked_by(mut self, reads: Reads) -> Self {
        self.reads = Some(reads);
        self
    }

    /// Begins after the row with this key instead.
    pub(super) fn after(mut self, key: Option<Vec<Value>>) -> Self {
        self.after = key;
        self
    }

    /// The next rows; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Page>> {
        if self.ended {
            return Ok(None);
        }
        let mut select = in_order(self.table);
        select.limit = Some(self.rows_max);
        if let Some(key) = &self.after {
            select.filter = beyond(self.table, key);
        }
        let sink = Collect {
            page: Page::empty(self.table),
            bytes: 0,
            reads: self.reads,
        };
        let Collect { page, bytes, .. } = *read(self.db, select, sink).await?;
        self.ended = (page.rows().len() as u64) < self.rows_max && bytes < PAGE_BYTES;
        self.after = page.last_key().or_else(|| self.after.take());
        tokio::task::yield_now().await; // lets Ctrl-C in
        Ok((!page.values.is_empty()).then_some(page))
    }
}

impl Page {
    pub(super) fn empty(table: &'static Table) -> Self {
        Self {
            table,
            values: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// The rows' values, a slice each.
    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, Value> {
        self.values.chunks_exact(self.table.columns.len())
    }

    /// The row at this place.
    pub(super) fn row(&self, at: usize) -> Option<&[Value]> {
        self.rows().nth(at)
    }

    fn last_key(&self) -> Option<Vec<Value>> {
        Some(key(self.table, self.rows().next_back()?))
    }
}

/// The key's values of a row.
pub(super) fn key(table: &Table, row: &[Value]) -> Vec<Value> {
    table.key.iter().map(|&at| row[at].clone()).collect()
}

/// The key of a row in messages: `12`, or `(3, 4)` where it has several columns.
pub(super) fn key_text(table: &Table, row: &[Value]) -> String {
    let parts: Vec<String> = table.key.iter().map(|&at| to_text(&row[at])).collect();
    match parts.as_slice() {
        [one] => one.clone(),
        parts => format!("({})", parts.join(", ")),
    }
}

/// All rows in the order of the key.
fn in_order(table: &'static Table) -> Select {
    let mut select = Select::new(table);
    select.order = (table.key.iter())
        .map(|&at| OrderBy {
            expr: Expr::Column(at),
            descending: false,
            nulls: Nulls::Last,
        })
        .collect();
    select
}

/// The rows after a key `(x, y)`: `a >= x and (a > x or (a = x and b > y))`. The first half is
/// redundant; it lets an index find the beginning.
fn beyond(table: &Table, key: &[Value]) -> Filter {
    let compare = |(&at, value): (&usize, &Value), op| Filter::Compare {
        left: Expr::Column(at),
        op,
        value: value.clone(),
    };
    let steps: Vec<_> = table.key.iter().zip(key).collect();
    let mut any = steps.iter().enumerate().map(|(at, &step)| {
        let same = steps[..at].iter();
        same.map(|&earlier| compare(earlier, Comparison::Eq))
            .fold(compare(step, Comparison::Gt), Filter::and)
    });
    match (steps.as_slice(), any.next()) {
        ([_], Some(only)) => only,
        ([first, ..], Some(one)) => compare(*first, Comparison::Ge).and(any.fold(one, Filter::or)),
        _ => Filter::All, // a table without a key, which the derive refuses
    }
}

/// Collects rows until the page is full.
struct Collect {
    page: Page,
    bytes: usize,
    reads: Option<Reads>,
}

impl Sink for Collect {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        let Self { page, bytes, reads } = self;
        let (number, found) = (page.rows().len(), page.unreadable.len());
        for (at, column) in page.table.columns.iter().enumerate() {
            let value = match row.value(at, column.kind) {
                Ok(value) => value.to_value(),
                // Without its key no row can be named, and no page begin after it.
                Err(error) if page.table.key.contains(&at) => {
                    return Err(error.or_column(page.table.name, column.name));
                }
                Err(error) => {
                    let problem = Problem::of(column.name, error.message());
                    page.unreadable.push((number, problem));
                    Value::Null
                }
            };
            *bytes += size(&value);
            page.values.push(value);
        }
        if page.unreadable.len() == found
            && let Some(Err(error)) = reads.map(|reads| reads(row))
        {
            let problem = match error.column() {
                Some(column) => Problem::of(column, error.message()),
                None => Problem::line(error.message()),
            };
            page.unreadable.push((number, problem));
        }
        Ok(if *bytes < PAGE_BYTES {
            Flow::More
        } else {
            Flow::Stop
        })
    }

    fn restart(&mut self) -> bool {
        self.page = Page::empty(self.page.table);
        self.bytes = 0;
        true
    }
}

/// About how many bytes a value takes in memory.
fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Text(text) => text.len(),
            Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
}

/// How many rows of the table satisfy the filter.
pub(super) async fn count(db: &Db, table: &'static Table, filter: Filter) -> Result<u64> {
    let mut select = Select::new(table);
    select.filter = filter;
    select.output = Output::Exprs(vec![Expr::Aggregate(Aggregate::Count, None)]);
    Ok(read(db, select, Number(0)).await?.0)
}

struct Number(u64);

impl Sink for Number {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        self.0 = larder::rows::get::<i64>(row, 0)?.unsigned_abs();
        Ok(Flow::Stop)
    }

    fn restart(&mut self) -> bool {
        true
    }
}

/// The first rows that satisfy the filter, in the order of the key.
pub(super) async fn first(
    db: &Db,
    table: &'static Table,
    filter: Filter,
    rows_max: u64,
) -> Result<Page> {
    let mut select = in_order(table);
    select.filter = filter;
    select.limit = Some(rows_max);
    let sink = Collect {
        page: Page::empty(table),
        bytes: 0,
        reads: None,
    };
    Ok(read(db, select, sink).await?.page)
}

async fn read<S: Sink>(db: &Db, select: Select, sink: S) -> Result<Box<S>> {
    let table = select.table;
    let reading = db.storage().read(select, Rows::new(sink));
    let rows = within(PAGE_TIMEOUT, ErrorKind::Timeout, reading).await;
    rows.map_err(|error| about(error, table))?.into_sink()
}

/// Inserts the page's rows as they are, all or none.
pub(super) async fn insert(db: &Db, page: Page) -> Result<()> {
    let table = page.table;
    let mut write = Write::new(WriteOp::Insert(InsertRows {
        table,
        columns: (0..table.columns.len()).collect(),
        values: page.values,
        on_conflict: None,
    }));
    write.deadline = Some(Instant::now() + PAGE_TIMEOUT);
    let writing = db.storage().write(write, Rows::discard());
    // The store gives up by itself; a moment later it can only have gone silent.
    let patience = PAGE_TIMEOUT + Duration::from_secs(10);
    let written = within(patience, ErrorKind::Unknown, writing).await;
    written.map(drop).map_err(|error| about(error, table))
}

fn about(error: Error, table: &'static Table) -> Error {
    if error.table().is_none() {
        error.with_table(table.name)
    } else {
        error
    }
}

async fn within<T>(
    limit: Duration,
    late: ErrorKind,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(Error::new(late, format!("no answer came within {limit:?}"))))
}
