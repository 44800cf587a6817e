//! Reads outside of transactions: [`read`].

use std::sync::Arc;

use larder_core::eval::{Names, RowIter, Source, Stored, deliver, evaluate, tables};
use larder_core::{Error, ErrorKind, Result, Rows, Select, Table};
use tokio::sync::SemaphorePermit;

use crate::columns::Columns;
use crate::draft::{Draft, Need, Trust};
use crate::fetch::{self, Extent, Fetched};
use crate::handle::Handle;
use crate::plan::{self, Part, Range};
use crate::schema::Tables;
use crate::walk;

/// How often a read begins anew because others wrote meanwhile, before it takes what it needs in
/// one call.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// Answers a read and shows the rows.
pub(crate) async fn read(
    handle: &Handle,
    call: SemaphorePermit<'_>,
    query: Select,
    mut rows: Rows,
) -> Result<Rows> {
    refuse_locks(handle, &query)?;
    let tables = Arc::new(
        handle
            .schema
            .tables(&handle.client, &tables(&query))
            .await?,
    );
    if let Some(walk) = walk::of(&tables, &query)? {
        return walk.run(handle, call, tables, query, rows).await;
    }
    let names = Names::of_select(&query);
    let answer = answer(handle, tables, query).await?;
    drop(call); // the receiver may take its time
    deliver(names, answer, &mut rows).await?;
    Ok(rows)
}

/// Answers a read as of one moment.
async fn answer(handle: &Handle, tables: Arc<Tables>, query: Select) -> Result<Vec<Stored>> {
    let columns = Columns::of(&query);
    if is_flat(&query) {
        return answer_flat(handle, &tables, &columns, query).await;
    }
    for _ in 0..ATTEMPTS_MAX {
        if let Some(answer) = attempt(handle, &query, &columns, &tables).await? {
            return Ok(answer);
        }
    }
    // Others write all the time: whole tables, in one call, are one moment.
    let mut draft = Draft::new(Arc::clone(&tables), Trust::Nothing);
    let whole: Vec<_> = larder_core::eval::tables(&query)
        .iter()
        .map(|table| (table.name, Part::Range(Range::all())))
        .collect();
    let fetched = fetch::parts(&handle.client, &tables, &columns, &whole, Extent::OneCall).await?;
    learn(&mut draft, whole, fetched);
    let answer = evaluate(query, &draft)?;
    if draft.take_missing().is_empty() {
        return Ok(answer);
    }
    Err(Error::new(
        ErrorKind::Engine,
        "the read looked at a table that it does not name",
    ))
}

/// Whether a read looks at one part of one table, known before it begins.
fn is_flat(query: &Select) -> bool {
    query.link.is_none() && larder_core::eval::tables(query).len() == 1
}

/// Rows of one table, in hand.
struct Flat(Vec<Stored>);

impl Source for Flat {
    fn rows(&self, _: &'static Table) -> RowIter<'_> {
        Box::new(self.0.iter())
    }
}

/// Answers a read of one table, which needs no draft.
async fn answer_flat(
    handle: &Handle,
    tables: &Tables,
    columns: &Columns,
    query: Select,
) -> Result<Vec<Stored>> {
    evaluate(query.clone(), &Flat(Vec::new()))?; // it makes sense
    let layout = tables.layout(query.table)?;
    let parts = plan::candidates(layout, &query.filter);
    let wanted: Vec<_> = parts
        .into_iter()
        .map(|part| (layout.table.name, part))
        .collect();
    let client = &handle.client;
    let mut fetched = Fetched::default();
    for attempt in 0..=ATTEMPTS_MAX {
        let extent = if attempt == ATTEMPTS_MAX {
            Extent::OneCall
        } else {
            Extent::Batches
        };
        fetched = fetch::parts(client, tables, columns, &wanted, extent).await?;
        if !fetched.torn {
            break;
        }
    }
    let rows = fetched.parts.into_iter().flatten();
    evaluate(query, &Flat(rows.map(|found| found.row).collect()))
}

/// Answers a read, unless it took several calls and others wrote in between.
async fn attempt(
    handle: &Handle,
    query: &Select,
    columns: &Columns,
    tables: &Arc<Tables>,
) -> Result<Option<Vec<Stored>>> {
    let mut draft = Draft::new(Arc::clone(tables), Trust::Nothing);
    let mut as_of = None;
    loop {
        let answer = evaluate(query.clone(), &draft);
        let wanted = rows_of(draft.take_missing());
        if wanted.is_empty() {
            return answer.map(Some);
        }
        let fetched =
            fetch::parts(&handle.client, tables, columns, &wanted, Extent::Batches).await?;
        let as_of = *as_of.get_or_insert(fetched.clock);
        if fetched.torn || fetched.stamps.values().any(|stamp| *stamp > as_of) {
            return Ok(None);
        }
        learn(&mut draft, wanted, fetched);
    }
}

/// The rows among what is missing.
pub(crate) fn rows_of(needs: Vec<Need>) -> Vec<(&'static str, Part)> {
    let rows = needs.into_iter().filter_map(|need| match need {
        Need::Rows(table, part) => Some((table, part)),
        Need::Keys(_) => None,
    });
    rows.collect()
}

/// Takes up what was fetched.
pub(crate) fn learn(draft: &mut Draft, wanted: Vec<(&'static str, Part)>, fetched: Fetched) {
    for ((table, part), found) in wanted.into_iter().zip(fetched.parts) {
        draft.learn(table, part, found);
    }
}

/// There are no row locks.
///
/// # Errors
/// `Unsupported` for a read that wants one.
pub(crate) fn refuse_locks(handle: &Handle, query: &Select) -> Result<()> {
    match query.lock {
        None => Ok(()),
        Some(_) => Err(Error::unsupported(
            handle.capabilities.engine,
            "row locks (`for_update`)",
        )),
    }
}
