//! Reads whose rows an index has in order: [`Walking`], batch by batch, no more than are wanted.
//!
//! A page is one call of a script. What takes several is one moment if the table was not written to
//! in between. If it was, the walk begins anew; once rows have been taken that cannot be taken
//! back, as those of a stream, it ends with `Conflict`. A stream's rows are shown when all of them
//! are here, or [`BUFFERED_MAX`].

use std::sync::Arc;

use bytes::Bytes;
use larder_core::eval::{Condition, Names, Stored, deliver, evaluate, filter_tables, project};
use larder_core::rows::Flow;
use larder_core::work::State;
use larder_core::{Error, ErrorKind, Filter, Result, Rows, Select};
use tokio::sync::SemaphorePermit;

use crate::columns::Columns;
use crate::error::unreadable;
use crate::fetch::{Ahead, PartRows, Request};
use crate::handle::Handle;
use crate::plan::{self, Walk};
use crate::read::ATTEMPTS_MAX;
use crate::schema::Tables;

/// The most rows of a batch.
const BATCH_MAX: usize = 1_000;
/// The fewest, where a filter may leave out some.
const BATCH_MIN: usize = 32;
/// The most rows of a stream that are held back.
pub(crate) const BUFFERED_MAX: usize = 10_000;

/// A read that walks along an index.
#[derive(Debug)]
pub(crate) struct Walking {
    walk: Walk,
}

/// The walk that answers a read, if there is one.
///
/// # Errors
/// `Misuse` where the read makes no sense.
pub(crate) fn of(tables: &Tables, query: &Select) -> Result<Option<Walking>> {
    let mut related = Vec::new();
    filter_tables(&query.filter, &mut related);
    if query.link.is_some() || query.aggregates() || query.distinct || !related.is_empty() {
        return Ok(None);
    }
    evaluate(query.clone(), &State::default())?; // it makes sense
    let layout = tables.layout(query.table)?;
    let Some(walk) = plan::walk(layout, &query.filter, &query.order) else {
        return Ok(None);
    };
    Ok(Some(Walking { walk }))
}

impl Walking {
    /// Shows the rows.
    pub(crate) async fn run(
        self,
        handle: &Handle,
        call: SemaphorePermit<'_>,
        tables: Arc<Tables>,
        mut query: Select,
        mut rows: Rows,
    ) -> Result<Rows> {
        let filter = std::mem::replace(&mut query.filter, Filter::All);
        let condition = Condition::on_rows(filter, query.table)?;
        let mut columns = Columns::of(&query);
        columns.add_filter(query.table, condition.filter());
        let plan = Plan {
            handle,
            tables: &tables,
            columns,
            condition,
            walk: &self.walk,
            query: &query,
        };
        let mut call = Some(call);
        for attempt in 0..=ATTEMPTS_MAX {
            let place = Place::new(&query, attempt == ATTEMPTS_MAX);
            match plan.attempt(place, &mut call, &mut rows).await? {
                Ended::Whole => return Ok(rows),
                Ended::Torn if rows.restart() => {}
                Ended::Torn => return Err(torn()),
            }
        }
        Err(torn())
    }
}

/// How a walk ended.
enum Ended {
    Whole,
    /// Others wrote to the table.
    Torn,
}

/// What stays the same from batch to batch.
struct Plan<'a> {
    handle: &'a Handle,
    tables: &'a Tables,
    columns: Columns,
    condition: Condition,
    walk: &'a Walk,
    query: &'a Select,
}

/// How far a walk is.
struct Place {
    after: Option<Bytes>,
    /// How many rows are still to be left out.
    skip: u64,
    /// How many are still wanted.
    left: u64,
    /// The table's stamp at the first batch.
    stamp: Option<u64>,
    in_one_call: bool,
    ready: Vec<Stored>,
}

impl Place {
    fn new(query: &Select, in_one_call: bool) -> Self {
        Self {
            after: None,
            skip: query.offset,
            left: query.limit.unwrap_or(u64::MAX),
            stamp: None,
            in_one_call,
            ready: Vec::new(),
        }
    }
}

impl Plan<'_> {
    async fn attempt(
        &self,
        mut place: Place,
        call: &mut Option<SemaphorePermit<'_>>,
        rows: &mut Rows,
    ) -> Result<Ended> {
        let names = Names::of_select(self.query);
        let held_back = if rows.may_wait() { BUFFERED_MAX } else { 0 };
        let mut is_shown = false;
        loop {
            let most = self.batch_size(&place);
            let Some(batch) = self.batch(&mut place, most).await? else {
                return Ok(Ended::Torn);
            };
            let is_last = most == 0 || batch.members < most;
            self.take(&mut place, batch);
            let is_done = is_last || place.left == 0;
            if !is_done && !is_shown && place.ready.len() < held_back {
                continue;
            }
            if rows.may_wait() {
                call.take(); // the receiver may take its time
            }
            is_shown = true;
            let ready = std::mem::take(&mut place.ready);
            let flow = deliver(names.clone(), ready, rows).await?;
            if is_done || flow == Flow::Stop {
                return Ok(Ended::Whole);
            }
        }
    }

    /// As many as are wanted, and more where the filter may leave out some.
    fn batch_size(&self, place: &Place) -> usize {
        if place.in_one_call {
            return 0;
        }
        let wanted = place.left.saturating_add(place.skip);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(BATCH_MAX);
        match self.condition.filter() {
            Filter::All => wanted.max(1),
            _ => wanted.max(BATCH_MIN),
        }
    }

    /// The next members of the index; `None` if others wrote to the table.
    async fn batch(&self, place: &mut Place, most: usize) -> Result<Option<PartRows>> {
        let table = self.tables.layout(self.query.table)?.table.name;
        let client = &self.handle.client;
        let only = std::iter::once(table);
        let mut request = Request::new(client, self.tables, &self.columns, only, most);
        request.range(
            table,
            Ahead {
                range: &self.walk.range,
                reverse: self.walk.reverse,
                after: place.after.take(),
                most,
            },
        );
        let mut reply = request.send(client).await?;
        let stamp = reply.stamps.first().map_or(0, |(_, stamp)| *stamp);
        if *place.stamp.get_or_insert(stamp) != stamp {
            return Ok(None);
        }
        let mut batch = reply.parts.pop().ok_or_else(unreadable)?;
        place.after = batch.last.take();
        Ok(Some(batch))
    }

    /// Takes what satisfies the filter and is wanted.
    fn take(&self, place: &mut Place, batch: PartRows) {
        let nothing = State::default(); // the filter asks no other rows
        for found in batch.found {
            if place.left == 0 {
                return;
            }
            if !self.condition.holds(&found.row, &nothing) {
                continue;
            }
            if place.skip > 0 {
                place.skip -= 1;
                continue;
            }
            place.left -= 1;
            place.ready.push(project(&self.query.output, &found.row));
        }
    }
}

#[cold]
fn torn() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "others wrote to the table while its rows were streamed, so that the rest would be of \
         another state: read it again, in pages if it is large",
    )
}
