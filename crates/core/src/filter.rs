//! Conditions on rows, as data: [`Filter`] for engines, [`Predicate`] for people.
//!
//! Semantics are SQL's, the same on every engine: comparing with NULL is neither true nor false,
//! `not` of that is neither too, and only rows for which a filter is *true* are taken.

use std::marker::PhantomData;
use std::ops;

use crate::error::Result;
use crate::schema::Table;
use crate::select::Expr;
use crate::value::Value;

/// A condition on the rows of one table. Columns are positions in that table.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Every row.
    All,
    /// A column, or in `having` an aggregate, compared with a value that is not NULL
    /// (a NULL value makes it match nothing).
    Compare {
        /// What is compared.
        left: Expr,
        /// How.
        op: Comparison,
        /// With what.
        value: Value,
    },
    /// Two columns of the same row compared.
    CompareColumns {
        /// The left column.
        left: usize,
        /// How.
        op: Comparison,
        /// The right column.
        right: usize,
    },
    /// The column equals one of the values; the list holds no NULL and no duplicates, and may be
    /// empty (matches nothing) or very long.
    In {
        /// The column.
        column: usize,
        /// The values.
        values: Vec<Value>,
    },
    /// The column is NULL. Never neither.
    IsNull {
        /// The column.
        column: usize,
    },
    /// A literal text match.
    Text {
        /// The column.
        column: usize,
        /// Where the pattern must be found.
        op: TextMatch,
        /// Whether `A` to `Z` in the column count as `a` to `z`; the pattern is folded already.
        fold: bool,
        /// What must be found; may be empty, which every text holds.
        pattern: String,
    },
    /// All of them; true when empty.
    And(Vec<Filter>),
    /// At least one of them; false when empty.
    Or(Vec<Filter>),
    /// The opposite; of neither, neither.
    Not(Box<Filter>),
    /// Some related row satisfies a filter. Never neither.
    Related(Box<Related>),
}

/// At least one row of `table` has `to` equal to this row's `from` and satisfies `filter`.
#[derive(Clone, Debug)]
pub struct Related {
    /// The column of the filtered row.
    pub from: usize,
    /// The related table.
    pub table: &'static Table,
    /// The column of the related table.
    pub to: usize,
    /// The condition on the related row.
    pub filter: Filter,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// Where a text pattern must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextMatch {
    /// The whole text.
    Equals,
    /// Anywhere.
    Contains,
    /// At the start.
    StartsWith,
    /// At the end.
    EndsWith,
}

impl Comparison {
    /// Whether two values in this order satisfy the comparison.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

impl Filter {
    /// Membership, without the NULLs and duplicates of the list.
    pub fn in_values(column: usize, mut values: Vec<Value>) -> Self {
        values.retain(|value| !value.is_null());
        values.sort_unstable();
        values.dedup();
        Self::In { column, values }
    }

    /// Both filters; [`Filter::All`] disappears and nested `And`s become one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::And(mut all), Self::And(more)) => {
                all.extend(more);
                Self::And(all)
            }
            (Self::And(mut all), one) => {
                all.push(one);
                Self::And(all)
            }
            (one, other) => Self::And(vec![one, other]),
        }
    }

    /// The conditions that must all hold, at the top of the tree.
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::All => &[],
            Self::And(all) => all,
            one => std::slice::from_ref(one),
        }
    }
}

/// A condition on rows of `E`. Combines with [`and`](Self::and), [`or`](Self::or) and
/// [`not`](Self::not), or `&`, `|` and `!`.
///
/// A value that cannot be bound (NaN, a text with NUL) is remembered and reported when the query
/// runs, before anything is sent.
#[derive(Debug)]
#[must_use = "a predicate does nothing until a query filters by it"]
pub struct Predicate<E> {
    filter: Result<Filter>,
    marker: PhantomData<fn() -> E>,
}

impl<E> Predicate<E> {
    /// The predicate that every row satisfies.
    pub fn all() -> Self {
        Self::from(Filter::All)
    }

    pub(crate) fn from_result(filter: Result<Filter>) -> Self {
        Self {
            filter,
            marker: PhantomData,
        }
    }

    /// The filter, or why there is none.
    pub fn into_filter(self) -> Result<Filter> {
        self.filter
    }

    fn combine(self, other: Self, join: impl FnOnce(Filter, Filter) -> Filter) -> Self {
        Self::from_result(match (self.filter, other.filter) {
            (Ok(one), Ok(two)) => Ok(join(one, two)),
            (Err(e), _) | (_, Err(e)) => Err(e),
        })
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        self.combine(other, Filter::and)
    }

    /// Either, or both.
    pub fn or(self, other: Self) -> Self {
        self.combine(other, |one, two| match one {
            Filter::Or(mut any) => {
                any.push(two);
                Filter::Or(any)
            }
            one => Filter::Or(vec![one, two]),
        })
    }

    /// The opposite. Rows for which the condition is neither true nor false (NULL) satisfy
    /// neither it nor its opposite.
    #[allow(clippy::should_implement_trait)] // it is implemented too; the method reads better
    pub fn not(self) -> Self {
        Self::from_result(self.filter.map(|filter| match filter {
            Filter::Not(inner) => *inner,
            filter => Filter::Not(Box::new(filter)),
        }))
    }
}

impl<E> From<Filter> for Predicate<E> {
    fn from(filter: Filter) -> Self {
        Self::from_result(Ok(filter))
    }
}

impl<E> ops::BitAnd for Predicate<E> {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.and(other)
    }
}

impl<E> ops::BitOr for Predicate<E> {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl<E> ops::Not for Predicate<E> {
    type Output = Self;

    fn not(self) -> Self {
        Self::not(self)
    }
}
