//! Reads, as data: [`Select`] and its parts.
//!
//! Engines turn a [`Select`] into SQL or commands; nothing in it is text to be parsed.

use std::marker::PhantomData;

use crate::column::Operand;
use crate::entity::Entity;
use crate::filter::{Comparison, Filter, Predicate};
use crate::schema::Table;
use crate::types::ColumnType;
use crate::value::Kind;

/// One read of one table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Select {
    /// The table.
    pub table: &'static Table,
    /// What each row brings. With a [`link`](Self::link), its parent value comes first.
    pub output: Output,
    /// Which rows.
    pub filter: Filter,
    /// Restricts and marks rows by the parent they belong to.
    pub link: Option<Link>,
    /// Groups the rows by these columns; aggregates in the output are then per group. With a
    /// link, the parent value is an additional, first group column when the output aggregates.
    pub group_by: Vec<usize>,
    /// Which groups; may compare aggregates.
    pub having: Filter,
    /// In which order. Ties come in any order: add the key to break them.
    pub order: Vec<OrderBy>,
    /// Leaves out duplicates of the output.
    pub distinct: bool,
    /// At most this many rows.
    pub limit: Option<u64>,
    /// Leaves out this many rows first.
    pub offset: u64,
    /// Keeps the rows from being changed until the transaction ends. Only in writing
    /// transactions, and only of whole rows: no link, no groups, no duplicates left out.
    pub lock: Option<RowLock>,
}

/// What a read that locks its rows does about rows that another transaction has locked.
///
/// Where writing transactions exclude each other ([`Capabilities::concurrent_writers`] is false)
/// nobody else can hold a lock, so that there is nothing to do.
///
/// [`Capabilities::concurrent_writers`]: crate::Capabilities::concurrent_writers
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowLock {
    /// Waits for the other transaction's end.
    Wait,
    /// Leaves the row out.
    SkipLocked,
    /// Answers `Busy` at once.
    NoWait,
}

/// What each row of a read brings.
#[derive(Clone, Debug)]
pub enum Output {
    /// All the table's columns, in order.
    Entity,
    /// These expressions, in order.
    Exprs(Vec<Expr>),
}

/// A column, an aggregate or a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// The column at this position.
    Column(usize),
    /// An aggregate over the rows of a group, or over all rows where there are no groups. The
    /// column is `None` for counting rows.
    Aggregate(Aggregate, Option<usize>),
    /// How well the row fits a search: larger is better. Only in the order of a read without link,
    /// groups, aggregates and `distinct`, whose filter's first condition is that search, a
    /// [`Filter::Matches`]; see [`Select::ranked`].
    Rank,
}

/// An aggregate function. All but the counts are NULL over no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// How many rows, or how many values of a column that are not NULL.
    Count,
    /// How many different values that are not NULL.
    CountDistinct,
    /// The sum: `i64` for integers (leaving its range is an error; on SQLite also in between), `f64` for floats, exact for decimals.
    Sum,
    /// The average: exact for decimals (rounded to 28 digits), `f64` otherwise.
    Avg,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
}

/// Where NULLs go in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nulls {
    /// Before all values.
    First,
    /// After all values.
    Last,
}

/// One step of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderBy {
    /// What to order by.
    pub expr: Expr,
    /// Whether larger values come first.
    pub descending: bool,
    /// Where NULLs go.
    pub nulls: Nulls,
}

/// Restricts a read to the children of some parents, for loading plans: one read serves any
/// number of parents, and each row says whose it is.
#[derive(Clone, Debug)]
pub struct Link {
    /// How children and parents meet.
    pub path: LinkPath,
    /// The parents' values; no NULL, no duplicates.
    pub parents: Vec<crate::value::Value>,
    /// At most this many children of each parent, by the read's order.
    pub limit: Option<u64>,
}

/// How a child belongs to a parent.
#[derive(Clone, Copy, Debug)]
pub enum LinkPath {
    /// This column of the child is the parent's value.
    Column(usize),
    /// A row of a join table pairs the two.
    Through {
        /// The join table.
        table: &'static Table,
        /// Its column that holds the parent's value.
        parent: usize,
        /// Its column that holds the child's.
        child: usize,
        /// The child's column it refers to.
        to: usize,
    },
}

impl Select {
    /// All rows and columns of the table.
    pub fn new(table: &'static Table) -> Self {
        Self {
            table,
            output: Output::Entity,
            filter: Filter::All,
            link: None,
            group_by: Vec::new(),
            having: Filter::All,
            order: Vec::new(),
            distinct: false,
            limit: None,
            offset: 0,
            lock: None,
        }
    }

    /// How many values each row brings.
    pub fn width(&self) -> usize {
        let own = match &self.output {
            Output::Entity => self.table.columns.len(),
            Output::Exprs(exprs) => exprs.len(),
        };
        own + usize::from(self.link.is_some())
    }

    /// The expression at this position of the output (the link's parent value not counted).
    pub fn expr(&self, at: usize) -> Option<Expr> {
        match &self.output {
            Output::Entity => (at < self.table.columns.len()).then_some(Expr::Column(at)),
            Output::Exprs(exprs) => exprs.get(at).copied(),
        }
    }

    /// Whether the output aggregates.
    pub fn aggregates(&self) -> bool {
        !self.group_by.is_empty()
            || matches!(&self.output, Output::Exprs(exprs)
                if exprs.iter().any(|expr| matches!(expr, Expr::Aggregate(..))))
    }
}

impl Link {
    /// The kind of the parents' values, for a link into `table`.
    pub fn kind(&self, table: &Table) -> Kind {
        match self.path {
            LinkPath::Column(at) => table.columns[at].kind,
            LinkPath::Through { table, parent, .. } => table.columns[parent].kind,
        }
    }
}

impl Expr {
    /// The kind of the expression's values.
    pub fn kind(self, table: &Table) -> Kind {
        match self {
            Self::Column(at) => table.columns[at].kind,
            Self::Rank => Kind::F64,
            Self::Aggregate(Aggregate::Count | Aggregate::CountDistinct, _)
            | Self::Aggregate(_, None) => Kind::I64,
            Self::Aggregate(function, Some(at)) => {
                let kind = table.columns[at].kind;
                match (function, kind) {
                    (Aggregate::Sum, kind) if kind.is_integer() => Kind::I64,
                    (Aggregate::Sum | Aggregate::Avg, Kind::Decimal) => Kind::Decimal,
                    (Aggregate::Sum | Aggregate::Avg, _) => Kind::F64,
                    (_, kind) => kind,
                }
            }
        }
    }
}

/// One step of the order of a query of `E`: from `Post::CREATED_AT.desc()`.
#[derive(Debug)]
#[must_use = "an order does nothing until a query is ordered by it"]
pub struct Order<E> {
    pub(crate) by: OrderBy,
    marker: PhantomData<fn() -> E>,
}

impl<E> Order<E> {
    pub(crate) fn new(expr: Expr, descending: bool, nulls: Nulls) -> Self {
        Self {
            by: OrderBy {
                expr,
                descending,
                nulls,
            },
            marker: PhantomData,
        }
    }

    /// Puts NULLs before all values.
    pub fn nulls_first(mut self) -> Self {
        self.by.nulls = Nulls::First;
        self
    }

    /// Puts NULLs after all values.
    pub fn nulls_last(mut self) -> Self {
        self.by.nulls = Nulls::Last;
        self
    }

    /// The step as data.
    pub fn into_order_by(self) -> OrderBy {
        self.by
    }
}

/// One column or aggregate of `E` in a projection, read back as a `T`.
#[derive(Debug)]
pub struct Selection<E, T> {
    pub(crate) expr: Expr,
    marker: PhantomData<fn() -> (E, T)>,
}

impl<E, T> Clone for Selection<E, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, T> Copy for Selection<E, T> {}

impl<E, T> Selection<E, T> {
    pub(crate) fn aggregate(function: Aggregate, column: Option<usize>) -> Self {
        Self {
            expr: Expr::Aggregate(function, column),
            marker: PhantomData,
        }
    }
}

impl<E: Entity, T> Selection<E, T> {
    /// Ascending by the aggregate; NULLs last.
    pub fn asc(self) -> Order<E> {
        Order::new(self.expr, false, Nulls::Last)
    }

    /// Descending by the aggregate; NULLs first.
    pub fn desc(self) -> Order<E> {
        Order::new(self.expr, true, Nulls::First)
    }

    fn compare<V: ColumnType>(self, op: Comparison, value: impl Operand<V>) -> Predicate<E> {
        Predicate::from_result(value.operand().map(|value| Filter::Compare {
            left: self.expr,
            op,
            value,
        }))
    }
}

/// Conditions on groups, for `having`.
impl<E: Entity, T: Countable> Selection<E, T> {
    /// The aggregate equals the value.
    pub fn eq(self, value: impl Operand<T::Value>) -> Predicate<E> {
        self.compare(Comparison::Eq, value)
    }

    /// The aggregate is less than the value.
    pub fn lt(self, value: impl Operand<T::Value>) -> Predicate<E> {
        self.compare(Comparison::Lt, value)
    }

    /// The aggregate is less than or equal to the value.
    pub fn le(self, value: impl Operand<T::Value>) -> Predicate<E> {
        self.compare(Comparison::Le, value)
    }

    /// The aggregate is greater than the value.
    pub fn gt(self, value: impl Operand<T::Value>) -> Predicate<E> {
        self.compare(Comparison::Gt, value)
    }

    /// The aggregate is greater than or equal to the value.
    pub fn ge(self, value: impl Operand<T::Value>) -> Predicate<E> {
        self.compare(Comparison::Ge, value)
    }
}

/// What the result of an aggregate is compared with: a count with an `i64`, the rest with their
/// own type.
pub trait Countable {
    /// The type of the other side.
    type Value: ColumnType;
}

impl Countable for u64 {
    type Value = i64;
}

impl<T: ColumnType> Countable for Option<T> {
    type Value = T;
}

/// The number of rows: `db.query::<Post>().group_by(Post::AUTHOR_ID).select((Post::AUTHOR_ID, count()))`.
pub fn count<E: Entity>() -> Selection<E, u64> {
    Selection::aggregate(Aggregate::Count, None)
}
