//! From matching rows to the answer: order, projection, `distinct`, limits; then the way out.

use std::cmp::Ordering;
use std::collections::HashMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::condition::{Columns, Values, with_texts};
use super::{Linked, Stored};
use crate::error::{Error, Result};
use crate::rows::{Flow, Row, Rows};
use crate::schema::Table;
use crate::select::{Expr, Nulls, OrderBy, Output, Select};
use crate::value::{Kind, Value, ValueRef};

/// A row or a group on its way to the answer.
pub(super) trait Item: Values {
    /// The parent it belongs to.
    fn parent(&self) -> Option<&Value>;

    /// All columns of the table as they are stored, of a row.
    fn stored(&self) -> Option<&Stored>;
}

impl Values for Linked<'_> {
    fn value(&self, expr: Expr) -> &Value {
        // The checks have refused aggregates of plain rows.
        match expr {
            Expr::Column(at) => &self.row[at],
            Expr::Aggregate(..) | Expr::Rank => &Value::Null,
        }
    }
}

impl Item for Linked<'_> {
    fn parent(&self) -> Option<&Value> {
        self.parent
    }

    fn stored(&self) -> Option<&Stored> {
        Some(self.row)
    }
}

/// Orders, projects and cuts.
pub(super) fn finish<I: Item>(select: &Select, mut items: Vec<I>) -> Vec<Stored> {
    if let Some((index, query)) = select.ranked() {
        let rank = |item: I| (with_texts(index, &item, |texts| query.rank(texts)), item);
        let mut ranked: Vec<(f64, I)> = items.into_iter().map(rank).collect();
        ranked.sort_by(|a, b| compare(&select.order, (a.0, &a.1), (b.0, &b.1)));
        items = ranked.into_iter().map(|(_, item)| item).collect();
    } else if !select.order.is_empty() {
        items.sort_by(|a, b| compare(&select.order, (0.0, a), (0.0, b)));
    }
    let mut seen = FxHashSet::default();
    let mut children: FxHashMap<Value, u64> = HashMap::default();
    let limit = select.link.as_ref().and_then(|link| link.limit);
    items
        .iter()
        .filter_map(|item| {
            let row = output(select, item);
            if select.distinct && !seen.insert(Stored::clone(&row)) {
                return None;
            }
            if let (Some(limit), Some(parent)) = (limit, item.parent()) {
                let count = children.entry(parent.clone()).or_default();
                *count += 1;
                if *count > limit {
                    return None;
                }
            }
            Some(row)
        })
        .skip(usize::try_from(select.offset).unwrap_or(usize::MAX))
        .take(select.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        }))
        .collect()
}

/// Compares two items, each with its rank.
fn compare(order: &[OrderBy], a: (f64, &dyn Values), b: (f64, &dyn Values)) -> Ordering {
    order
        .iter()
        .map(|step| match step.expr {
            Expr::Rank if step.descending => b.0.total_cmp(&a.0),
            Expr::Rank => a.0.total_cmp(&b.0),
            expr => compare_step(*step, a.1.value(expr), b.1.value(expr)),
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn compare_step(step: OrderBy, a: &Value, b: &Value) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if step.nulls == Nulls::First => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) => compare_step(step, b, a).reverse(),
        (false, false) if step.descending => b.cmp(a),
        (false, false) => a.cmp(b),
    }
}

fn output(select: &Select, item: &dyn Item) -> Stored {
    if let (Output::Entity, None, Some(row)) = (&select.output, item.parent(), item.stored()) {
        return Stored::clone(row);
    }
    let parent = item.parent().cloned();
    let own = (0..)
        .map_while(|at| select.expr(at))
        .map(|expr| item.value(expr).clone());
    parent.into_iter().chain(own).collect()
}

/// The columns of a stored row that an output without aggregates names.
pub fn project(output: &Output, row: &Stored) -> Stored {
    match output {
        Output::Entity => Stored::clone(row),
        Output::Exprs(exprs) => exprs
            .iter()
            .map(|expr| Columns(row).value(*expr).clone())
            .collect(),
    }
}

/// What the positions of an output are called in error messages.
#[derive(Clone, Debug)]
pub struct Names {
    table: &'static Table,
    output: Output,
    linked: bool,
}

impl Names {
    /// The names for the answer to a read.
    pub fn of_select(select: &Select) -> Self {
        Self {
            table: select.table,
            output: select.output.clone(),
            linked: select.link.is_some(),
        }
    }

    /// The names for what a write returns.
    pub fn of_write(table: &'static Table, output: Output) -> Self {
        Self {
            table,
            output,
            linked: false,
        }
    }

    fn name(&self, at: usize) -> String {
        let Some(at) = at.checked_sub(usize::from(self.linked)) else {
            return "the parent's value".to_owned();
        };
        let expr = match &self.output {
            Output::Entity => Some(Expr::Column(at)),
            Output::Exprs(exprs) => exprs.get(at).copied(),
        };
        let column = |at: usize| self.table.columns.get(at).map_or("?", |column| column.name);
        match expr {
            Some(Expr::Column(at)) => column(at).to_owned(),
            Some(Expr::Rank) => "the rank".to_owned(),
            Some(Expr::Aggregate(function, None)) => format!("{function:?}").to_lowercase(),
            Some(Expr::Aggregate(function, Some(at))) => {
                format!("{function:?}({})", column(at)).to_lowercase()
            }
            None => format!("output {at}"),
        }
    }
}

struct NamedRow<'a> {
    names: &'a Names,
    values: &'a [Value],
}

impl Row for NamedRow<'_> {
    fn value(&self, at: usize, _: Kind) -> Result<ValueRef<'_>> {
        match self.values.get(at) {
            Some(value) => Ok(value.as_ref()),
            None => Err(Error::misuse(format!("the row has no position {at}"))),
        }
    }

    fn name(&self, at: usize) -> String {
        self.names.name(at)
    }
}

/// Hands the answer to the receiver, at its pace. Says whether it wants more.
pub async fn deliver(names: Names, answer: Vec<Stored>, rows: &mut Rows) -> Result<Flow> {
    for values in &answer {
        let flow = match rows.row(&NamedRow {
            names: &names,
            values,
        })? {
            Flow::Full => rows.flush().await,
            flow => flow,
        };
        if flow == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::More)
}
