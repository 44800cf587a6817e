//! Reads and writes in words, for events, reports and cursors: `posts where author_id = ? order
//! by created_at desc limit ?`. Not SQL; the same on every engine.

use std::fmt::Write as _;

use crate::column::Assign;
use crate::filter::{Comparison, Filter, TextMatch};
use crate::schema::Table;
use crate::select::{Expr, LinkPath, Nulls, OrderBy, Output, Select};
use crate::value::{Value, ValueRef};
use crate::write::{ConflictAction, Write, WriteOp};

/// Whether values appear in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// As `?`, so that equal shapes read the same.
    Hidden,
    /// As they are; may hold personal data.
    Shown,
}

/// The read in words.
pub(crate) fn select(select: &Select, values: Values) -> String {
    let mut text = Text {
        out: String::with_capacity(96),
        values,
    };
    text.select(select);
    text.out
}

/// The write in words.
pub(crate) fn write(write: &Write, values: Values) -> String {
    let mut text = Text {
        out: String::with_capacity(96),
        values,
    };
    text.write(write);
    text.out
}

struct Text {
    out: String,
    values: Values,
}

impl Text {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn select(&mut self, select: &Select) {
        self.push("select ");
        if select.distinct {
            self.push("distinct ");
        }
        if let Output::Exprs(exprs) = &select.output {
            self.list(exprs, |text, expr| text.expr(select.table, *expr));
            self.push(" from ");
        }
        self.push(select.table.name);
        if let Some(link) = &select.link {
            match link.path {
                LinkPath::Column(at) => {
                    let _ = write!(self.out, " of {}", select.table.columns[at].name);
                }
                LinkPath::Through { table, parent, .. } => {
                    let _ = write!(
                        self.out,
                        " through {}.{}",
                        table.name, table.columns[parent].name
                    );
                }
            }
            if link.limit.is_some() {
                self.push(" limit ? each");
            }
        }
        self.where_clause(" where ", select.table, &select.filter);
        if !select.group_by.is_empty() {
            self.push(" group by ");
            self.list(&select.group_by, |text, &at| {
                text.push(select.table.columns[at].name);
            });
        }
        self.where_clause(" having ", select.table, &select.having);
        if !select.order.is_empty() {
            self.push(" order by ");
            self.list(&select.order, |text, by| text.order(select.table, by));
        }
        if select.limit.is_some() {
            self.push(" limit ?");
        }
        if select.offset > 0 {
            self.push(" offset ?");
        }
    }

    fn write(&mut self, write: &Write) {
        match &write.op {
            WriteOp::Insert(insert) => {
                let rows = if insert.rows().len() == 1 {
                    "row"
                } else {
                    "rows"
                };
                let _ = write!(self.out, "insert {rows} into {}", insert.table.name);
                match insert.on_conflict.as_ref().map(|conflict| &conflict.action) {
                    Some(ConflictAction::Ignore) => self.push(" or ignore"),
                    Some(ConflictAction::Update { .. }) => self.push(" or update"),
                    None => {}
                }
            }
            WriteOp::Update(update) => {
                let _ = write!(self.out, "update {} set ", update.table.name);
                self.list(&update.set, |text, change| {
                    text.assign(update.table, change);
                });
                self.where_clause(" where ", update.table, &update.filter);
            }
            WriteOp::UpdateRows(update) => {
                let _ = write!(self.out, "update rows of {} by key", update.table.name);
            }
            WriteOp::Delete(delete) => {
                let _ = write!(self.out, "delete from {}", delete.table.name);
                self.where_clause(" where ", delete.table, &delete.filter);
            }
        }
    }

    fn assign(&mut self, table: &Table, (at, assign): &(usize, Assign)) {
        self.push(table.columns[*at].name);
        match assign {
            Assign::Set(value) => {
                self.push(" = ");
                self.value(value);
            }
            Assign::Add(value) => {
                self.push(" += ");
                self.value(value);
            }
        }
    }

    fn where_clause(&mut self, word: &str, table: &Table, filter: &Filter) {
        if !matches!(filter, Filter::All) {
            self.push(word);
            self.filter(table, filter);
        }
    }

    fn filter(&mut self, table: &Table, filter: &Filter) {
        let name = |at: usize| table.columns[at].name;
        match filter {
            Filter::All => self.push("true"),
            Filter::Compare { left, op, value } => {
                self.expr(table, *left);
                self.push(comparison(*op));
                self.value(value);
            }
            Filter::CompareColumns { left, op, right } => {
                self.push(name(*left));
                self.push(comparison(*op));
                self.push(name(*right));
            }
            Filter::In { column, values } => {
                self.push(name(*column));
                self.push(" in (");
                match self.values {
                    Values::Hidden => self.push("?"),
                    Values::Shown => self.list(values, Self::value),
                }
                self.push(")");
            }
            Filter::IsNull { column } => {
                self.push(name(*column));
                self.push(" is null");
            }
            Filter::Text {
                column,
                op,
                fold,
                pattern,
            } => {
                self.push(name(*column));
                self.push(match op {
                    TextMatch::Equals => " is ",
                    TextMatch::Contains => " contains ",
                    TextMatch::StartsWith => " starts with ",
                    TextMatch::EndsWith => " ends with ",
                });
                if *fold {
                    self.push("(any case) ");
                }
                self.shown(|out| write!(out, "{pattern:?}"));
            }
            Filter::And(all) => self.joined(table, all, " and "),
            Filter::Or(any) => self.joined(table, any, " or "),
            Filter::Not(inner) => {
                self.push("not (");
                self.filter(table, inner);
                self.push(")");
            }
            Filter::Related(related) => {
                let to = related.table.columns[related.to].name;
                let _ = write!(
                    self.out,
                    "{} in {}.{to} where (",
                    name(related.from),
                    related.table.name
                );
                self.filter(related.table, &related.filter);
                self.push(")");
            }
        }
    }

    fn joined(&mut self, table: &Table, filters: &[Filter], word: &str) {
        self.push("(");
        for (at, filter) in filters.iter().enumerate() {
            if at > 0 {
                self.push(word);
            }
            self.filter(table, filter);
        }
        self.push(")");
    }

    fn order(&mut self, table: &Table, by: &OrderBy) {
        self.expr(table, by.expr);
        if by.descending {
            self.push(" desc");
        }
        match (by.nulls, by.descending) {
            (Nulls::First, false) => self.push(" nulls first"),
            (Nulls::Last, true) => self.push(" nulls last"),
            _ => {}
        }
    }

    fn expr(&mut self, table: &Table, expr: Expr) {
        match expr {
            Expr::Column(at) => self.push(table.columns[at].name),
            Expr::Aggregate(function, at) => {
                let column = at.map_or("*", |at| table.columns[at].name);
                let _ = write!(self.out, "{function:?}({column})");
            }
        }
    }

    fn value(&mut self, value: &Value) {
        self.shown(|out| match value.as_ref() {
            ValueRef::Null => out.write_str("null"),
            other => write!(out, "{other:?}"),
        });
    }

    fn shown(&mut self, show: impl FnOnce(&mut String) -> std::fmt::Result) {
        match self.values {
            Values::Hidden => self.push("?"),
            Values::Shown => {
                let _ = show(&mut self.out);
            }
        }
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.push(", ");
            }
            each(self, item);
        }
    }
}

fn comparison(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => " = ",
        Comparison::Ne => " <> ",
        Comparison::Lt => " < ",
        Comparison::Le => " <= ",
        Comparison::Gt => " > ",
        Comparison::Ge => " >= ",
    }
}
