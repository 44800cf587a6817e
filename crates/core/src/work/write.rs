//! Carrying out a [`Write`]: [`apply`].
//!
//! Rows are changed one after the other, and unique keys are checked at each of them, as SQLite
//! does: an update that swaps two unique values within one write is refused, whatever the order.
//! Updates and deletes by filter choose all their rows first and take them in the order of their
//! keys. References are checked when the whole write is through.

use super::{Key, Target, Work, pick};
use crate::column::Assign;
use crate::error::{Error, Result};
use crate::eval::{
    Condition, Names, Stored, assign, check_column, check_fits, check_output, deliver,
    filter_tables, project,
};
use crate::filter::Filter;
use crate::rows::Rows;
use crate::schema::Table;
use crate::select::Output;
use crate::value::{Kind, Value};
use crate::write::{
    ConflictAction, DeleteWhere, InsertRows, OnConflict, UpdateRows, UpdateWhere, Write, WriteOp,
    Written,
};

/// The rows that a write returns, delivered after it.
#[derive(Debug)]
pub struct Returned(Option<(Names, Vec<Stored>)>);

impl Returned {
    /// Hands the rows to the receiver, at its pace; what it cannot read is kept for who asked.
    pub async fn deliver(self, mut rows: Rows) -> Rows {
        let Some((names, answer)) = self.0 else {
            return rows;
        };
        match deliver(names, answer, &mut rows).await {
            Ok(_) => {}
            Err(error) => rows.fail(error),
        }
        rows
    }
}

/// Applies a write to the rows, whole or not at all.
///
/// # Errors
/// Every refusal that the rows are the reason of: `Unique`, `Reference`, `NotNull`, `Invalid`,
/// `Full` when a table has used up its keys. `Schema` if models disagree, `Misuse` where the write
/// makes no sense.
pub fn apply<T: Target>(state: &mut T, write: Write) -> Result<(Written, Returned)> {
    let table = write.table();
    if let Some(output) = &write.returning {
        check_output(table, output)?;
    }
    state.check_tables(&tables(&write))?;
    let returning = write.returning;
    let mut work = Work::new(state);
    let touched = match write.op {
        WriteOp::Insert(insert) => work.insert(insert),
        WriteOp::Update(update) => work.update_where(update),
        WriteOp::UpdateRows(update) => work.update_rows(update),
        WriteOp::Delete(delete) => work.delete_where(delete),
    }?;
    work.check_references()?;
    work.state.settle()?;
    work.finish();
    let written = Written::rows(touched.len() as u64);
    let returned = returning.map(|output| returned(table, output, &touched));
    Ok((written, Returned(returned)))
}

fn returned(table: &'static Table, output: Output, touched: &[Stored]) -> (Names, Vec<Stored>) {
    let answer = touched.iter().map(|row| project(&output, row)).collect();
    (Names::of_write(table, output), answer)
}

fn tables(write: &Write) -> Vec<&'static Table> {
    let mut tables = vec![write.table()];
    match &write.op {
        WriteOp::Update(UpdateWhere { filter, .. })
        | WriteOp::Delete(DeleteWhere { filter, .. }) => {
            filter_tables(filter, &mut tables);
        }
        WriteOp::Insert(InsertRows {
            on_conflict: Some(conflict),
            ..
        }) => {
            if let ConflictAction::Update { filter, .. } = &conflict.action {
                filter_tables(filter, &mut tables);
            }
        }
        WriteOp::Insert(_) | WriteOp::UpdateRows(_) => {}
    }
    tables
}

/// Each answers the rows it touched: as they are now, or as they were before they were deleted.
impl<T: Target> Work<'_, T> {
    fn insert(&mut self, insert: InsertRows) -> Result<Vec<Stored>> {
        let table = insert.table;
        check_shape(table, &insert.columns, &insert.values)?;
        let conflict = insert
            .on_conflict
            .as_ref()
            .map(|on| Conflict::new(table, on))
            .transpose()?;
        let mut touched = Vec::with_capacity(insert.rows().len());
        for values in insert.rows() {
            let row = self.new_row(table, &insert.columns, values)?;
            touched.extend(self.insert_row(table, row, conflict.as_ref())?);
        }
        Ok(touched)
    }

    fn new_row(
        &mut self,
        table: &'static Table,
        columns: &[usize],
        values: &[Value],
    ) -> Result<Vec<Value>> {
        let mut row = vec![Value::Null; table.columns.len()];
        for (&at, value) in columns.iter().zip(values) {
            row[at] = value.clone();
        }
        if let (true, Some(key)) = (table.auto_key, table.single_key()) {
            match row[key] {
                Value::Null => {
                    let largest = largest_key(table.columns[key].kind);
                    row[key] = Value::Int(self.next_key(table, largest)?);
                }
                Value::Int(given) => self.see_key(table, given),
                _ => {} // refused below
            }
        }
        for (at, value) in row.iter().enumerate() {
            check_fits(table, at, value)?;
        }
        Ok(row)
    }

    /// Answers the row written, or `None` where a conflict was ignored.
    fn insert_row(
        &mut self,
        table: &'static Table,
        row: Vec<Value>,
        conflict: Option<&Conflict<'_>>,
    ) -> Result<Option<Stored>> {
        if let Some(conflict) = conflict {
            let taken = pick(conflict.target, &row);
            if let Some(key) = self.state.find(table, conflict.target, &taken).cloned() {
                return match conflict.action {
                    ConflictAction::Ignore => Ok(None),
                    _ if !self.may_change(table, &key, &row, conflict) => Ok(None),
                    ConflictAction::Update { columns, set, .. } => {
                        let taken = columns.iter().map(|&at| (at, row[at].clone()));
                        self.change(table, key, taken, set).map(Some)
                    }
                };
            }
        }
        self.refuse_duplicates(table, &row, None)?;
        let row = Stored::from(row);
        self.put(table, pick(table.key, &row), Some(Stored::clone(&row)));
        Ok(Some(row))
    }

    /// Whether the condition of an upsert is true for the old row with this key.
    fn may_change(
        &self,
        table: &'static Table,
        key: &Key,
        new: &[Value],
        conflict: &Conflict<'_>,
    ) -> bool {
        let (Some(condition), Some(old)) = (&conflict.condition, self.state.row(table, key)) else {
            return true;
        };
        condition.holds_over(old, new, &*self.state)
    }

    fn update_where(&mut self, update: UpdateWhere) -> Result<Vec<Stored>> {
        let table = update.table;
        check_set(table, &update.set)?;
        let keys = self.matching(table, update.filter)?;
        keys.into_iter()
            .map(|key| self.change(table, key, std::iter::empty(), &update.set))
            .collect()
    }

    fn update_rows(&mut self, update: UpdateRows) -> Result<Vec<Stored>> {
        let table = update.table;
        check_shape(table, &update.columns, &update.values)?;
        check_set(table, &update.set)?;
        let selecting = update
            .columns
            .get(..update.by)
            .ok_or_else(|| Error::misuse("the update selects rows by more columns than it has"))?;
        let key_at: Option<Vec<usize>> = (table.key.iter())
            .map(|column| selecting.iter().position(|selecting| selecting == column))
            .collect();
        let Some(key_at) = key_at else {
            return Err(
                Error::misuse("the rows to update are not selected by the whole key")
                    .with_table(table.name),
            );
        };
        let mut rows: Vec<(Key, &[Value])> = update
            .rows()
            .map(|values| (pick(&key_at, values), values))
            .collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut touched = Vec::with_capacity(rows.len());
        for (key, values) in rows {
            let (wanted, changes) = values.split_at(update.by);
            let found = self.state.row(table, &key).is_some_and(|row| {
                selecting
                    .iter()
                    .zip(wanted)
                    .all(|(&at, value)| !value.is_null() && row[at] == *value)
            });
            if found {
                let columns = update.columns[update.by..].iter().copied();
                let changes = columns.zip(changes.iter().cloned());
                touched.push(self.change(table, key, changes, &update.set)?);
            }
        }
        Ok(touched)
    }

    fn delete_where(&mut self, delete: DeleteWhere) -> Result<Vec<Stored>> {
        let table = delete.table;
        let keys = self.matching(table, delete.filter)?;
        let rows = keys
            .iter()
            .filter_map(|key| self.state.row(table, key).cloned())
            .collect();
        self.delete(table, keys)?;
        Ok(rows)
    }

    /// Changes one row that exists; answers it as it is then.
    fn change(
        &mut self,
        table: &'static Table,
        key: Key,
        values: impl Iterator<Item = (usize, Value)>,
        set: &[(usize, Assign)],
    ) -> Result<Stored> {
        let old = self
            .state
            .row(table, &key)
            .expect("the row was just found by this key");
        let mut row = old.to_vec();
        for (at, value) in values {
            check_fits(table, at, &value)?;
            row[at] = value;
        }
        assign(table, &mut row, set)?;
        let row = Stored::from(row);
        self.replace(table, key, Stored::clone(&row))?;
        Ok(row)
    }

    /// The keys of the rows that a filter takes, in order.
    fn matching(&self, table: &'static Table, filter: Filter) -> Result<Vec<Key>> {
        let condition = Condition::on_rows(filter, table)?;
        Ok((self.state.candidates(table, condition.filter()))
            .filter(|row| condition.holds(row, &*self.state))
            .map(|row| pick(table.key, row))
            .collect())
    }
}

/// What to do about a taken key, checked.
struct Conflict<'a> {
    target: &'static [usize],
    action: &'a ConflictAction,
    /// Which old rows are changed; all without one.
    condition: Option<Condition>,
}

impl<'a> Conflict<'a> {
    fn new(table: &'static Table, on: &'a OnConflict) -> Result<Self> {
        let same = |key: &&'static [usize]| {
            key.len() == on.target.len() && key.iter().all(|at| on.target.contains(at))
        };
        let Some(target) = table.unique_keys().find(same) else {
            return Err(
                Error::misuse("the target of the upsert is not a unique key")
                    .with_table(table.name),
            );
        };
        let mut condition = None;
        if let ConflictAction::Update {
            columns,
            set,
            filter,
        } = &on.action
        {
            columns.iter().try_for_each(|at| check_column(table, *at))?;
            check_set(table, set)?;
            if !matches!(filter, Filter::All) {
                condition = Some(Condition::on_rows(filter.clone(), table)?);
            }
        }
        Ok(Self {
            target,
            action: &on.action,
            condition,
        })
    }
}

fn check_shape(table: &'static Table, columns: &[usize], values: &[Value]) -> Result<()> {
    columns.iter().try_for_each(|at| check_column(table, *at))?;
    if values.len().is_multiple_of(columns.len().max(1)) {
        return Ok(());
    }
    Err(Error::misuse("the last row has fewer values than columns").with_table(table.name))
}

fn check_set(table: &'static Table, set: &[(usize, Assign)]) -> Result<()> {
    set.iter().try_for_each(|(at, _)| check_column(table, *at))
}

fn largest_key(kind: Kind) -> i64 {
    match kind {
        Kind::I16 => i64::from(i16::MAX),
        Kind::I32 => i64::from(i32::MAX),
        _ => i64::MAX,
    }
}
