//! Random writes. What depends on the order in which a store takes rows is left out: the contract
//! does not say.

use fastrand::Rng;
use larder_core::write::{
    ConflictAction, DeleteWhere, InsertRows, OnConflict, UpdateRows, UpdateWhere, WriteOp,
};
use larder_core::{Assign, Comparison, Expr, Filter, Kind, Output, Table, Value, Write};

use crate::compare::Dump;
use crate::filters::{filter, leaf};
use crate::reads::parts;
use crate::tables::Schema;
use crate::values;

/// Any write to any table.
pub(crate) fn write(rng: &mut Rng, schema: &Schema, state: &Dump) -> Write {
    let at = rng.usize(..schema.tables().len());
    let random = Random {
        schema,
        table: schema.tables()[at],
        state,
    };
    let mut write = Write::new(match rng.u8(..20) {
        0..11 => WriteOp::Insert(random.insert(rng)),
        11..14 => WriteOp::Update(random.update(rng)),
        14..17 => WriteOp::UpdateRows(random.update_rows(rng)),
        _ => WriteOp::Delete(random.delete(rng)),
    });
    write.returning = match rng.u8(..5) {
        0 | 1 => Some(Output::Entity),
        2 => {
            let columns = rng.choose_multiple(0..random.table.columns.len(), 2);
            Some(Output::Exprs(
                columns.into_iter().map(Expr::Column).collect(),
            ))
        }
        _ => None,
    };
    write
}

struct Random<'a> {
    schema: &'a Schema,
    table: &'static Table,
    state: &'a Dump,
}

impl Random<'_> {
    fn insert(&self, rng: &mut Rng) -> InsertRows {
        let table = self.table;
        let columns: Vec<usize> = (0..table.columns.len())
            .filter(|&at| {
                match (
                    table.auto_key && table.key == [at],
                    table.columns[at].nullable,
                ) {
                    (true, _) => rng.u8(..10) < 3,
                    (false, true) => rng.u8(..10) < 8,
                    (false, false) => true,
                }
            })
            .collect();
        let columns = if columns.is_empty() {
            vec![table.columns.len() - 1]
        } else {
            columns
        };
        let rows = match rng.u8(..20) {
            0 => rng.usize(100..240),
            1..9 => rng.usize(2..8),
            _ => 1,
        };
        let mut values = Vec::with_capacity(rows * columns.len());
        for _ in 0..rows {
            for &at in &columns {
                values.push(self.value(rng, at));
            }
        }
        let on_conflict = (rng.u8(..10) < 4).then(|| self.on_conflict(rng, &columns));
        InsertRows {
            table,
            columns,
            values,
            on_conflict,
        }
    }

    fn on_conflict(&self, rng: &mut Rng, columns: &[usize]) -> OnConflict {
        let keys: Vec<&[usize]> = self.table.unique_keys().collect();
        let target = keys[rng.usize(..keys.len())].to_vec();
        if rng.bool() {
            return OnConflict {
                target,
                action: ConflictAction::Ignore,
            };
        }
        // A key that moves would leave its children behind or not, by the order of the rows.
        let free: Vec<usize> = columns
            .iter()
            .copied()
            .filter(|at| !self.table.key.contains(at))
            .collect();
        let taken = rng.choose_multiple(free, 2);
        let set = self.assignments(rng, &taken, true);
        OnConflict {
            target,
            action: ConflictAction::Update {
                columns: taken,
                set,
                filter: self.condition(rng, columns),
            },
        }
    }

    /// Which old rows an upsert of these columns changes.
    fn condition(&self, rng: &mut Rng, columns: &[usize]) -> Filter {
        let kind = |at: &usize| self.table.columns[*at].kind;
        let column = rng.choice(columns).filter(|at| kind(at) != Kind::Json);
        let op = rng.choice([Comparison::Lt, Comparison::Gt, Comparison::Ne]);
        match (column, op) {
            (Some(&column), Some(op)) if rng.bool() => {
                let new = Filter::CompareNew { column, op };
                match rng.u8(..4) {
                    0 => new.or(leaf(rng, self.table)),
                    1 => Filter::Not(Box::new(new.and(leaf(rng, self.table)))),
                    _ => new,
                }
            }
            _ => Filter::All,
        }
    }

    /// Up to one change of a column that is not among those.
    fn assignments(&self, rng: &mut Rng, but: &[usize], may_add: bool) -> Vec<(usize, Assign)> {
        let free: Vec<usize> = (0..self.table.columns.len())
            .filter(|at| !but.contains(at) && !self.is_unique(*at))
            .collect();
        let one = rng.choice(free).filter(|_| rng.bool());
        one.map(|at| (at, self.assign(rng, at, may_add)))
            .into_iter()
            .collect()
    }

    fn assign(&self, rng: &mut Rng, at: usize, may_add: bool) -> Assign {
        let kind = self.table.columns[at].kind;
        let number = kind.is_integer() || matches!(kind, Kind::F32 | Kind::F64 | Kind::Decimal);
        let refers = self.table.columns[at].references.is_some();
        if number && may_add && !refers && !self.is_unique(at) && rng.u8(..3) < 2 {
            Assign::Add(values::value(rng, kind))
        } else {
            Assign::Set(self.value(rng, at))
        }
    }

    fn is_unique(&self, at: usize) -> bool {
        self.table.unique_keys().any(|key| key.contains(&at))
    }

    /// A value for the column; of a reference mostly one that exists.
    fn value(&self, rng: &mut Rng, at: usize) -> Value {
        let column = &self.table.columns[at];
        let nulls = match (column.nullable, self.table.key) {
            (true, _) => 25,
            // SQLite makes an integer key where the application brings none; the types of models
            // leave no way to bring none.
            (false, key) if key == [at] => 0,
            (false, _) => 1,
        };
        if rng.u8(..100) < nulls {
            return Value::Null;
        }
        if let Some(reference) = &column.references {
            let parent = (reference.table)();
            let known = self.state.rows(parent);
            if let (Some(key), true) = (parent.single_key(), rng.u8(..10) < 9)
                && let Some(row) = rng.choice(known)
            {
                return row[key].clone();
            }
        }
        let value = if self.is_unique(at) && rng.u8(..10) < 7 {
            values::fresh(rng, column.kind)
        } else {
            values::value(rng, column.kind)
        };
        // After the largest key comes none. A full table ends SQLite's transaction as a full disk
        // does, but not the memory store's.
        if self.table.auto_key && self.table.key == [at] && value == Value::Int(i64::MAX) {
            return Value::Int(1);
        }
        value
    }

    /// Rows of the table, few of them.
    fn rows(&self, rng: &mut Rng) -> Filter {
        let known = self.state.rows(self.table);
        if rng.u8(..10) < 3 || known.is_empty() {
            return filter(rng, self.schema, self.table, 2);
        }
        let row = &known[rng.usize(..known.len())];
        let key = self.table.key.iter().map(|&at| Filter::Compare {
            left: Expr::Column(at),
            op: if rng.u8(..4) == 0 {
                Comparison::Le
            } else {
                Comparison::Eq
            },
            value: row[at].clone(),
        });
        let key = Filter::And(key.collect());
        if rng.bool() {
            key
        } else {
            key.and(filter(rng, self.schema, self.table, 2))
        }
    }

    fn update(&self, rng: &mut Rng) -> UpdateWhere {
        let table = self.table;
        if let (false, Some(key), 0) = (table.auto_key, table.single_key(), rng.u8(..8))
            && let Some(row) = rng.choice(self.state.rows(table))
        {
            let left = Expr::Column(key);
            let filter = Filter::Compare {
                left,
                op: Comparison::Eq,
                value: row[key].clone(),
            };
            return UpdateWhere {
                table,
                set: vec![(key, Assign::Set(self.value(rng, key)))],
                filter,
            };
        }
        let free: Vec<usize> = (0..table.columns.len())
            .filter(|at| !table.key.contains(at))
            .collect();
        let many = rng.usize(1..=2);
        let columns = rng.choose_multiple(free, many);
        let set = columns
            .into_iter()
            .map(|at| (at, self.assign(rng, at, true)))
            .collect();
        UpdateWhere {
            table,
            set,
            filter: self.rows(rng),
        }
    }

    fn update_rows(&self, rng: &mut Rng) -> UpdateRows {
        let table = self.table;
        let free: Vec<usize> = (0..table.columns.len())
            .filter(|at| !table.key.contains(at))
            .collect();
        let many = rng.usize(1..=2);
        let changed = rng.choose_multiple(free, many);
        let known = self.state.rows(table);
        let most = rng.usize(1..6);
        let mut keys: Vec<Vec<Value>> = rng
            .choose_multiple(known.iter(), most)
            .into_iter()
            .map(|row| table.key.iter().map(|&at| row[at].clone()).collect())
            .collect();
        keys.push(
            table
                .key
                .iter()
                .map(|&at| values::fresh(rng, table.columns[at].kind))
                .collect(),
        );
        if changed.iter().any(|&at| self.is_unique(at)) {
            keys.sort_unstable();
        }
        keys.dedup();
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        let mut values = Vec::new();
        for key in keys {
            values.extend(key);
            values.extend(changed.iter().map(|&at| self.value(rng, at)));
        }
        let mut all = table.key.to_vec();
        all.extend(&changed);
        let set = self.assignments(rng, &all, true);
        UpdateRows {
            table,
            by: table.key.len(),
            columns: all,
            values,
            set,
        }
    }

    fn delete(&self, rng: &mut Rng) -> DeleteWhere {
        DeleteWhere {
            table: self.table,
            filter: self.rows(rng),
        }
    }
}

/// The same write with fewer rows, or with less of a filter.
pub(crate) fn simpler(write: &Write) -> Vec<Write> {
    let with = |op: WriteOp| {
        let mut simple = write.clone();
        simple.op = op;
        simple
    };
    match &write.op {
        WriteOp::Insert(insert) => fewer(&insert.values, insert.columns.len())
            .into_iter()
            .map(|values| {
                with(WriteOp::Insert(InsertRows {
                    values,
                    ..insert.clone()
                }))
            })
            .collect(),
        WriteOp::UpdateRows(update) => fewer(&update.values, update.columns.len())
            .into_iter()
            .map(|values| {
                with(WriteOp::UpdateRows(UpdateRows {
                    values,
                    ..update.clone()
                }))
            })
            .collect(),
        WriteOp::Update(update) => parts(&update.filter)
            .into_iter()
            .map(|filter| {
                with(WriteOp::Update(UpdateWhere {
                    filter,
                    ..update.clone()
                }))
            })
            .collect(),
        WriteOp::Delete(delete) => parts(&delete.filter)
            .into_iter()
            .map(|filter| {
                with(WriteOp::Delete(DeleteWhere {
                    filter,
                    ..delete.clone()
                }))
            })
            .collect(),
    }
}

/// Half of the rows, or all but one of a few.
fn fewer(values: &[Value], width: usize) -> Vec<Vec<Value>> {
    let rows = values.len() / width;
    let half = rows / 2 * width;
    let mut some = Vec::new();
    if rows > 1 {
        some.push(values[..half].to_vec());
        some.push(values[half..].to_vec());
    }
    if (2..=16).contains(&rows) {
        some.extend((0..rows).map(|at| {
            let mut rest = values.to_vec();
            rest.drain(at * width..(at + 1) * width);
            rest
        }));
    }
    some
}
