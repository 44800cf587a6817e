//! [`WholeRows`]: rows of a table kept as values.

use super::Stored;
use crate::error::Result;
use crate::rows::{Flow, Row, Sink};
use crate::schema::Table;
use crate::value::Kind;

/// Keeps whole rows as values: a receiver for [`Output::Entity`](crate::Output::Entity).
pub(crate) struct WholeRows {
    kinds: Vec<Kind>,
    pub(crate) rows: Vec<Stored>,
}

impl WholeRows {
    pub(crate) fn of(table: &Table) -> Self {
        Self {
            kinds: table.columns.iter().map(|column| column.kind).collect(),
            rows: Vec::new(),
        }
    }
}

impl Sink for WholeRows {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        let values = self.kinds.iter().enumerate();
        let values = values.map(|(at, &kind)| Ok(row.value(at, kind)?.to_value()));
        self.rows.push(values.collect::<Result<_>>()?);
        Ok(Flow::More)
    }

    fn restart(&mut self) -> bool {
        self.rows.clear();
        true
    }
}
