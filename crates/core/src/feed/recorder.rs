//! [`Recorder`]: carries out a write inside a transaction and says which rows it changed.

use std::sync::Arc;
use std::time::Instant;

use super::cascade::{Cascades, having_keys};
use super::change::Operation;
use super::tables::ChangeRow;
use super::{Recording, values};
use crate::clock::Clock;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::eval::{Names, Stored, WholeRows, deliver, project};
use crate::filter::Filter;
use crate::rows::Rows;
use crate::schema::Table;
use crate::select::{Output, Select};
use crate::storage::Transaction;
use crate::types::Timestamp;
use crate::value::Value;
use crate::write::{ConflictAction, DeleteWhere, InsertRows, Write, WriteOp, Written};

/// How many changes one statement inserts.
const BATCH_ROWS: usize = 500;

/// Which tables are recorded, and how.
#[derive(Debug)]
pub(super) struct Recorder {
    recordings: Vec<Recording>,
    cascades: Cascades,
    clock: Arc<dyn Clock>,
}

/// A row that was changed: what becomes a [`ChangeRow`].
#[derive(Debug)]
pub(super) struct Record {
    table: &'static Table,
    operation: Operation,
    key: String,
    row: Option<String>,
    at: Timestamp,
}

/// The columns of [`ChangeRow`] that a record sets; the store sets the others.
const COLUMNS: [usize; 5] = [2, 3, 4, 5, 6];

impl Recorder {
    pub(super) fn new(recordings: Vec<Recording>, clock: Arc<dyn Clock>) -> Self {
        let tables: Vec<_> = recordings.iter().map(|one| one.table).collect();
        Self {
            cascades: Cascades::of(&tables),
            recordings,
            clock,
        }
    }

    /// The same by another clock.
    pub(super) fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self::new(self.recordings.clone(), clock)
    }

    fn recording(&self, table: &Table) -> Option<&Recording> {
        self.recordings.iter().find(|one| one.table.is(table))
    }

    /// Whether the write changes rows of recorded tables, its own or by a cascade.
    pub(super) fn concerns(&self, write: &Write) -> bool {
        let table = write.table();
        self.recording(table).is_some()
            || (matches!(write.op, WriteOp::Delete(_)) && self.cascades.begin_at(table))
    }

    /// Refuses what cannot be recorded.
    pub(super) fn check(&self, write: &Write) -> Result<()> {
        let table = write.table();
        let Some(recording) = self.recording(table) else {
            return Ok(());
        };
        if let Some(column) = recording.foreign {
            let message = "the recording leaves out a column that the table does not have";
            return Err(Error::misuse(message).or_column(table.name, column));
        }
        if sets_key(&write.op) && !matches!(write.op, WriteOp::Update(_)) {
            return Err(Error::unsupported(
                "a recorded table",
                "changing keys by an upsert or by rows, because which rows they were cannot be told; \
                 update them by a filter",
            )
            .with_table(table.name));
        }
        Ok(())
    }

    /// Carries out the write, delivers what it returns, and answers the records of what it changed.
    pub(super) async fn run(
        &self,
        tx: &dyn Transaction,
        write: Write,
        rows: Rows,
    ) -> Result<(Written, Rows, Vec<Record>)> {
        if matches!(write.op, WriteOp::Delete(_)) && self.cascades.begin_at(write.table()) {
            return self.delete(tx, write, rows).await;
        }
        if sets_key(&write.op) {
            return self.rename(tx, write, rows).await;
        }
        let operation = operation(&write.op);
        let (table, output) = (write.table(), write.returning.clone());
        let (written, changed) = write_captured(tx, write).await?;
        let records = self.records(table, operation, &changed);
        let rows = hand_out(table, output, &changed, rows).await;
        Ok((written, rows, records))
    }

    /// Deletes rows whose children go with them: locks and reads them all first.
    async fn delete(
        &self,
        tx: &dyn Transaction,
        write: Write,
        rows: Rows,
    ) -> Result<(Written, Rows, Vec<Record>)> {
        let Write {
            op: WriteOp::Delete(delete),
            returning,
            deadline,
            ..
        } = write
        else {
            return Err(Error::misuse("only deletions cascade"));
        };
        let table = delete.table;
        let doomed = read_locked(tx, table, delete.filter).await?;
        if doomed.is_empty() {
            return Ok((Written::rows(0), rows, Vec::new()));
        }
        let fallout = self.cascades.follow(tx, table, &doomed).await?;
        // By their keys: these rows are locked, and others may satisfy the filter by now.
        let mut write = Write::new(WriteOp::Delete(DeleteWhere {
            table,
            filter: having_keys(table, &doomed),
        }));
        write.deadline = deadline;
        let (written, deleted) = write_captured(tx, write).await?;
        let mut records = Vec::new();
        for (table, row) in fallout.nulled.values() {
            records.extend(self.record(table, Operation::Update, row));
        }
        // The last ones reached first: children before their parents.
        for (table, row) in fallout.deleted.iter().rev() {
            records.extend(self.record(table, Operation::Delete, row));
        }
        records.extend(self.records(table, Operation::Delete, &deleted));
        let rows = hand_out(table, returning, &deleted, rows).await;
        Ok((written, rows, records))
    }

    /// Changes rows and their keys: locks and reads them first, and records that they are gone under
    /// their old keys and there under the new ones.
    async fn rename(
        &self,
        tx: &dyn Transaction,
        mut write: Write,
        rows: Rows,
    ) -> Result<(Written, Rows, Vec<Record>)> {
        let (table, output) = (write.table(), write.returning.clone());
        let WriteOp::Update(update) = &mut write.op else {
            return Err(Error::misuse("only updates by a filter change keys"));
        };
        let filter = std::mem::replace(&mut update.filter, Filter::All);
        let old = read_locked(tx, table, filter).await?;
        if old.is_empty() {
            return Ok((Written::rows(0), rows, Vec::new()));
        }
        update.filter = having_keys(table, &old);
        let (written, new) = write_captured(tx, write).await?;
        let mut records = self.records(table, Operation::Delete, &old);
        records.extend(self.records(table, Operation::Insert, &new));
        let rows = hand_out(table, output, &new, rows).await;
        Ok((written, rows, records))
    }

    fn records(&self, table: &'static Table, what: Operation, rows: &[Stored]) -> Vec<Record> {
        let records = rows.iter().filter_map(|row| self.record(table, what, row));
        records.collect()
    }

    fn record(&self, table: &'static Table, operation: Operation, row: &[Value]) -> Option<Record> {
        let recording = self.recording(table)?;
        Some(Record {
            table,
            operation,
            key: values::key_to_json(table, row),
            row: (recording.rows).then(|| values::row_to_json(table, row, &recording.omitted)),
            at: self.clock.now(),
        })
    }
}

/// Writes the records into the outbox, and keeps those that it could not write.
pub(super) async fn save(
    tx: &dyn Transaction,
    records: &mut Vec<Record>,
    deadline: Option<Instant>,
) -> Result<()> {
    let mut saved = 0;
    let outcome = loop {
        let batch = &records[saved..records.len().min(saved + BATCH_ROWS)];
        if batch.is_empty() {
            break Ok(());
        }
        let mut write = Write::new(WriteOp::Insert(InsertRows {
            table: ChangeRow::TABLE,
            columns: COLUMNS.to_vec(),
            values: batch.iter().flat_map(Record::to_values).collect(),
            on_conflict: None,
        }));
        write.deadline = deadline;
        let count = batch.len();
        match tx.write(write, Rows::discard()).await {
            Ok(_) => saved += count,
            Err(error) => break Err(error),
        }
    };
    records.drain(..saved);
    outcome
}

impl Record {
    /// In the order of [`COLUMNS`].
    fn to_values(&self) -> [Value; COLUMNS.len()] {
        let row = self.row.clone();
        [
            Value::Text(self.table.name.into()),
            Value::Text(self.key.clone().into()),
            Value::Text(self.operation.as_str().into()),
            row.map_or(Value::Null, |row| Value::Text(row.into())),
            Value::Timestamp(self.at),
        ]
    }
}

fn sets_key(op: &WriteOp) -> bool {
    match op {
        WriteOp::Update(update) => {
            let mut set = update.set.iter();
            set.any(|(at, _)| update.table.key.contains(at))
        }
        WriteOp::UpdateRows(update) => {
            let changed = update.columns.iter().skip(update.by);
            let mut set = changed.chain(update.set.iter().map(|(at, _)| at));
            set.any(|at| update.table.key.contains(at))
        }
        WriteOp::Insert(insert) => match insert.on_conflict.as_ref().map(|on| &on.action) {
            Some(ConflictAction::Update { columns, set, .. }) => {
                let mut set = columns.iter().chain(set.iter().map(|(at, _)| at));
                set.any(|at| insert.table.key.contains(at))
            }
            _ => false,
        },
        WriteOp::Delete(_) => false,
    }
}

fn operation(op: &WriteOp) -> Operation {
    match op {
        WriteOp::Insert(insert) => match insert.on_conflict.as_ref().map(|on| &on.action) {
            Some(ConflictAction::Update { .. }) => Operation::Upsert,
            // Rows that were there already are not returned.
            Some(ConflictAction::Ignore) | None => Operation::Insert,
        },
        WriteOp::Update(_) | WriteOp::UpdateRows(_) => Operation::Update,
        WriteOp::Delete(_) => Operation::Delete,
    }
}

/// Writes, and answers the whole rows that were written.
async fn write_captured(tx: &dyn Transaction, mut write: Write) -> Result<(Written, Vec<Stored>)> {
    let capture = WholeRows::of(write.table());
    write.returning = Some(Output::Entity);
    let (written, mut rows) = tx.write(write, Rows::new(capture)).await?;
    match rows.take_failure() {
        // A row that cannot be read cannot be recorded.
        Some(error) => Err(error),
        None => Ok((written, rows.into_sink::<WholeRows>()?.rows)),
    }
}

/// Reads the whole rows that a filter takes and keeps them from being changed.
pub(super) async fn read_locked(
    tx: &dyn Transaction,
    table: &'static Table,
    filter: Filter,
) -> Result<Vec<Stored>> {
    let mut select = Select::new(table);
    select.filter = filter;
    select.order = table.key.iter().map(|&at| by_column(at)).collect();
    select.lock = Some(crate::RowLock::Wait);
    let rows = tx.read(select, Rows::new(WholeRows::of(table))).await?;
    Ok(rows.into_sink::<WholeRows>()?.rows)
}

fn by_column(at: usize) -> crate::select::OrderBy {
    crate::select::OrderBy {
        expr: crate::Expr::Column(at),
        descending: false,
        nulls: crate::Nulls::Last,
    }
}

/// Gives the caller what it asked the write to return.
async fn hand_out(
    table: &'static Table,
    output: Option<Output>,
    changed: &[Stored],
    mut rows: Rows,
) -> Rows {
    let Some(output) = output else {
        return rows;
    };
    let answer = changed.iter().map(|row| project(&output, row)).collect();
    if let Err(error) = deliver(Names::of_write(table, output), answer, &mut rows).await {
        rows.fail(error);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_fill_these_columns() {
        let names = COLUMNS.map(|at| ChangeRow::TABLE.columns[at].name);
        assert_eq!(
            names,
            [
                "table_name",
                "row_key",
                "operation",
                "row_json",
                "changed_at"
            ]
        );
    }
}
