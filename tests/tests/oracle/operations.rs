//! [`Op`]: one step of a case.

use std::fmt;

use fastrand::Rng;
use larder_core::write::WriteOp;
use larder_core::{Select, Write};
use larder_sql::{
    Dialect, Param, chunks, render_select, render_write, select_params, write_params,
};

use crate::compare::Dump;
use crate::tables::Schema;
use crate::{reads, writes};

/// How deep transactions are nested at most.
const DEPTH_MAX: usize = 3;

/// What is done to all stores.
#[derive(Clone)]
pub(crate) enum Op {
    Read(Select),
    Write(Write),
    Begin,
    Commit,
    Rollback,
    /// Drops the transaction without an end.
    Abandon,
}

impl Op {
    /// Something that can be done to these tables, so deep in transactions.
    pub(crate) fn random(rng: &mut Rng, schema: &Schema, state: &Dump, depth: usize) -> Self {
        match rng.u8(..100) {
            0..3 if depth < DEPTH_MAX => Self::Begin,
            3..7 if depth > 0 => Self::Commit,
            7..11 if depth > 0 => Self::Rollback,
            11..13 if depth > 0 => Self::Abandon,
            13..50 => Self::Read(reads::select(rng, schema)),
            _ => Self::Write(writes::write(rng, schema, state)),
        }
    }

    /// Ways to say less, for reports.
    pub(crate) fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Write(write) => writes::simpler(write)
                .into_iter()
                .map(Self::Write)
                .collect(),
            Self::Read(select) => reads::simpler(select).into_iter().map(Self::Read).collect(),
            _ => Vec::new(),
        }
    }
}

/// As SQL with its parameters.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("BEGIN"),
            Self::Commit => f.write_str("COMMIT"),
            Self::Rollback => f.write_str("ROLLBACK"),
            Self::Abandon => f.write_str("ROLLBACK -- dropped"),
            Self::Read(select) => {
                let mut params = Vec::new();
                let sql = render_select(Dialect::Sqlite, select).sql;
                match select_params(Dialect::Sqlite, select, &mut |param| {
                    show(&mut params, &param)
                }) {
                    Ok(()) => write!(f, "{sql} -- {}", params.join(", ")),
                    Err(error) => Err(error),
                }
            }
            Self::Write(write) => {
                for rows in chunks(Dialect::Sqlite, write) {
                    let mut params = Vec::new();
                    let sql = render_write(Dialect::Sqlite, write, rows.len()).sql;
                    write_params(Dialect::Sqlite, write, rows, &mut |param| {
                        show(&mut params, &param)
                    })?;
                    let several = matches!(&write.op, WriteOp::UpdateRows(_) | WriteOp::Insert(_));
                    let open = if several { "  + " } else { "" };
                    writeln!(f, "{open}{sql} -- {}", params.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the parameters are shown to functions that may fail"
)]
fn show(params: &mut Vec<String>, param: &Param<'_>) -> fmt::Result {
    params.push(match param {
        Param::Value(value, _) => format!("{value:?}"),
        Param::List(values, _) => format!("{values:?}"),
        Param::Number(number) => number.to_string(),
        other => format!("{other:?}"),
    });
    Ok(())
}
