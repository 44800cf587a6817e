//! What engines may answer differently, and why.
//!
//! Two more are PostgreSQL's whatever the operation: keys that a failed or undone write took are
//! not given again ([`keys`](crate::keys) takes them back), and JSON keeps its meaning, not its
//! spelling ([`Side::by_meaning`](crate::compare::Side::by_meaning)).

use larder_core::write::WriteOp;
use larder_core::{Aggregate, ErrorKind, Expr, OnDelete, Output, Select, Table};

use crate::compare::Answer;
use crate::engines::POSTGRES;
use crate::operations::Op;
use crate::tables::Schema;

/// A difference that is documented.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Difference {
    /// PostgreSQL adds up in numbers without a bound, and looks at the total alone; the memory
    /// store refuses a sum that is too large on the way.
    LargeSum,
    /// PostgreSQL looks for a value taken already row by row, so that rows which pass values along
    /// among them depend on their order; the memory store looks at the end.
    PassedAlong,
    /// PostgreSQL looks for rows that still refer to a deleted one before all cascades of the
    /// statement are done, where a row is held by one reference and would go with another; the
    /// memory store looks at the end.
    HeldEarly,
}

/// Whether an operation that changes something may be answered differently by the store.
pub(crate) fn may_change(store: &str, schema: &Schema, op: &Op) -> bool {
    store == POSTGRES && (passes_along(op) || is_held(schema, op))
}

/// The difference between these answers, if it is one of those.
pub(crate) fn known(
    store: &str,
    schema: &Schema,
    op: &Op,
    expected: &Answer,
    found: &Answer,
) -> Option<Difference> {
    if store != POSTGRES {
        return None;
    }
    match (op, expected, found) {
        (Op::Read(select), Answer::Failed { .. }, Answer::Rows(_)) if adds_up(select) => {
            Some(Difference::LargeSum)
        }
        (op, _, found) if passes_along(op) && fails(found, ErrorKind::Unique) => {
            Some(Difference::PassedAlong)
        }
        (op, Answer::Written(..), found)
            if is_held(schema, op) && fails(found, ErrorKind::Reference) =>
        {
            Some(Difference::HeldEarly)
        }
        _ => None,
    }
}

fn fails(answer: &Answer, how: ErrorKind) -> bool {
    matches!(answer, Answer::Failed { kind, .. } if *kind == how)
}

/// Whether the operation deletes rows where one reference holds and another cascades.
fn is_held(schema: &Schema, op: &Op) -> bool {
    let has = |rule: OnDelete| {
        let mut columns = schema.tables().iter().flat_map(|table| table.columns);
        columns.any(|column| matches!(&column.references, Some(to) if to.on_delete == rule))
    };
    matches!(op, Op::Write(write) if matches!(write.op, WriteOp::Delete(_)))
        && has(OnDelete::Restrict)
        && has(OnDelete::Cascade)
}

fn adds_up(select: &Select) -> bool {
    matches!(&select.output, Output::Exprs(exprs) if exprs.iter().any(is_sum))
}

fn is_sum(expr: &Expr) -> bool {
    matches!(expr, Expr::Aggregate(Aggregate::Sum | Aggregate::Avg, _))
}

/// Whether the operation changes unique values of several rows.
fn passes_along(op: &Op) -> bool {
    let Op::Write(write) = op else {
        return false;
    };
    let is_unique = |table: &Table, at: usize| table.unique_keys().any(|key| key.contains(&at));
    match &write.op {
        WriteOp::Update(update) => (update.set.iter()).any(|(at, _)| is_unique(update.table, *at)),
        WriteOp::UpdateRows(update) => {
            let changed = update.columns.iter().skip(update.by);
            changed.copied().any(|at| is_unique(update.table, at))
        }
        _ => false,
    }
}
