//! The law of shapes, over random queries: equal shapes, equal statements.
//!
//! Queries are made from bytes, so that two of them often differ in one thing only.

use larder_core::filter::Related;
use larder_core::select::{Link, LinkPath, OrderBy};
use larder_core::write::{
    ConflictAction, DeleteWhere, InsertRows, OnConflict, UpdateRows, UpdateWhere, WriteOp,
};
use larder_core::{
    Aggregate, Assign, Comparison, Expr, Filter, JsonStep, JsonTest, Kind, Nulls, Output, RowLock,
    Select, Table, TextMatch, Value, Write,
};
use proptest::prelude::*;

use super::{BOTH, POST_TAGS, POSTS, USERS, database};
use crate::{Dialect, Param, Shape, Statement};
use crate::{render_select, render_write, select_params, write_params};

/// Makes choices from bytes; 0 when they run out.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn of(&mut self, several: usize) -> usize {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                usize::from(*first) % several
            }
            None => 0,
        }
    }

    fn flag(&mut self) -> bool {
        self.of(4) == 3
    }

    fn pick<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.of(some.len())]
    }

    fn several<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.of(most + 1)).map(|_| one(self)).collect()
    }

    fn table(&mut self) -> &'static Table {
        self.pick(&[&USERS, &POSTS])
    }

    fn value(&mut self) -> Value {
        match self.of(3) {
            0 => Value::Null,
            n => Value::Int(n as i64),
        }
    }

    fn comparison(&mut self) -> Comparison {
        self.pick(&[Comparison::Eq, Comparison::Lt, Comparison::Ge])
    }

    fn aggregate(&mut self) -> Expr {
        use Aggregate::*;
        let column = self.pick(&[None, Some(0), Some(3)]);
        Expr::Aggregate(
            self.pick(&[Count, CountDistinct, Sum, Avg, Min, Max]),
            column,
        )
    }

    fn filter(&mut self, table: &'static Table, depth: usize) -> Filter {
        let column = self.of(table.columns.len());
        let kinds = if depth == 0 { 7 } else { 11 };
        match self.of(kinds) {
            0 => Filter::All,
            1 => Filter::Compare {
                left: Expr::Column(column),
                op: self.comparison(),
                value: self.value(),
            },
            2 => Filter::CompareColumns {
                left: column,
                op: self.comparison(),
                right: 0,
            },
            3 => Filter::In {
                column,
                values: self.several(2, Self::value),
            },
            4 => Filter::IsNull { column },
            5 => Filter::Text {
                column: 2, // a text in both tables
                op: self.pick(&[
                    TextMatch::Equals,
                    TextMatch::Contains,
                    TextMatch::StartsWith,
                    TextMatch::EndsWith,
                ]),
                fold: self.flag(),
                pattern: self.pick(&["", "a", "b%", "\u{10FFFF}"]).to_owned(),
            },
            6 => self.json(column),
            7 => Filter::And(self.several(2, |choices| choices.filter(table, depth - 1))),
            8 => Filter::Or(self.several(2, |choices| choices.filter(table, depth - 1))),
            9 => Filter::Not(Box::new(self.filter(table, depth - 1))),
            _ => {
                let inner = self.table();
                let filter = self.filter(inner, depth - 1);
                Filter::Related(Box::new(Related {
                    from: 0,
                    table: inner,
                    to: self.of(2),
                    filter,
                }))
            }
        }
    }

    fn json(&mut self, column: usize) -> Filter {
        let step = |choices: &mut Self| match choices.of(2) {
            0 => JsonStep::Key("k".to_owned()),
            _ => JsonStep::Index(1),
        };
        let path = self.several(2, step);
        let test = match self.of(4) {
            0 => JsonTest::Exists,
            1 => JsonTest::IsNull,
            _ => JsonTest::Compare(
                self.comparison(),
                match self.of(5) {
                    0 => Value::Text("t".into()),
                    1 => Value::Int(1),
                    2 => Value::Float(0.5),
                    3 => Value::Bool(true),
                    _ => Value::Null,
                },
            ),
        };
        Filter::Json { column, path, test }
    }

    /// The condition of an upsert.
    fn over(&mut self, table: &'static Table) -> Filter {
        let new = Filter::CompareNew {
            column: self.of(3),
            op: self.comparison(),
        };
        match self.of(4) {
            0 => new,
            1 => self.filter(table, 1),
            2 => Filter::Or(vec![new, self.filter(table, 0)]),
            _ => Filter::All,
        }
    }

    fn order(&mut self, expr: Expr) -> OrderBy {
        let nulls = self.pick(&[Nulls::First, Nulls::Last]);
        OrderBy {
            expr,
            descending: self.flag(),
            nulls,
        }
    }

    fn link(&mut self) -> Link {
        let through = LinkPath::Through {
            table: &POST_TAGS,
            parent: self.of(2),
            child: self.of(2),
            to: 0,
        };
        let path = if self.flag() {
            through
        } else {
            LinkPath::Column(self.of(2))
        };
        let limit = self.flag().then(|| self.of(9) as u64);
        Link {
            path,
            parents: self.several(2, Self::value),
            limit,
        }
    }

    fn output(&mut self, table: &'static Table) -> Output {
        match self.of(3) {
            0 => Output::Entity,
            1 => Output::Exprs((0..table.columns.len()).map(Expr::Column).collect()),
            _ => Output::Exprs(self.several(2, |choices| Expr::Column(choices.of(4)))),
        }
    }

    fn select(&mut self, linked: bool) -> Select {
        let table = self.table();
        let mut select = Select::new(table);
        select.filter = self.filter(table, 2);
        select.link = (linked && self.flag()).then(|| self.link());
        if self.flag() {
            select.group_by = self.several(2, |choices| choices.of(2));
            let mut exprs: Vec<_> = select.group_by.iter().map(|&at| Expr::Column(at)).collect();
            exprs.push(self.aggregate());
            select.having = match self.aggregate() {
                left if self.flag() => Filter::Compare {
                    left,
                    op: self.comparison(),
                    value: self.value(),
                },
                _ => Filter::All,
            };
            select.order = self.several(1, |choices| {
                let expr = choices.aggregate();
                choices.order(expr)
            });
            select.output = Output::Exprs(exprs);
        } else {
            select.output = self.output(table);
            select.order = self.several(2, |choices| {
                let at = choices.of(4);
                choices.order(Expr::Column(at))
            });
            select.distinct = self.flag();
        }
        select.limit = self.flag().then(|| self.of(9) as u64);
        select.offset = self.pick(&[0, 0, 0, 1, 2]);
        let locks = [RowLock::Wait, RowLock::SkipLocked, RowLock::NoWait];
        select.lock = self.flag().then(|| self.pick(&locks));
        select
    }

    fn assign(&mut self) -> (usize, Assign) {
        let (at, value) = (self.pick(&[3, 2]), self.value());
        (
            at,
            if self.flag() {
                Assign::Add(value)
            } else {
                Assign::Set(value)
            },
        )
    }

    fn write(&mut self) -> (Write, usize) {
        let table = self.table();
        let mut rows = 1;
        let op = match self.of(4) {
            0 => {
                rows = 1 + self.of(3);
                let columns = vec![0, 2];
                let on_conflict = self.flag().then(|| OnConflict {
                    target: vec![0],
                    action: if self.flag() {
                        ConflictAction::Ignore
                    } else {
                        let columns = self.several(2, |choices| choices.of(3));
                        ConflictAction::Update {
                            columns,
                            set: self.several(1, Self::assign),
                            filter: self.over(table),
                        }
                    },
                });
                let values = (0..2 * rows).map(|_| self.value()).collect();
                WriteOp::Insert(InsertRows {
                    table,
                    columns,
                    values,
                    on_conflict,
                })
            }
            1 => WriteOp::Update(UpdateWhere {
                table,
                set: vec![self.assign()],
                filter: self.filter(table, 1),
            }),
            2 => {
                let mut columns = vec![0];
                columns.extend(self.several(2, |choices| 1 + choices.of(3)));
                let by = 1 + self.of(columns.len());
                let values = columns.iter().map(|_| self.value()).collect();
                let set = self.several(1, Self::assign);
                WriteOp::UpdateRows(UpdateRows {
                    table,
                    columns,
                    by,
                    values,
                    set,
                })
            }
            _ => WriteOp::Delete(DeleteWhere {
                table,
                filter: self.filter(table, 1),
            }),
        };
        let mut write = Write::new(op);
        write.returning = self.flag().then(|| self.output(table));
        (write, rows)
    }
}

/// What of a parameter must not differ between queries of one shape.
fn layout(param: &Param<'_>) -> (u8, Option<Kind>) {
    match param {
        Param::Value(_, kind) => (0, Some(*kind)),
        Param::List(_, kind) => (1, Some(*kind)),
        Param::Column(_, _, kind) => (2, Some(*kind)),
        Param::Number(_) => (3, None),
        // The same as a value of kind text.
        Param::Text(_) => (0, Some(Kind::Text)),
    }
}

type Layout = Vec<(u8, Option<Kind>)>;

fn of_select(dialect: Dialect, select: &Select) -> (Statement, Layout) {
    let mut seen = Vec::new();
    let each = &mut |param: Param<'_>| {
        seen.push(layout(&param));
        Ok::<_, ()>(())
    };
    select_params(dialect, select, each).unwrap();
    (render_select(dialect, select), seen)
}

fn of_write(dialect: Dialect, write: &Write, rows: usize) -> (Statement, Layout) {
    let mut seen = Vec::new();
    let each = &mut |param: Param<'_>| {
        seen.push(layout(&param));
        Ok::<_, ()>(())
    };
    write_params(dialect, write, 0..rows, each).unwrap();
    (render_write(dialect, write, rows), seen)
}

/// Bytes, and the same with one of them changed.
fn neighbours() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (
        prop::collection::vec(any::<u8>(), 1..60),
        any::<prop::sample::Index>(),
        any::<u8>(),
    )
        .prop_map(|(bytes, at, byte)| {
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] = byte;
            (bytes, changed)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn equal_shapes_are_equal_reads((one, two) in neighbours(), linked: bool) {
        let (one, two) = (Choices(&one).select(linked), Choices(&two).select(linked));
        let (mut a, mut b) = (Shape::new(), Shape::new());
        let same_shape = a.of_select(&one) == b.of_select(&two);
        for dialect in BOTH {
            let same = of_select(dialect, &one) == of_select(dialect, &two);
            prop_assert!(!same_shape || same);
            // A link may ask for what a filter asks for, in the same words; SQLite has none for locks.
            prop_assert!(linked || one.lock != two.lock || same_shape == same);
        }
    }

    #[test]
    fn equal_shapes_are_equal_writes((one, two) in neighbours()) {
        let ((one, rows), (two, others)) = (Choices(&one).write(), Choices(&two).write());
        let (mut a, mut b) = (Shape::new(), Shape::new());
        // Where every row is set alike, by a column or by a further change is the same to SQLite.
        let by_key = matches!(one.op, WriteOp::UpdateRows(_));
        for dialect in BOTH {
            let same_shape = a.of_write(dialect, &one, rows) == b.of_write(dialect, &two, others);
            let same = of_write(dialect, &one, rows) == of_write(dialect, &two, others);
            prop_assert!(!same_shape || same);
            prop_assert!(by_key || same_shape == same);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn sqlite_takes_every_read_and_write(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let db = database();
        let select = Choices(&bytes).select(true);
        let (write, rows) = Choices(&bytes).write();
        let statements =
            [of_select(Dialect::Sqlite, &select), of_write(Dialect::Sqlite, &write, rows)];
        for (text, params) in statements {
            let prepared = db.prepare(&text.sql);
            prop_assert!(prepared.is_ok(), "{}: {:?}", text.sql, prepared.err());
            let count = prepared.map_or(0, |prepared| prepared.parameter_count());
            prop_assert_eq!((count, text.parameters), (params.len(), params.len()), "{}", text.sql);
        }
    }
}

#[test]
fn values_and_lengths_are_no_part_of_it() {
    let shape = |values: Vec<Value>, limit| {
        let mut select = Select::new(&USERS);
        select.filter = Filter::In { column: 0, values };
        select.limit = Some(limit);
        Shape::new().of_select(&select).to_vec()
    };
    assert_eq!(
        shape(vec![], 1),
        shape(vec![Value::Int(1), Value::Int(2)], 1000)
    );
    assert!(shape(vec![], 1).len() < 32, "a point read's shape is short");
}
