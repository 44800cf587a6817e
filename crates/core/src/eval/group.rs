//! Groups of rows and their aggregates.

use std::collections::BTreeMap;

use super::aggregate::Accumulator;
use super::condition::{self, Condition, Values};
use super::output::Item;
use super::{Linked, Source, Stored, check_column};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::select::{Expr, LinkPath, Output, Select};
use crate::value::Value;

/// One group: its parent, and the values of the expressions that the read asks for.
pub(super) struct Group<'a> {
    exprs: &'a [Expr],
    values: Vec<Value>,
    parent: Option<Value>,
}

impl Values for Group<'_> {
    fn value(&self, expr: Expr) -> &Value {
        // The checks have made sure that every expression asked for is there.
        let at = self.exprs.iter().position(|one| *one == expr);
        at.map_or(&Value::Null, |at| &self.values[at])
    }
}

impl Item for Group<'_> {
    fn parent(&self) -> Option<&Value> {
        self.parent.as_ref()
    }

    fn stored(&self) -> Option<&Stored> {
        None
    }
}

/// What a read groups by, and the aggregates it needs of each group.
pub(super) struct Grouping {
    table: &'static Table,
    /// The group columns, then the aggregates.
    exprs: Vec<Expr>,
    columns: usize,
    having: Condition,
    /// Without groups there is one row even if no row matches.
    whole: bool,
}

impl Grouping {
    pub(super) fn new(select: &Select) -> Result<Self> {
        let table = select.table;
        let mut exprs: Vec<Expr> = select.group_by.iter().map(|&at| Expr::Column(at)).collect();
        if let Some(LinkPath::Column(at)) = select.link.as_ref().map(|link| link.path) {
            exprs.push(Expr::Column(at)); // the parent value, which is grouped by anyway
        }
        let columns = exprs.len();
        collect_aggregates(select, &mut exprs);
        for expr in &exprs {
            check_expr(table, *expr)?;
        }
        let allow = |expr: Expr| {
            if exprs.contains(&expr) {
                Ok(())
            } else {
                Err(not_grouped(table, expr))
            }
        };
        for expr in (0..).map_while(|at| select.expr(at)) {
            allow(expr)?;
        }
        for step in &select.order {
            allow(step.expr)?;
        }
        let having = Condition::on_groups(select.having.clone(), table, &allow)?;
        let whole = select.group_by.is_empty() && select.link.is_none();
        Ok(Self {
            table,
            exprs,
            columns,
            having,
            whole,
        })
    }

    /// The groups that satisfy `having`, in the order of what they are grouped by.
    pub(super) fn groups(
        &self,
        rows: Vec<Linked<'_>>,
        source: &dyn Source,
    ) -> Result<Vec<Group<'_>>> {
        let mut groups: BTreeMap<(Option<&Value>, Vec<Value>), Vec<Accumulator>> = BTreeMap::new();
        if self.whole {
            groups.insert((None, Vec::new()), self.accumulators()?);
        }
        for Linked { parent, row } in rows {
            let key = self.columns().map(|at| row[at].clone()).collect();
            let group = match groups.entry((parent, key)) {
                std::collections::btree_map::Entry::Occupied(group) => group.into_mut(),
                std::collections::btree_map::Entry::Vacant(slot) => {
                    slot.insert(self.accumulators()?)
                }
            };
            group
                .iter_mut()
                .try_for_each(|aggregate| aggregate.add(row))?;
        }
        let mut answer = Vec::with_capacity(groups.len());
        for ((parent, mut values), aggregates) in groups {
            for aggregate in aggregates {
                values.push(aggregate.finish()?);
            }
            answer.push(Group {
                exprs: &self.exprs,
                values,
                parent: parent.cloned(),
            });
        }
        answer.retain(|group| self.having.holds_for(group, source));
        Ok(answer)
    }

    fn columns(&self) -> impl Iterator<Item = usize> {
        self.exprs[..self.columns]
            .iter()
            .filter_map(|expr| match expr {
                Expr::Column(at) => Some(*at),
                Expr::Aggregate(..) | Expr::Rank => None,
            })
    }

    fn accumulators(&self) -> Result<Vec<Accumulator>> {
        let aggregates = self.exprs[self.columns..].iter();
        aggregates
            .filter_map(|expr| match expr {
                Expr::Column(_) | Expr::Rank => None,
                Expr::Aggregate(function, at) => Some(Accumulator::new(self.table, *function, *at)),
            })
            .collect()
    }
}

fn collect_aggregates(select: &Select, exprs: &mut Vec<Expr>) {
    let output = match &select.output {
        Output::Entity => &[],
        Output::Exprs(exprs) => exprs.as_slice(),
    };
    for expr in output
        .iter()
        .copied()
        .chain(select.order.iter().map(|step| step.expr))
    {
        if matches!(expr, Expr::Aggregate(..)) && !exprs.contains(&expr) {
            exprs.push(expr);
        }
    }
    condition::aggregates(&select.having, exprs);
}

fn check_expr(table: &'static Table, expr: Expr) -> Result<()> {
    match expr {
        Expr::Column(at) | Expr::Aggregate(_, Some(at)) => check_column(table, at)?,
        Expr::Aggregate(_, None) | Expr::Rank => {}
    }
    if let Expr::Aggregate(function, at) = expr {
        Accumulator::new(table, function, at)?; // refuses what does not apply, rows or none
    }
    Ok(())
}

fn not_grouped(table: &'static Table, expr: Expr) -> Error {
    let error = Error::misuse("a read that aggregates can only bring what it groups by");
    match expr {
        Expr::Column(at) if at < table.columns.len() => {
            error.or_column(table.name, table.columns[at].name)
        }
        _ => error.with_table(table.name),
    }
}
