//! Keyset pages: [`Page`] and its [`Cursor`].
//!
//! A page is found by the values at which it begins, so its cost does not grow with its
//! position and rows inserted meanwhile shift nothing. The condition "after these values in
//! this order" is built here from ordinary filters; engines know nothing of pages.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::db::{Db, Site};
use crate::describe::{self, Values};
use crate::error::{Error, Result};
use crate::filter::{Comparison, Filter};
use crate::load::{Load, Loader};
use crate::query::{First, break_ties, columns_of};
use crate::rows::{Flow, Row, Rows, Sink, get};
use crate::select::{Aggregate, Expr, Nulls, OrderBy, Output, Select};
use crate::value::{Kind, Value};

/// The most rows a page can have.
const SIZE_MAX: u64 = 10_000;

/// Some rows of a longer list, and where the list goes on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The rows, in the query's order.
    pub items: Vec<T>,
    /// The place after the last row, if more rows follow.
    pub next: Option<Cursor>,
    /// The place before the first row, if there may be rows before it.
    pub previous: Option<Cursor>,
    /// The number of rows of the whole list, if asked for.
    pub total: Option<u64>,
    query: PageQuery,
}

impl<L: Load> Page<L> {
    /// The next page; empty behind the last one.
    #[track_caller]
    pub fn next<'a>(&self, db: &'a Db) -> impl Future<Output = Result<Self>> + Send + use<'a, L> {
        let (query, cursor) = (self.query.clone(), self.next.clone());
        let site = std::panic::Location::caller();
        async move {
            match cursor {
                Some(cursor) => query.run(db, Place::After(cursor), site).await,
                None => Ok(query.empty()),
            }
        }
    }

    /// The page before; empty before the first one.
    #[track_caller]
    pub fn previous<'a>(
        &self,
        db: &'a Db,
    ) -> impl Future<Output = Result<Self>> + Send + use<'a, L> {
        let (query, cursor) = (self.query.clone(), self.previous.clone());
        let site = std::panic::Location::caller();
        async move {
            match cursor {
                Some(cursor) => query.run(db, Place::Before(cursor), site).await,
                None => Ok(query.empty()),
            }
        }
    }
}

/// A place in the order of one query, as opaque text that can go into a URL.
///
/// It holds the position's values, the query's fingerprint and a checksum: a cursor of another
/// query, or a changed one, is refused. It is not encrypted, and the checksum is no signature:
/// do not put anything secret into an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// Takes any text; whether it fits is known when the query runs.
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(text.to_owned()))
    }
}

impl Cursor {
    /// The cursor of a position; of no values, the end of the list.
    fn encode(fingerprint: u64, position: &[Value]) -> Self {
        let mut bytes = Vec::with_capacity(32);
        for value in position {
            codec::write(&mut bytes, value);
        }
        let check = codec::fnv1a(fingerprint, &bytes);
        let mut whole = fingerprint.to_le_bytes().to_vec();
        whole.extend_from_slice(&check.to_le_bytes());
        whole.extend_from_slice(&bytes);
        Self(URL_SAFE_NO_PAD.encode(whole))
    }

    fn decode(&self, fingerprint: u64, kinds: &[Kind]) -> Result<Vec<Value>> {
        let broken =
            || Error::misuse("the cursor was changed or cut off: start from the first page");
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| broken())?;
        let (query, rest) = bytes.split_first_chunk::<8>().ok_or_else(broken)?;
        let (check, mut rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        if u64::from_le_bytes(*check) != codec::fnv1a(u64::from_le_bytes(*query), rest) {
            return Err(broken());
        }
        if u64::from_le_bytes(*query) != fingerprint {
            return Err(Error::misuse(
                "the cursor belongs to another query: filter and order must be the same on every page",
            ));
        }
        if rest.is_empty() {
            return Ok(Vec::new()); // the end of the list
        }
        let position: Option<Vec<Value>> = kinds
            .iter()
            .map(|&kind| codec::read(&mut rest, kind))
            .collect();
        position.filter(|_| rest.is_empty()).ok_or_else(broken)
    }
}

/// Where a page lies.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// At the beginning of the list.
    First,
    /// Right after a position.
    After(Cursor),
    /// Right before a position.
    Before(Cursor),
}

impl Place {
    pub(crate) fn new(after: Option<Cursor>, before: Option<Cursor>) -> Result<Self> {
        match (after, before) {
            (None, None) => Ok(Self::First),
            (Some(cursor), None) => Ok(Self::After(cursor)),
            (None, Some(cursor)) => Ok(Self::Before(cursor)),
            (Some(_), Some(_)) => Err(Error::misuse(
                "a page begins after a place or ends before one: give one cursor, and filter for \
                 the other bound",
            )),
        }
    }
}

/// Everything needed to get a page and the pages beside it.
#[derive(Clone, Debug)]
pub(crate) struct PageQuery {
    select: Select,
    size: u64,
    total: bool,
    timeout: Option<Duration>,
    fingerprint: u64,
}

impl PageQuery {
    /// Checks that the query can be paged and breaks its ties.
    pub(crate) fn new(
        mut select: Select,
        size: u64,
        total: bool,
        timeout: Option<Duration>,
    ) -> Result<Self> {
        let misuse = |what: &'static str| Err(Error::misuse(what).with_table(select.table.name));
        if select.limit.is_some() || select.offset > 0 {
            return misuse("a page has its own limit: leave out limit and offset");
        }
        if size == 0 || size > SIZE_MAX {
            return misuse("a page has 1 to 10,000 rows");
        }
        if select
            .order
            .iter()
            .any(|by| !matches!(by.expr, Expr::Column(_)))
        {
            return misuse("pages can be ordered by columns only, not by aggregates or a rank");
        }
        break_ties(&mut select);
        let words = describe::select(&select, Values::Shown);
        let fingerprint = codec::fnv1a(codec::FNV_OFFSET, words.as_bytes());
        Ok(Self {
            select,
            size,
            total,
            timeout,
            fingerprint,
        })
    }

    fn empty<L>(self) -> Page<L> {
        Page {
            items: Vec::new(),
            next: None,
            previous: None,
            total: None,
            query: self,
        }
    }

    /// Reads the page at a place.
    pub(crate) async fn run<L: Load>(self, db: &Db, place: Place, site: Site) -> Result<Page<L>> {
        let backward = matches!(place, Place::Before(_));
        let (mut rows, more) = self.rows::<L>(db, &place, site).await?;
        if backward && rows.is_empty() {
            // What stood before the place is gone: the list begins behind it.
            return Box::pin(self.run(db, Place::First, site)).await;
        }
        if backward {
            rows.reverse();
        }
        let at = |row: Option<&(Vec<Value>, L::Row)>, exists: bool| {
            let row = row.filter(|_| exists);
            row.map(|(position, _)| Cursor::encode(self.fingerprint, position))
        };
        let next = at(rows.last(), backward || more);
        let previous = match place {
            // What stood behind the place is gone: the list ends before it.
            Place::After(_) if rows.is_empty() => Some(Cursor::encode(self.fingerprint, &[])),
            Place::After(_) => at(rows.first(), true),
            Place::Before(_) => at(rows.first(), more),
            Place::First => None,
        };
        let total = if self.total {
            Some(self.count(db, site).await?)
        } else {
            None
        };
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        let items = L::finish(self.loader(db, site), rows).await?;
        Ok(Page {
            items,
            next,
            previous,
            total,
            query: self,
        })
    }

    /// The rows at a place, in the direction they are read, and whether more follow.
    async fn rows<L: Load>(
        &self,
        db: &Db,
        place: &Place,
        site: Site,
    ) -> Result<(Vec<(Vec<Value>, L::Row)>, bool)> {
        let mut select = self.select.clone();
        let mut columns = columns_of::<L>();
        let width = columns.len();
        columns.extend(self.select.order.iter().map(|by| by.expr));
        select.output = Output::Exprs(columns);
        let kinds = self.kinds();
        if let Place::After(cursor) | Place::Before(cursor) = place {
            let forward = matches!(place, Place::After(_));
            let position = cursor.decode(self.fingerprint, &kinds)?;
            if !position.is_empty() {
                let filter = std::mem::replace(&mut select.filter, Filter::All);
                let beyond = beyond(&self.select.order, &position, forward, &self.select);
                select.filter = filter.and(beyond);
            }
            if !forward {
                select.order.iter_mut().for_each(reverse);
            }
        }
        select.limit = Some(self.size + 1); // one more tells whether the list goes on
        let sink = Keyed::<L> {
            rows: Vec::new(),
            width,
            kinds,
        };
        let rows = self.read(db, select, Rows::new(sink), site).await?;
        let mut rows = rows.into_sink::<Keyed<L>>()?.rows;
        let more = rows.len() as u64 > self.size;
        rows.truncate(self.size as usize);
        Ok((rows, more))
    }

    fn kinds(&self) -> Vec<Kind> {
        self.select
            .order
            .iter()
            .map(|by| by.expr.kind(self.select.table))
            .collect()
    }

    fn loader<'a>(&self, db: &'a Db, site: Site) -> Loader<'a> {
        Loader {
            db,
            timeout: self.timeout,
            site,
        }
    }

    async fn read(&self, db: &Db, select: Select, rows: Rows, site: Site) -> Result<Rows> {
        db.read(self.timeout, select, rows, site).await
    }

    async fn count(&self, db: &Db, site: Site) -> Result<u64> {
        let mut select = self.select.clone();
        select.output = Output::Exprs(vec![Expr::Aggregate(Aggregate::Count, None)]);
        select.order.clear();
        select.lock = None;
        let rows = Rows::new(First::new(|row| get::<i64>(row, 0)));
        let rows = self.read(db, select, rows, site).await?;
        Ok(rows
            .into_sink::<First<i64>>()?
            .row
            .unwrap_or(0)
            .unsigned_abs())
    }
}

fn reverse(by: &mut OrderBy) {
    by.descending = !by.descending;
    by.nulls = match by.nulls {
        Nulls::First => Nulls::Last,
        Nulls::Last => Nulls::First,
    };
}

/// The rows that come beyond a position: later in the order, or earlier.
///
/// For the order `a, b` beyond `(x, y)` this is `a >= x and (a > x or (a = x and b > y))`. The
/// first half is redundant; it lets an index find the beginning.
fn beyond(order: &[OrderBy], position: &[Value], forward: bool, select: &Select) -> Filter {
    let steps: Vec<Step<'_>> = order
        .iter()
        .zip(position)
        .filter_map(|(by, value)| {
            let Expr::Column(column) = by.expr else {
                return None;
            };
            let mut by = *by;
            if !forward {
                reverse(&mut by);
            }
            let nullable = select.table.columns[column].nullable;
            Some(Step {
                column,
                by,
                value,
                nullable,
            })
        })
        .collect();
    let mut any = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let Some(beyond) = step.beyond() else {
            continue;
        };
        let mut all: Vec<Filter> = steps[..at].iter().map(Step::same).collect();
        all.push(beyond);
        any.push(if all.len() == 1 {
            all.remove(0)
        } else {
            Filter::And(all)
        });
    }
    let lexicographic = if any.len() == 1 {
        any.remove(0)
    } else {
        Filter::Or(any)
    };
    match steps.first().and_then(Step::bound) {
        Some(bound) if steps.len() > 1 => bound.and(lexicographic),
        _ => lexicographic,
    }
}

/// One column of a position.
struct Step<'a> {
    column: usize,
    by: OrderBy,
    value: &'a Value,
    nullable: bool,
}

impl Step<'_> {
    fn compare(&self, op: Comparison) -> Filter {
        Filter::Compare {
            left: self.by.expr,
            op,
            value: self.value.clone(),
        }
    }

    fn is_null(&self) -> Filter {
        Filter::IsNull {
            column: self.column,
        }
    }

    /// Rows at the same value.
    fn same(&self) -> Filter {
        if self.value.is_null() {
            self.is_null()
        } else {
            self.compare(Comparison::Eq)
        }
    }

    /// Rows at a value beyond; `None` if nothing can be.
    fn beyond(&self) -> Option<Filter> {
        match (self.value.is_null(), self.by.nulls) {
            (true, Nulls::First) => Some(Filter::Not(Box::new(self.is_null()))),
            (true, Nulls::Last) => None,
            (false, nulls) => {
                let op = if self.by.descending {
                    Comparison::Lt
                } else {
                    Comparison::Gt
                };
                let values = self.compare(op);
                if self.nullable && nulls == Nulls::Last {
                    Some(Filter::Or(vec![values, self.is_null()]))
                } else {
                    Some(values)
                }
            }
        }
    }

    /// Rows at this value or beyond, where that is one plain comparison.
    fn bound(&self) -> Option<Filter> {
        let nulls_follow = self.nullable && self.by.nulls == Nulls::Last;
        let plain = !(self.value.is_null() || nulls_follow);
        let op = if self.by.descending {
            Comparison::Le
        } else {
            Comparison::Ge
        };
        plain.then(|| self.compare(op))
    }
}

/// Collects rows with the values of the order.
struct Keyed<L: Load> {
    rows: Vec<(Vec<Value>, L::Row)>,
    width: usize,
    kinds: Vec<Kind>,
}

impl<L: Load> Sink for Keyed<L> {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        let position: Result<Vec<Value>> = self
            .kinds
            .iter()
            .enumerate()
            .map(|(at, &kind)| Ok(row.value(self.width + at, kind)?.to_value()))
            .collect();
        self.rows.push((position?, L::decode(row, 0)?));
        Ok(Flow::More)
    }

    fn restart(&mut self) -> bool {
        self.rows.clear();
        true
    }
}
