//! Reads and writes in words, for events, reports and cursors: `posts where author_id = ? order
//! by created_at desc limit ?`. Not SQL; the same on every engine.

use std::fmt::Write as _;

use crate::column::Assign;
use crate::filter::{Comparison, Filter, TextMatch};
use crate::json_path::{JsonStep, JsonTest};
use crate::raw::{RawParam, RawStatement};
use crate::schema::Table;
use crate::search::SearchQuery;
use crate::select::{Expr, LinkPath, Nulls, OrderBy, Output, RowLock, Select};
use crate::value::{Value, ValueRef};
use crate::write::{ConflictAction, InsertRows, Write, WriteOp};

/// Whether values appear in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// As `?`, so that equal shapes read the same.
    Hidden,
    /// As they are, but only the first of many and the beginning of long ones, for events; may
    /// hold personal data.
    Some,
    /// As they are, every one.
    Shown,
}

/// The most values of a list that [`Values::Some`] shows.
const VALUES_MAX: usize = 20;
/// The most characters of a text that [`Values::Some`] shows, or bytes.
const CHARS_MAX: usize = 100;

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

/// The statement's own text, and its values behind it.
pub(crate) fn raw(statement: &RawStatement, values: Values) -> String {
    let mut text = Text {
        out: statement.text.as_str().to_owned(),
        values,
    };
    if values != Values::Hidden && !statement.params.is_empty() {
        text.push(" with (");
        text.list(&statement.params, |text, param| match param {
            RawParam::Value(value, _) => text.value(value),
            RawParam::List(values, _) => {
                text.push("[");
                text.some(values);
                text.push("]");
            }
        });
        text.push(")");
    }
    text.out
}

/// The commonest calls in a few words on the stack: what they asked is moved into the store, and
/// their text is wanted only if they turn out slow.
#[derive(Clone, Copy)]
pub(crate) enum Brief {
    /// A read of whole rows by one value of a column.
    Point {
        table: &'static Table,
        column: usize,
    },
    /// An insert.
    Insert {
        table: &'static Table,
        several: bool,
        conflict: Option<&'static str>,
    },
}

impl Brief {
    /// The read in brief, if it is one of the commonest.
    pub(crate) fn of_select(select: &Select) -> Option<Self> {
        let plain = matches!(select.output, Output::Entity)
            && select.link.is_none()
            && select.order.is_empty()
            && select.group_by.is_empty()
            && matches!(select.having, Filter::All)
            && !select.distinct
            && select.limit.is_none()
            && select.offset == 0
            && select.lock.is_none();
        match select.filter {
            Filter::Compare {
                left: Expr::Column(column),
                op: Comparison::Eq,
                ..
            } if plain => Some(Self::Point {
                table: select.table,
                column,
            }),
            _ => None,
        }
    }

    /// The write in brief, if it is one of the commonest.
    pub(crate) fn of_write(write: &Write) -> Option<Self> {
        match &write.op {
            WriteOp::Insert(insert) if condition(insert).is_none() => Some(Self::of_insert(insert)),
            _ => None,
        }
    }

    fn of_insert(insert: &InsertRows) -> Self {
        let action = insert.on_conflict.as_ref().map(|conflict| &conflict.action);
        Self::Insert {
            table: insert.table,
            several: insert.rows().len() != 1,
            conflict: action.map(|action| match action {
                ConflictAction::Ignore => " or ignore",
                ConflictAction::Update { .. } => " or update",
            }),
        }
    }

    /// The call in words.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Point { table, column } => {
                let column = table.columns[column].name;
                format!("select {} where {column} = ?", table.name)
            }
            Self::Insert {
                table,
                several,
                conflict,
            } => {
                let rows = if several { "rows" } else { "row" };
                let conflict = conflict.unwrap_or_default();
                format!("insert {rows} into {}{conflict}", table.name)
            }
        }
    }
}

/// Which old rows an upsert changes, if not all.
fn condition(insert: &InsertRows) -> Option<&Filter> {
    match &insert.on_conflict.as_ref()?.action {
        ConflictAction::Update { filter, .. } if !matches!(filter, Filter::All) => Some(filter),
        _ => None,
    }
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
        self.push(match select.lock {
            None => "",
            Some(RowLock::Wait) => " for update",
            Some(RowLock::SkipLocked) => " for update skip locked",
            Some(RowLock::NoWait) => " for update nowait",
        });
    }

    fn write(&mut self, write: &Write) {
        match &write.op {
            WriteOp::Insert(insert) => {
                self.push(&Brief::of_insert(insert).text());
                if let Some(filter) = condition(insert) {
                    self.where_clause(" when ", insert.table, filter);
                }
                self.rows(insert.table, &insert.columns, insert.rows());
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
                self.rows(update.table, &update.columns, update.rows());
            }
            WriteOp::Delete(delete) => {
                let _ = write!(self.out, "delete from {}", delete.table.name);
                self.where_clause(" where ", delete.table, &delete.filter);
            }
        }
    }

    /// The first rows of a write, as far as values are shown at all.
    fn rows<'v>(
        &mut self,
        table: &Table,
        columns: &[usize],
        rows: impl ExactSizeIterator<Item = &'v [Value]>,
    ) {
        if self.values == Values::Hidden {
            return;
        }
        self.push(" (");
        self.list(columns, |text, &at| text.push(table.columns[at].name));
        self.push(") values ");
        let shown = match self.values {
            Values::Some => (VALUES_MAX / columns.len().max(1)).max(1),
            _ => usize::MAX,
        };
        let more = rows.len().saturating_sub(shown);
        for (at, row) in rows.take(shown).enumerate() {
            self.push(if at > 0 { ", (" } else { "(" });
            self.list(row, Self::value);
            self.push(")");
        }
        if more > 0 {
            let _ = write!(self.out, " and {more} more");
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
            Filter::CompareNew { column, op } => {
                self.push(name(*column));
                self.push(comparison(*op));
                self.push("new ");
                self.push(name(*column));
            }
            Filter::In { column, values } => {
                self.push(name(*column));
                self.push(" in (");
                match self.values {
                    Values::Hidden => self.push("?"),
                    Values::Some => self.some(values),
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
                self.text(pattern);
            }
            Filter::Json { column, path, test } => {
                self.push(name(*column));
                self.json(path, test);
            }
            Filter::Matches { query, .. } => self.search(query),
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

    fn json(&mut self, path: &[JsonStep], test: &JsonTest) {
        for step in path {
            self.push(".");
            match step {
                JsonStep::Key(key) => self.text(key),
                JsonStep::Index(_) if self.values == Values::Hidden => self.push("[?]"),
                JsonStep::Index(at) => {
                    let _ = write!(self.out, "[{at}]");
                }
            }
        }
        match test {
            JsonTest::Compare(op, value) => {
                self.push(comparison(*op));
                self.value(value);
            }
            JsonTest::Exists => self.push(" exists"),
            JsonTest::IsNull => self.push(" is null inside"),
        }
    }

    fn search(&mut self, query: &SearchQuery) {
        self.push("matches ");
        if self.values == Values::Hidden {
            return self.push("?");
        }
        let signed = query.wanted.iter().map(|phrase| ("", phrase));
        let signed: Vec<_> = signed
            .chain(query.excluded.iter().map(|phrase| ("-", phrase)))
            .collect();
        self.push("(");
        self.list(&signed, |text, (sign, phrase)| {
            text.push(sign);
            text.text(&phrase.words.join(" "));
            text.push(if phrase.prefix { "*" } else { "" });
        });
        self.push(")");
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
            Expr::Rank => self.push("rank"),
            Expr::Aggregate(function, at) => {
                let column = at.map_or("*", |at| table.columns[at].name);
                let _ = write!(self.out, "{function:?}({column})");
            }
        }
    }

    /// The first of many values.
    fn some(&mut self, values: &[Value]) {
        let (first, rest) = values.split_at(values.len().min(VALUES_MAX));
        self.list(first, Self::value);
        if !rest.is_empty() {
            let _ = write!(self.out, " and {} more", rest.len());
        }
    }

    fn value(&mut self, value: &Value) {
        match (self.values, value.as_ref()) {
            (Values::Hidden, _) => self.push("?"),
            (_, ValueRef::Null) => self.push("null"),
            (Values::Some, ValueRef::Text(text) | ValueRef::Json(text)) => self.text(text),
            (Values::Some, ValueRef::Bytes(bytes)) if bytes.len() > CHARS_MAX => {
                let _ = write!(self.out, "{:?}..", &bytes[..CHARS_MAX]);
            }
            (_, other) => {
                let _ = write!(self.out, "{other:?}");
            }
        }
    }

    fn text(&mut self, text: &str) {
        let cut = match self.values {
            Values::Hidden => return self.push("?"),
            Values::Some => text.char_indices().nth(CHARS_MAX).map(|(at, _)| at),
            Values::Shown => None,
        };
        let _ = match cut {
            Some(at) => write!(self.out, "{:?}..", &text[..at]),
            None => write!(self.out, "{text:?}"),
        };
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
