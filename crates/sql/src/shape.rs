//! What makes two statements the same.

use larder_core::select::{Aggregate, LinkPath, Nulls, OrderBy};
use larder_core::write::{ConflictAction, InsertRows, WriteOp};
use larder_core::{
    Assign, Comparison, Expr, Filter, JsonStep, JsonTest, Output, RowLock, Select, Table, Write,
};

use crate::dialect::Dialect;
use crate::filter::TextForm;
use crate::insert::takes_arrays;
use crate::search;
use crate::select::nullable;

/// The name of a statement: bytes that hold everything about a query that its SQL depends on,
/// and no values. Look prepared statements up by it.
///
/// Equal shapes mean the same SQL and the same parameters, always. The same SQL means equal shapes
/// unless it was asked for in different terms, once by a link and once by a filter, say, or by
/// searches of more phrases or fewer; that
/// costs a second prepared statement and nothing else.
///
/// The lengths of lists and the numbers of LIMIT and OFFSET are parameters; the number of rows
/// that one INSERT adds is part of the shape, on PostgreSQL only whether it is one. Tables are told
/// apart by their address, so a shape means nothing in another process.
///
/// Keep one and use it again: the buffer stays, and a point read's shape is about 20 bytes and
/// 50 ns.
///
/// ```
/// # use larder_core::{ColumnDef, Kind, Select, Table};
/// # static COLUMNS: [ColumnDef; 1] = [ColumnDef { name: "id", kind: Kind::I64, nullable: false,
/// #     max_len: None, default: None, references: None, missing: "" }];
/// # static TAGS: Table = Table { name: "tags", columns: &COLUMNS, key: &[0], auto_key: true,
/// #     uniques: &[], indexes: &[], search: None, created_at: None, updated_at: None, version: None };
/// let mut shape = larder_sql::Shape::new();
/// let mut select = Select::new(&TAGS);
/// select.limit = Some(1);
/// let one = shape.of_select(&select).to_vec();
/// select.limit = Some(2);
/// assert_eq!(one, shape.of_select(&select));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shape {
    bytes: Vec<u8>,
}

impl Shape {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The shape of the read.
    pub fn of_select(&mut self, select: &Select) -> &[u8] {
        self.start(b'S', select.table);
        self.select(select);
        &self.bytes
    }

    /// The shape of the write's statement for so many of its rows.
    pub fn of_write(&mut self, dialect: Dialect, write: &Write, rows: usize) -> &[u8] {
        match &write.op {
            WriteOp::Insert(insert) => {
                self.start(b'I', insert.table);
                let arrays = takes_arrays(dialect, rows);
                self.insert(insert, if arrays { 0 } else { rows });
            }
            WriteOp::Update(update) => {
                self.start(b'U', update.table);
                self.assignments(&update.set);
                self.conjuncts(&update.filter);
            }
            WriteOp::UpdateRows(update) => {
                self.start(b'R', update.table);
                self.columns(&update.columns);
                self.number(update.by);
                self.assignments(&update.set);
            }
            WriteOp::Delete(delete) => {
                self.start(b'D', delete.table);
                self.conjuncts(&delete.filter);
            }
        }
        self.byte(u8::from(write.returning.is_some()));
        if let Some(output) = &write.returning {
            self.output(output, write.table());
        }
        &self.bytes
    }

    /// The shape of [`move_sequence`](crate::move_sequence).
    pub fn of_sequence(&mut self, table: &'static Table) -> &[u8] {
        self.start(b'K', table);
        &self.bytes
    }

    fn start(&mut self, what: u8, table: &'static Table) {
        self.bytes.clear();
        self.byte(what);
        self.table(table);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits a byte, the high bit on all but the last: self-delimiting.
    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn table(&mut self, table: &'static Table) {
        self.bytes
            .extend_from_slice(&std::ptr::from_ref(table).addr().to_ne_bytes());
    }

    fn columns(&mut self, columns: &[usize]) {
        self.number(columns.len());
        for &at in columns {
            self.number(at);
        }
    }

    fn select(&mut self, select: &Select) {
        let link = select.link.as_ref();
        let path = link.map(|link| link.path);
        let flags = [
            select.distinct,
            select.limit.is_some(),
            select.offset > 0,
            matches!(path, Some(LinkPath::Column(_))),
            matches!(path, Some(LinkPath::Through { .. })),
            link.is_some_and(|link| link.limit.is_some()),
            matches!(select.lock, Some(RowLock::Wait | RowLock::NoWait)),
            matches!(select.lock, Some(RowLock::SkipLocked | RowLock::NoWait)),
        ];
        self.byte(
            flags
                .iter()
                .rev()
                .fold(0, |byte, &flag| byte << 1 | u8::from(flag)),
        );
        match path {
            Some(LinkPath::Column(at)) => self.number(at),
            Some(LinkPath::Through {
                table,
                parent,
                child,
                to,
            }) => {
                self.table(table);
                for at in [parent, child, to] {
                    self.number(at);
                }
            }
            None => {}
        }
        self.output(&select.output, select.table);
        self.conjuncts(&select.filter);
        self.columns(&select.group_by);
        self.conjuncts(&select.having);
        self.number(select.order.len());
        for by in &select.order {
            self.order(by, select.table);
        }
    }

    fn order(&mut self, by: &OrderBy, table: &Table) {
        self.expr(by.expr);
        let nulls = match by.nulls {
            _ if !nullable(by.expr, table) => 0,
            Nulls::First => 2,
            Nulls::Last => 4,
        };
        self.byte(nulls | u8::from(by.descending));
    }

    /// All columns in order are the entity, however they were asked for.
    fn output(&mut self, output: &Output, table: &Table) {
        match output {
            Output::Exprs(exprs) if !is_entity(exprs, table) => {
                self.number(exprs.len() + 1);
                for &expr in exprs {
                    self.expr(expr);
                }
            }
            _ => self.number(0),
        }
    }

    fn expr(&mut self, expr: Expr) {
        match expr {
            Expr::Column(at) => {
                self.byte(0);
                self.number(at);
            }
            Expr::Rank => self.byte(u8::MAX),
            // Of nothing, every aggregate is the number of rows.
            Expr::Aggregate(_, None) => self.byte(1),
            Expr::Aggregate(function, Some(at)) => {
                self.byte(2 + aggregate(function));
                self.number(at);
            }
        }
    }

    /// The conditions at the top, which are joined without parentheses.
    fn conjuncts(&mut self, filter: &Filter) {
        self.filters(filter.conjuncts());
    }

    fn filters(&mut self, filters: &[Filter]) {
        self.number(filters.len());
        for one in filters {
            self.filter(one);
        }
    }

    fn filter(&mut self, filter: &Filter) {
        match filter {
            Filter::All => self.byte(b'*'),
            Filter::Compare { left, op, .. } => self.compare(*left, *op),
            Filter::CompareColumns { left, op, right } => {
                self.byte(b'c');
                self.number(*left);
                self.byte(comparison(*op));
                self.number(*right);
            }
            Filter::CompareNew { column, op } => {
                self.of_column(b'n', *column);
                self.byte(comparison(*op));
            }
            Filter::In { column, .. } => self.of_column(b'i', *column),
            Filter::IsNull { column } => self.of_column(b'0', *column),
            Filter::Text {
                column,
                op,
                fold,
                pattern,
            } => {
                self.text(*column, TextForm::of(*op, pattern), *fold);
            }
            Filter::Json { test, .. } if !crate::json::is_possible(test) => self.byte(b'?'),
            Filter::Json { column, path, test } => {
                self.of_column(b'j', *column);
                self.json(path, test);
            }
            Filter::Matches { query, .. } => {
                self.byte(b'm');
                for count in search::shape(query) {
                    self.number(count);
                }
            }
            // The empty ones are constants: nothing and everything.
            Filter::And(all) if all.is_empty() => self.byte(b'*'),
            Filter::And(all) => self.joined(b'&', all),
            Filter::Or(any) => self.joined(b'|', any),
            Filter::Not(inner) => {
                self.byte(b'!');
                self.filter(inner);
            }
            Filter::Related(related) => {
                self.of_column(b'r', related.from);
                self.table(related.table);
                self.number(related.to);
                self.conjuncts(&related.filter);
            }
        }
    }

    fn json(&mut self, path: &[JsonStep], test: &JsonTest) {
        self.number(path.len());
        for step in path {
            self.byte(u8::from(matches!(step, JsonStep::Index(_))));
        }
        match test {
            JsonTest::Exists => self.byte(b'e'),
            JsonTest::IsNull => self.byte(b'0'),
            JsonTest::Compare(op, value) => {
                self.byte(b'v');
                self.byte(comparison(*op));
                self.byte(crate::json::kind(value).map_or(0, |kind| kind as u8 + 1));
            }
        }
    }

    /// One condition in parentheses reads the same whatever would join it to others.
    fn joined(&mut self, join: u8, parts: &[Filter]) {
        self.byte(if parts.len() == 1 { b'(' } else { join });
        self.filters(parts);
    }

    fn of_column(&mut self, what: u8, column: usize) {
        self.byte(what);
        self.number(column);
    }

    fn compare(&mut self, left: Expr, op: Comparison) {
        self.byte(b'v');
        self.expr(left);
        self.byte(comparison(op));
    }

    fn text(&mut self, column: usize, form: TextForm, fold: bool) {
        let plain = Expr::Column(column);
        let what = match form {
            TextForm::Anything => return self.of_column(b'a', column),
            // The same as comparing with values.
            TextForm::Equals if !fold => return self.compare(plain, Comparison::Eq),
            TextForm::From if !fold => return self.compare(plain, Comparison::Ge),
            TextForm::Between if !fold => {
                self.byte(b'&');
                self.number(2);
                self.compare(plain, Comparison::Ge);
                return self.compare(plain, Comparison::Lt);
            }
            TextForm::Equals => b'=',
            TextForm::From => b'f',
            TextForm::Between => b'b',
            TextForm::Contains => b'h',
            TextForm::EndsWith => b'e',
        };
        self.of_column(what, column);
        self.byte(u8::from(fold));
    }

    fn insert(&mut self, insert: &InsertRows, rows: usize) {
        self.columns(&insert.columns);
        self.number(rows);
        let Some(conflict) = &insert.on_conflict else {
            return self.byte(0);
        };
        match &conflict.action {
            ConflictAction::Ignore => {
                self.byte(1);
                self.columns(&conflict.target);
            }
            ConflictAction::Update {
                columns,
                set,
                filter,
            } => {
                self.byte(2);
                self.columns(&conflict.target);
                // Of nothing to change, the text changes the target to itself.
                let nothing = columns.is_empty() && set.is_empty();
                self.columns(if nothing { &conflict.target } else { columns });
                self.assignments(set);
                self.conjuncts(filter);
            }
        }
    }

    fn assignments(&mut self, set: &[(usize, Assign)]) {
        self.number(set.len());
        for (at, assign) in set {
            self.number(*at);
            self.byte(u8::from(matches!(assign, Assign::Add(_))));
        }
    }
}

fn is_entity(exprs: &[Expr], table: &Table) -> bool {
    exprs.len() == table.columns.len()
        && exprs
            .iter()
            .enumerate()
            .all(|(at, expr)| *expr == Expr::Column(at))
}

fn comparison(op: Comparison) -> u8 {
    op as u8
}

fn aggregate(function: Aggregate) -> u8 {
    function as u8
}
