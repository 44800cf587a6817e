//! Reads a result to its end before anybody takes a row of it.
//!
//! Without a write-ahead log an open read keeps everybody from writing. So a stream, whose taker
//! may take any time, does not hold one open there: all of its rows are kept in memory, which is
//! bounded by the result alone.

use larder_core::rows::Sink;
use larder_core::value::{Kind, Value, ValueRef};
use larder_core::{Error, Flow, Result, Row, Rows, Select};

/// The rows of a read, in order.
#[derive(Debug)]
pub(crate) struct Kept {
    kinds: Vec<Kind>,
    names: Vec<String>,
    values: Vec<Value>,
    count: usize,
}

impl Kept {
    /// A place for the rows of this read.
    pub(crate) fn of(select: &Select) -> Self {
        let parent = select.link.as_ref().map(|link| link.kind(select.table));
        let own = (0..).map_while(|at| select.expr(at));
        let own = own.map(|expr| expr.kind(select.table));
        Self {
            kinds: parent.into_iter().chain(own).collect(),
            names: Vec::new(),
            values: Vec::new(),
            count: 0,
        }
    }

    /// Shows the rows, as fast as they are taken.
    pub(crate) async fn show(self, rows: &mut Rows) -> Result<()> {
        let width = self.kinds.len();
        for nth in 0..self.count {
            let row = KeptRow {
                names: &self.names,
                values: &self.values[nth * width..][..width],
            };
            let flow = match rows.row(&row)? {
                Flow::Full => rows.flush().await,
                flow => flow,
            };
            if flow == Flow::Stop {
                break;
            }
        }
        Ok(())
    }
}

impl Sink for Kept {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        if self.names.is_empty() {
            self.names = (0..self.kinds.len()).map(|at| row.name(at)).collect();
        }
        for (at, &kind) in self.kinds.iter().enumerate() {
            let value = row.value(at, kind).map_err(|error| {
                if error.columns().next().is_none() {
                    error.with_column(row.name(at))
                } else {
                    error
                }
            })?;
            self.values.push(value.to_value());
        }
        self.count += 1;
        Ok(Flow::More)
    }

    fn restart(&mut self) -> bool {
        self.values.clear();
        self.count = 0;
        true
    }
}

struct KeptRow<'a> {
    names: &'a [String],
    values: &'a [Value],
}

impl Row for KeptRow<'_> {
    fn value(&self, at: usize, _: Kind) -> Result<ValueRef<'_>> {
        match self.values.get(at) {
            Some(value) => Ok(value.as_ref()),
            None => Err(Error::misuse(format!("the row has no position {at}"))),
        }
    }

    fn name(&self, at: usize) -> String {
        let name = self.names.get(at);
        name.map_or_else(|| format!("output {at}"), Clone::clone)
    }
}
