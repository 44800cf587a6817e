//! Writes outside of transactions: [`write`].
//!
//! A write is computed from the rows that it looks at, and applied by one script that checks that
//! they are still so. If they are not, it is computed again. An insert takes it for granted that its
//! keys are free and its parents there, and reads nothing unless the script finds otherwise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_core::column::Assign;
use larder_core::eval::filter_tables;
use larder_core::work::{Returned, apply};
use larder_core::write::{InsertRows, WriteOp};
use larder_core::{Error, ErrorKind, Filter, Result, Rows, Table, Value, Write, Written};

use crate::columns::Columns;
use crate::commit::{Outcome, Reads, commit};
use crate::draft::{Draft, Need, Trust};
use crate::fetch::{self, Extent};
use crate::handle::{Handle, Made, by, maybe_applied, nothing_applied};
use crate::read::{learn, rows_of};

/// How often a write without a deadline is computed again because others were faster.
const ATTEMPTS_MAX: u32 = 1_000;
/// The longest pause before that.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Applies a write and shows the rows that it returns.
pub(crate) async fn write(handle: &Handle, write: Write, rows: Rows) -> Result<(Written, Rows)> {
    if write
        .deadline
        .is_some_and(|deadline| deadline <= Instant::now())
    {
        return Err(nothing_applied());
    }
    let mut trust = match &write.op {
        WriteOp::Insert(insert) if insert.on_conflict.is_none() => Trust::Keys,
        _ => Trust::Nothing,
    };
    for attempt in 0..ATTEMPTS_MAX {
        let mut made = Vec::new();
        match once(handle, &write, trust, &mut made).await {
            Ok(Some((written, returned))) => return Ok((written, returned.deliver(rows).await)),
            Ok(None) => handle.give_back(&mut made).await,
            Err(error) => {
                if error.kind() != ErrorKind::Unknown {
                    handle.give_back(&mut made).await;
                }
                return Err(error);
            }
        }
        trust = Trust::Nothing;
        pause(attempt, write.deadline).await?;
    }
    Err(lost())
}

/// Computes and applies a write; `None` if others were faster.
async fn once(
    handle: &Handle,
    write: &Write,
    trust: Trust,
    made: &mut Vec<Made>,
) -> Result<Option<(Written, Returned)>> {
    let computing = compute(handle, write, trust, made);
    let Some((draft, done)) = by(write.deadline, computing, nothing_applied).await? else {
        return Ok(None);
    };
    if !draft.is_changed() {
        return Ok(Some(done));
    }
    let committing = commit(&handle.client, &draft, Reads::Forget);
    match by(write.deadline, committing, maybe_applied).await? {
        Outcome::Applied => Ok(Some(done)),
        Outcome::Lost => Ok(None),
        Outcome::SchemaChanged => {
            handle.schema.load(&handle.client, &[]).await?;
            Ok(None)
        }
    }
}

/// What a write would do; `None` if its rows changed while they were fetched, and that matters.
async fn compute(
    handle: &Handle,
    write: &Write,
    trust: Trust,
    made: &mut Vec<Made>,
) -> Result<Option<(Draft, (Written, Returned))>> {
    let tables = handle.schema.tables(&handle.client, &tables(write)).await?;
    check_referrers(handle, write)?;
    let mut draft = Draft::new(Arc::new(tables), trust);
    let many = keys_wanted(write);
    let (mut as_of, mut moved) = (None, false);
    loop {
        let done = apply(&mut draft, write.clone());
        let missing = draft.take_missing();
        if missing.is_empty() {
            let is_safe = !moved || (done.is_ok() && !looks_around(write));
            return if is_safe {
                done.map(|done| Some((draft, done)))
            } else {
                Ok(None)
            };
        }
        for need in &missing {
            if let Need::Keys(keys) = need {
                let new = handle.make_keys(keys, many, made).await?;
                draft.learn_keys(keys, new);
            }
        }
        let wanted = rows_of(missing);
        if wanted.is_empty() {
            continue;
        }
        let tables = Arc::clone(draft.tables());
        let fetched = fetch::parts(
            &handle.client,
            &tables,
            &Columns::all(),
            &wanted,
            Extent::Batches,
        )
        .await?;
        let as_of = *as_of.get_or_insert(fetched.clock);
        moved |= fetched.torn || fetched.stamps.values().any(|stamp| *stamp > as_of);
        learn(&mut draft, wanted, fetched);
    }
}

/// Every table that a write names.
pub(crate) fn tables(write: &Write) -> Vec<&'static Table> {
    let mut tables = vec![write.table()];
    if let WriteOp::Update(update) = &write.op {
        filter_tables(&update.filter, &mut tables);
    }
    if let WriteOp::Delete(delete) = &write.op {
        filter_tables(&delete.filter, &mut tables);
    }
    // A row cannot be checked against a parent whose table is not known.
    let parents: Vec<_> = (write.table().columns.iter())
        .filter_map(|column| Some((column.references.as_ref()?.table)()))
        .collect();
    tables.extend(parents);
    tables
}

/// Whether which rows are written depends on rows of other tables.
fn looks_around(write: &Write) -> bool {
    let related = |filter: &Filter| {
        let mut others = Vec::new();
        filter_tables(filter, &mut others);
        !others.is_empty()
    };
    match &write.op {
        WriteOp::Update(update) => related(&update.filter),
        WriteOp::Delete(delete) => related(&delete.filter),
        WriteOp::Insert(_) | WriteOp::UpdateRows(_) => false,
    }
}

/// Refuses writes after which rows might refer to nothing because their table is not known.
pub(crate) fn check_referrers(handle: &Handle, write: &Write) -> Result<()> {
    let table = write.table();
    let moves_key = |set: &[(usize, Assign)]| set.iter().any(|(at, _)| table.key.contains(at));
    let goes = match &write.op {
        WriteOp::Delete(_) => true,
        WriteOp::Update(update) => moves_key(&update.set),
        WriteOp::UpdateRows(update) => {
            let changed = update.columns.iter().skip(update.by);
            moves_key(&update.set) || changed.into_iter().any(|at| table.key.contains(at))
        }
        WriteOp::Insert(insert) => insert.on_conflict.is_some(),
    };
    if goes {
        handle.schema.check_referrers(table)?;
    }
    Ok(())
}

/// How many rows of a write need a key that the store makes.
pub(crate) fn keys_wanted(write: &Write) -> i64 {
    let WriteOp::Insert(insert) = &write.op else {
        return 0;
    };
    let key = insert.table.single_key();
    let key = key.filter(|_| insert.table.auto_key);
    key.map_or(0, |key| without_key(insert, key))
}

fn without_key(insert: &InsertRows, key: usize) -> i64 {
    let rows = insert.rows();
    let many = match insert.columns.iter().position(|at| *at == key) {
        None => rows.len(),
        Some(at) => rows.filter(|row| matches!(row[at], Value::Null)).count(),
    };
    i64::try_from(many).unwrap_or(i64::MAX)
}

/// Waits a moment, so that who lost does not get in the way again at once.
async fn pause(attempt: u32, deadline: Option<Instant>) -> Result<()> {
    let most = PAUSE_MAX.min(Duration::from_micros(200) * (1 << attempt.min(10)));
    let pause = Duration::from_nanos(fastrand::u64(0..=most.as_nanos() as u64));
    let sleep = async {
        tokio::time::sleep(pause).await;
        Ok(())
    };
    by(deadline, sleep, nothing_applied).await
}

/// The error of work that lost against others.
#[cold]
pub(crate) fn lost() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "others changed what the work had looked at, and nothing was applied: run it again",
    )
}
