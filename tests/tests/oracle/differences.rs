//! What engines may answer differently, and why.
//!
//! Two more are PostgreSQL's whatever the operation: keys that a failed or undone write took are
//! not given again ([`keys`](crate::keys) takes them back), and JSON keeps its meaning, not its
//! spelling ([`Side::by_meaning`](crate::compare::Side::by_meaning)).

use larder_core::write::WriteOp;
use larder_core::{Aggregate, ErrorKind, Expr, Output, Select, Table};

use crate::compare::Answer;
use crate::engines::POSTGRES;
use crate::operations::Op;

/// A difference that is documented.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Difference {
    /// PostgreSQL adds up in numbers without a bound, and looks at the total alone; the memory
    /// store refuses a sum that is too large on the way.
    LargeSum,
    /// PostgreSQL looks for a value taken already row by row, so that rows which pass values along
    /// among them depend on their order; the memory store looks at the end.
    PassedAlong,
}

/// Whether an operation that changes something may be answered differently by the store.
pub(crate) fn may_change(store: &str, op: &Op) -> bool {
    store == POSTGRES && passes_along(op)
}

/// The difference between these answers, if it is one of those.
pub(crate) fn known(store: &str, op: &Op, expected: &Answer, found: &Answer) -> Option<Difference> {
    if store != POSTGRES {
        return None;
    }
    match (op, expected, found) {
        (Op::Read(select), Answer::Failed { .. }, Answer::Rows(_)) if adds_up(select) => {
            Some(Difference::LargeSum)
        }
        (op, _, found) if passes_along(op) && is_unique(found) => Some(Difference::PassedAlong),
        _ => None,
    }
}

fn is_unique(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed { kind, .. } if *kind == ErrorKind::Unique)
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
