//! Conditions on rows, as data: [`Filter`] for engines, [`Predicate`] for people.
//!
//! Semantics are SQL's, the same on every engine: comparing with NULL is neither true nor false,
//! `not` of that is neither too, and only rows for which a filter is *true* are taken.

use std::marker::PhantomData;
use std::ops;

use crate::error::{Error, Result};
use crate::json_path::{JsonStep, JsonTest};
use crate::schema::{Index, Table};
use crate::search::SearchQuery;
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
    /// Only in the condition of an upsert: the column of the old row compared with the same column
    /// of the new one.
    CompareNew {
        /// The column.
        column: usize,
        /// How.
        op: Comparison,
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
    /// What stands at a path of the documents of a JSON column.
    Json {
        /// The column.
        column: usize,
        /// The way to the place; may be empty, which is the whole document.
        path: Vec<JsonStep>,
        /// What is asked of it.
        test: JsonTest,
    },
    /// What a full-text search finds. Never neither.
    Matches {
        /// The table's full-text index.
        index: &'static Index,
        /// The search.
        query: SearchQuery,
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

    /// Both filters; [`Filter::All`] disappears and nested `And`s become one, in any order.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::And(mut all), Self::And(more)) => {
                all.extend(more);
                Self::And(all)
            }
            (Self::And(mut all), one) | (one, Self::And(mut all)) => {
                all.push(one);
                Self::And(all)
            }
            (one, other) => Self::And(vec![one, other]),
        }
    }

    /// Either filter, or both; nested `Or`s become one, in any order.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Or(mut any), Self::Or(more)) => {
                any.extend(more);
                Self::Or(any)
            }
            (Self::Or(mut any), one) | (one, Self::Or(mut any)) => {
                any.push(one);
                Self::Or(any)
            }
            (one, other) => Self::Or(vec![one, other]),
        }
    }

    /// How many levels stand within each other, counted no further than to beyond `max`.
    fn nesting(&self, max: usize) -> usize {
        let around = |inner: &Self, levels: usize| match max.checked_sub(levels) {
            Some(left) => levels + inner.nesting(left),
            None => levels,
        };
        match self {
            Self::And(list) | Self::Or(list) => {
                list.iter().map(|one| around(one, 1)).max().unwrap_or(1)
            }
            Self::Not(inner) => around(inner, 1),
            Self::Related(related) => around(&related.filter, RELATION_LEVELS),
            _ => 0,
        }
    }

    /// Whether such a condition stands in it, or in what it asks of related rows.
    pub(crate) fn has(&self, what: fn(&Self) -> bool) -> bool {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().any(|one| one.has(what)),
            Self::Not(inner) => inner.has(what),
            Self::Related(related) => related.filter.has(what),
            one => what(one),
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

/// How many levels deep predicates may nest.
///
/// Any number joined by `and` alone, or by `or` alone, is one level; so are each change from one
/// to the other and each `not`. A relation is five. So bounded, a predicate fits SQLite's 1,000
/// levels of an expression, unless many levels of many conditions each stand within relations.
pub const NESTING_MAX: usize = 50;

/// SQLite counts the levels of a subquery again for every other one around it.
pub(crate) const RELATION_LEVELS: usize = 5;

/// A condition on rows of `E`. Combines with [`and`](Self::and), [`or`](Self::or) and
/// [`not`](Self::not), or `&`, `|` and `!`.
///
/// A value that cannot be bound (NaN, a text with NUL) is remembered and reported when the query
/// runs, before anything is sent. So is, as `Misuse`, a predicate that nests deeper than
/// [`NESTING_MAX`] levels.
///
/// How many are joined at one level has no bound but that of the engine's parameters (32,766 on
/// SQLite, to which the first thousand alternatives are quick and 30,000 take seconds). `in_`
/// takes any number of values as one parameter.
#[derive(Debug)]
#[must_use = "a predicate does nothing until a query filters by it"]
pub struct Predicate<E> {
    filter: Result<Filter>,
    /// How deep the filter nests, known without looking into it.
    nesting: usize,
    marker: PhantomData<fn() -> E>,
}

impl<E> Predicate<E> {
    /// The predicate that every row satisfies.
    pub fn all() -> Self {
        Self::from(Filter::All)
    }

    pub(crate) fn from_result(filter: Result<Filter>) -> Self {
        let nesting = (filter.as_ref()).map_or(0, |filter| filter.nesting(NESTING_MAX));
        Self::new(filter, nesting)
    }

    fn new(filter: Result<Filter>, nesting: usize) -> Self {
        let filter = match filter {
            Ok(_) if nesting > NESTING_MAX => Err(Error::misuse(format!(
                "the conditions nest deeper than {NESTING_MAX} levels: join more of them at one \
                 level, or use `in_`"
            ))),
            filter => filter,
        };
        Self {
            filter,
            nesting,
            marker: PhantomData,
        }
    }

    /// The filter, or why there is none.
    pub fn into_filter(self) -> Result<Filter> {
        self.filter
    }

    /// A filter around this one, of another model perhaps.
    pub(crate) fn within<P>(
        self,
        levels: usize,
        wrap: impl FnOnce(Filter) -> Filter,
    ) -> Predicate<P> {
        Predicate::new(self.filter.map(wrap), self.nesting + levels)
    }

    /// Joins two in one list; sides that are such a list already add no level.
    fn join(
        self,
        other: Self,
        join: fn(Filter, Filter) -> Filter,
        is_list: fn(&Filter) -> bool,
    ) -> Self {
        let inside = |side: &Self| match &side.filter {
            Ok(filter) if is_list(filter) => side.nesting - 1,
            _ => side.nesting,
        };
        let nesting = 1 + inside(&self).max(inside(&other));
        match (self.filter, other.filter) {
            (Ok(one), Ok(two)) => Self::new(Ok(join(one, two)), nesting),
            (Err(e), _) | (_, Err(e)) => Self::new(Err(e), 0),
        }
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        match (&self.filter, &other.filter) {
            (Ok(Filter::All), Ok(_)) => other,
            (Ok(_), Ok(Filter::All)) => self,
            _ => self.join(other, Filter::and, |one| matches!(one, Filter::And(_))),
        }
    }

    /// Either, or both.
    pub fn or(self, other: Self) -> Self {
        self.join(other, Filter::or, |one| matches!(one, Filter::Or(_)))
    }

    /// The opposite. Rows for which the condition is neither true nor false (NULL) satisfy
    /// neither it nor its opposite.
    #[allow(clippy::should_implement_trait)] // it is implemented too; the method reads better
    pub fn not(self) -> Self {
        match self.filter {
            Ok(Filter::Not(inner)) => Self::new(Ok(*inner), self.nesting - 1),
            _ => self.within(1, |filter| Filter::Not(Box::new(filter))),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    type Any = Predicate<()>;

    const MANY: usize = 30_000;

    fn leaf() -> Any {
        Any::from(Filter::IsNull { column: 0 })
    }

    fn leaves(predicate: Any) -> usize {
        match predicate.into_filter() {
            Ok(Filter::And(list) | Filter::Or(list)) => {
                assert!(list.iter().all(|one| matches!(one, Filter::IsNull { .. })));
                list.len()
            }
            other => panic!("no list: {other:?}"),
        }
    }

    #[test]
    fn lists_are_flat_from_whichever_side_they_grow() {
        let many = || (0..MANY).map(|_| leaf());
        for join in [Any::and, Any::or] {
            let to_the_left = many().reduce(join).expect("not empty");
            let to_the_right = many().reduce(|all, one| join(one, all)).expect("not empty");
            assert_eq!(leaves(join(to_the_left, to_the_right)), 2 * MANY);
        }
    }

    #[test]
    fn nesting_is_bounded_and_counted_as_it_grows() {
        let deep = |levels: usize| {
            (0..levels).fold(leaf(), |inner, level| match level % 3 {
                0 => inner.and(leaf()),
                1 => leaf().or(inner),
                _ => inner.not(),
            })
        };
        let filter = deep(NESTING_MAX).into_filter().expect("deep enough");
        assert_eq!(filter.nesting(1_000), NESTING_MAX);
        assert!(Any::from(filter).into_filter().is_ok());
        for error in [deep(NESTING_MAX + 1), deep(MANY)].map(Any::into_filter) {
            let error = error.expect_err("too deep");
            assert_eq!(error.kind(), ErrorKind::Misuse);
        }
    }

    #[test]
    fn a_filter_made_by_hand_is_counted_too() {
        let deep = |levels| (0..levels).fold(Filter::All, |inner, _| Filter::Or(vec![inner]));
        assert!(Any::from(deep(NESTING_MAX)).into_filter().is_ok());
        assert!(Any::from(deep(NESTING_MAX + 1)).into_filter().is_err());
    }

    #[test]
    fn what_adds_no_level_is_not_counted() {
        let mut one = leaf();
        for _ in 0..MANY {
            one = Any::all().and(one.not().not()).and(Any::all());
        }
        assert!(matches!(one.into_filter(), Ok(Filter::IsNull { .. })));
    }
}
