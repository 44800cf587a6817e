//! Typed columns: `Post::TITLE` and what can be asked of it.
//!
//! `#[derive(Entity)]` gives every field a constant of type [`Column<E, T>`]. Its methods make
//! [`Predicate`]s, [`Order`]s and aggregates that only fit queries of `E`, and only take values
//! that fit `T`.

use std::fmt;
use std::marker::PhantomData;

use crate::entity::{Changes, Entity};
use crate::error::{Error, Result};
use crate::filter::{Comparison, Filter, Predicate, RELATION_LEVELS, Related, TextMatch};
use crate::schema::{ColumnDef, Index, Table};
use crate::select::{Aggregate, Expr, Nulls, Order, Selection};
use crate::types::{ColumnType, Numeric};
use crate::value::{Kind, Value};

/// A column of entity `E` that holds a `T`.
pub struct Column<E, T> {
    index: usize,
    marker: PhantomData<fn() -> (E, T)>,
}

impl<E, T> Clone for Column<E, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, T> Copy for Column<E, T> {}

impl<E: Entity, T> fmt::Debug for Column<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", E::TABLE.name, self.def().name)
    }
}

impl<E: Entity, T> Column<E, T> {
    /// The column at this position of `E`'s table. Written by `#[derive(Entity)]`.
    #[doc(hidden)]
    pub const fn new(index: usize) -> Self {
        Self {
            index,
            marker: PhantomData,
        }
    }

    /// The column's position in its table.
    pub const fn index(self) -> usize {
        self.index
    }

    /// The column's metadata.
    pub fn def(self) -> &'static ColumnDef {
        &E::TABLE.columns[self.index]
    }

    /// The column's name in the database.
    pub fn name(self) -> &'static str {
        self.def().name
    }
}

/// A value that can be compared with a column of type `T`: a `T`, or what reads naturally for
/// one (`&str` for a `String`, a bare value for an `Option`).
#[diagnostic::on_unimplemented(
    message = "a column of type `{T}` cannot be compared with a `{Self}`",
    label = "expected something that fits `{T}`"
)]
pub trait Operand<T> {
    /// The value to bind; NULL stands for `None`.
    fn operand(self) -> Result<Value>;
}

impl<T: ColumnType> Operand<T> for T {
    fn operand(self) -> Result<Value> {
        self.into_value()
    }
}

impl<T: ColumnType> Operand<Option<T>> for T {
    fn operand(self) -> Result<Value> {
        self.into_value()
    }
}

impl Operand<String> for &str {
    fn operand(self) -> Result<Value> {
        self.to_owned().into_value()
    }
}

impl Operand<Option<String>> for &str {
    fn operand(self) -> Result<Value> {
        self.to_owned().into_value()
    }
}

impl<T: ColumnType + Clone> Operand<T> for &T {
    fn operand(self) -> Result<Value> {
        self.clone().into_value()
    }
}

impl<T: ColumnType + Clone> Operand<Option<T>> for &T {
    fn operand(self) -> Result<Value> {
        self.clone().into_value()
    }
}

/// Fails the build for columns whose values have no order and no equality.
pub(crate) const fn comparable<T: ColumnType>() {
    assert!(
        !matches!(T::KIND, Kind::Json),
        "a JSON column is stored and returned, not compared, ordered or grouped by"
    );
}

/// Comparing, ordering and grouping by a [`Json`](crate::Json) column does not compile; whether
/// it holds a value can be asked.
impl<E: Entity, T: ColumnType> Column<E, T> {
    fn compare(self, op: Comparison, value: impl Operand<T>) -> Predicate<E> {
        const { comparable::<T>() };
        Predicate::from_result(value.operand().map_err(|e| self.blame(e)).map(|value| {
            Filter::Compare {
                left: Expr::Column(self.index),
                op,
                value,
            }
        }))
    }

    fn blame(self, error: Error) -> Error {
        error.or_column(E::TABLE.name, self.name())
    }

    /// Equal to the value. `eq(None)` is [`is_null`](Self::is_null).
    pub fn eq(self, value: impl Operand<T>) -> Predicate<E> {
        self.null_aware(Comparison::Eq, value)
    }

    /// Not equal to the value; a NULL in the column is not unequal to anything.
    /// `ne(None)` is [`is_not_null`](Self::is_not_null).
    pub fn ne(self, value: impl Operand<T>) -> Predicate<E> {
        self.null_aware(Comparison::Ne, value)
    }

    fn null_aware(self, op: Comparison, value: impl Operand<T>) -> Predicate<E> {
        const { comparable::<T>() };
        Predicate::from_result(value.operand().map_err(|e| self.blame(e)).map(|value| {
            match (value.is_null(), op) {
                (true, Comparison::Eq) => Filter::IsNull { column: self.index },
                (true, _) => Filter::Not(Box::new(Filter::IsNull { column: self.index })),
                (false, op) => Filter::Compare {
                    left: Expr::Column(self.index),
                    op,
                    value,
                },
            }
        }))
    }

    /// Less than the value.
    pub fn lt(self, value: impl Operand<T>) -> Predicate<E> {
        self.compare(Comparison::Lt, value)
    }

    /// Less than or equal to the value.
    pub fn le(self, value: impl Operand<T>) -> Predicate<E> {
        self.compare(Comparison::Le, value)
    }

    /// Greater than the value.
    pub fn gt(self, value: impl Operand<T>) -> Predicate<E> {
        self.compare(Comparison::Gt, value)
    }

    /// Greater than or equal to the value.
    pub fn ge(self, value: impl Operand<T>) -> Predicate<E> {
        self.compare(Comparison::Ge, value)
    }

    /// From `low` to `high`, both included.
    pub fn between(self, low: impl Operand<T>, high: impl Operand<T>) -> Predicate<E> {
        self.ge(low).and(self.le(high))
    }

    /// One of the values: any number of them, one statement shape. An empty list matches nothing.
    pub fn in_<V: Operand<T>>(self, values: impl IntoIterator<Item = V>) -> Predicate<E> {
        const { comparable::<T>() };
        let values: Result<Vec<Value>> = values
            .into_iter()
            .map(|value| value.operand().map_err(|e| self.blame(e)))
            .collect();
        Predicate::from_result(values.map(|values| Filter::in_values(self.index, values)))
    }

    /// Holds no value.
    pub fn is_null(self) -> Predicate<E> {
        Predicate::from(Filter::IsNull { column: self.index })
    }

    /// Holds a value.
    pub fn is_not_null(self) -> Predicate<E> {
        self.is_null().not()
    }

    /// Equal to another column of the same row.
    pub fn eq_column(self, other: Column<E, T>) -> Predicate<E> {
        self.compare_column(Comparison::Eq, other)
    }

    /// Less than another column of the same row.
    pub fn lt_column(self, other: Column<E, T>) -> Predicate<E> {
        self.compare_column(Comparison::Lt, other)
    }

    /// In [`Upsert::when`](crate::Upsert::when): less than the new row's value of this column.
    pub fn lt_new(self) -> Predicate<E> {
        self.compare_new(Comparison::Lt)
    }

    /// In [`Upsert::when`](crate::Upsert::when): greater than the new row's value of this column.
    pub fn gt_new(self) -> Predicate<E> {
        self.compare_new(Comparison::Gt)
    }

    /// In [`Upsert::when`](crate::Upsert::when): not equal to the new row's value of this column.
    /// Where one of the two is NULL it is neither true nor false.
    pub fn ne_new(self) -> Predicate<E> {
        self.compare_new(Comparison::Ne)
    }

    fn compare_new(self, op: Comparison) -> Predicate<E> {
        const { comparable::<T>() };
        Predicate::from(Filter::CompareNew {
            column: self.index,
            op,
        })
    }

    fn compare_column(self, op: Comparison, other: Column<E, T>) -> Predicate<E> {
        const { comparable::<T>() };
        Predicate::from(Filter::CompareColumns {
            left: self.index,
            op,
            right: other.index,
        })
    }

    /// Ascending; NULLs last.
    pub fn asc(self) -> Order<E> {
        const { comparable::<T>() };
        Order::new(Expr::Column(self.index), false, Nulls::Last)
    }

    /// Descending; NULLs first, so that the order is the exact reverse of [`asc`](Self::asc).
    pub fn desc(self) -> Order<E> {
        const { comparable::<T>() };
        Order::new(Expr::Column(self.index), true, Nulls::First)
    }

    /// The number of rows where the column holds a value.
    pub fn count(self) -> Selection<E, u64> {
        Selection::aggregate(Aggregate::Count, Some(self.index))
    }

    /// The number of different values, NULL not counted.
    pub fn count_distinct(self) -> Selection<E, u64> {
        const { comparable::<T>() };
        Selection::aggregate(Aggregate::CountDistinct, Some(self.index))
    }

    /// The smallest value; `None` without any.
    pub fn min(self) -> Selection<E, Option<T::Base>> {
        const { comparable::<T>() };
        Selection::aggregate(Aggregate::Min, Some(self.index))
    }

    /// The largest value; `None` without any.
    pub fn max(self) -> Selection<E, Option<T::Base>> {
        const { comparable::<T>() };
        Selection::aggregate(Aggregate::Max, Some(self.index))
    }

    /// Records a change of this column in a patch; `None` leaves it as it is.
    #[doc(hidden)]
    pub fn patch(self, value: Option<T>, changes: &mut Changes) -> Result<()> {
        match value {
            None => Ok(()),
            Some(value) => {
                let value = value.into_value().map_err(|e| self.blame(e))?;
                changes.set(self.index, value);
                Ok(())
            }
        }
    }

    /// Sets the column to the value in an update of many rows.
    pub fn set(self, value: impl Operand<T>) -> Change<E> {
        Change::new(
            value
                .operand()
                .map_err(|e| self.blame(e))
                .map(|v| (self.index, Assign::Set(v))),
        )
    }
}

/// Text columns: the pattern is literal, `%` and `_` have no power. Letters are told apart by
/// code point; the `_ignore_case` forms fold `A` to `Z` onto `a` to `z` and nothing else, the
/// same on every engine.
impl<E: Entity, T: ColumnType> Column<E, T> {
    fn matches(self, op: TextMatch, fold: bool, pattern: &str) -> Predicate<E> {
        const { assert!(T::KIND.is_text(), "this operator needs a text column") };
        Predicate::from_result(
            crate::types::no_nul(pattern)
                .map_err(|e| self.blame(e))
                .map(|()| Filter::Text {
                    column: self.index,
                    op,
                    fold,
                    pattern: if fold {
                        pattern.to_ascii_lowercase()
                    } else {
                        pattern.to_owned()
                    },
                }),
        )
    }

    /// Holds the text anywhere.
    pub fn contains(self, text: &str) -> Predicate<E> {
        self.matches(TextMatch::Contains, false, text)
    }

    /// Begins with the text. Can use an index.
    pub fn starts_with(self, text: &str) -> Predicate<E> {
        self.matches(TextMatch::StartsWith, false, text)
    }

    /// Ends with the text.
    pub fn ends_with(self, text: &str) -> Predicate<E> {
        self.matches(TextMatch::EndsWith, false, text)
    }

    /// Equal to the text, ASCII letters compared without case.
    pub fn eq_ignore_case(self, text: &str) -> Predicate<E> {
        self.matches(TextMatch::Equals, true, text)
    }

    /// Holds the text anywhere, ASCII letters compared without case.
    pub fn contains_ignore_case(self, text: &str) -> Predicate<E> {
        self.matches(TextMatch::Contains, true, text)
    }

    /// Begins with the text, ASCII letters compared without case.
    pub fn starts_with_ignore_case(self, text: &str) -> Predicate<E> {
        self.matches(TextMatch::StartsWith, true, text)
    }

    /// Ends with the text, ASCII letters compared without case.
    pub fn ends_with_ignore_case(self, text: &str) -> Predicate<E> {
        self.matches(TextMatch::EndsWith, true, text)
    }
}

/// Columns that can be added up.
impl<E: Entity, T: Numeric> Column<E, T> {
    /// The sum; `None` without any value.
    pub fn sum(self) -> Selection<E, Option<T::Sum>> {
        Selection::aggregate(Aggregate::Sum, Some(self.index))
    }

    /// The average; `None` without any value.
    pub fn avg(self) -> Selection<E, Option<T::Avg>> {
        Selection::aggregate(Aggregate::Avg, Some(self.index))
    }

    /// Adds the value (negative to subtract) in an update: no read, no lost update.
    #[allow(
        clippy::should_implement_trait,
        reason = "`+` would promise an expression"
    )]
    pub fn add(self, value: impl Operand<T>) -> Change<E> {
        Change::new(
            value
                .operand()
                .map_err(|e| self.blame(e))
                .map(|v| (self.index, Assign::Add(v))),
        )
    }
}

/// Filters through a relation. The column must hold a reference.
impl<E: Entity, T: ColumnType> Column<E, T> {
    /// The row this column refers to satisfies the predicate:
    /// `Post::AUTHOR_ID.whose(User::IS_ACTIVE.eq(true))`.
    pub fn whose<P: Entity>(self, predicate: Predicate<P>) -> Predicate<E> {
        match self.parent_key::<P>() {
            Ok(key) => related(self.index, predicate, key),
            Err(error) => Predicate::from_result(Err(error)),
        }
    }

    /// Rows of the parent that at least one row refers to by this column and satisfies the
    /// predicate: `Post::AUTHOR_ID.any(Post::STATUS.eq(..))` filters users.
    pub fn any<P: Entity>(self, predicate: Predicate<E>) -> Predicate<P> {
        match self.parent_key::<P>() {
            Ok(key) => related(key, predicate, self.index),
            Err(error) => Predicate::from_result(Err(error)),
        }
    }

    /// Rows of the parent that no row refers to by this column and satisfies the predicate.
    pub fn none<P: Entity>(self, predicate: Predicate<E>) -> Predicate<P> {
        self.any::<P>(predicate).not()
    }

    /// The position of the key in `P` that this column refers to.
    pub(crate) fn parent_key<P: Entity>(self) -> Result<usize> {
        match &self.def().references {
            Some(reference) if (reference.table)().is(P::TABLE) => {
                P::TABLE.single_key().ok_or_else(|| {
                    Error::misuse("a relation needs a parent with a key of one column")
                        .or_column(E::TABLE.name, self.name())
                })
            }
            _ => Err(Error::misuse(format!(
                "this column does not refer to `{}`: declare it with #[references(..)]",
                P::TABLE.name
            ))
            .or_column(E::TABLE.name, self.name())),
        }
    }
}

/// The rows of which a row of `R` that satisfies the predicate has `to` equal to their `from`.
fn related<E, R: Entity>(from: usize, predicate: Predicate<R>, to: usize) -> Predicate<E> {
    predicate.within(RELATION_LEVELS, |filter| {
        Filter::Related(Box::new(Related {
            from,
            table: R::TABLE,
            to,
            filter,
        }))
    })
}

/// What an update does to a column.
#[derive(Clone, Debug)]
pub enum Assign {
    /// Sets the column to the value.
    Set(Value),
    /// Adds the value to the column; overflow is an error, NULL stays NULL.
    Add(Value),
}

/// One column's change in an update of `E`: from [`Column::set`] and [`Column::add`].
#[derive(Debug)]
pub struct Change<E> {
    assign: Result<(usize, Assign)>,
    marker: PhantomData<fn() -> E>,
}

impl<E> Change<E> {
    fn new(assign: Result<(usize, Assign)>) -> Self {
        Self {
            assign,
            marker: PhantomData,
        }
    }

    pub(crate) fn into_assign(self) -> Result<(usize, Assign)> {
        self.assign
    }
}

/// A named constraint over several columns: `PostTag::KEY`, `Post::UNIQUE_AUTHOR_ID_SLUG`.
pub struct UniqueKey<E> {
    columns: &'static [usize],
    marker: PhantomData<fn() -> E>,
}

impl<E> Clone for UniqueKey<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for UniqueKey<E> {}

impl<E: Entity> fmt::Debug for UniqueKey<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .columns
            .iter()
            .map(|&at| E::TABLE.columns[at].name)
            .collect();
        write!(f, "{}({})", E::TABLE.name, names.join(", "))
    }
}

impl<E: Entity> UniqueKey<E> {
    /// The unique key over these columns. Written by `#[derive(Entity)]`.
    #[doc(hidden)]
    pub const fn new(columns: &'static [usize]) -> Self {
        Self {
            columns,
            marker: PhantomData,
        }
    }

    /// The metadata of the constraint; `None` for the primary key.
    pub fn def(self) -> Option<&'static Index> {
        E::TABLE
            .uniques
            .iter()
            .find(|unique| unique.columns == self.columns)
    }
}

/// What [`Error::violates`] and upserts accept: a column or a [`UniqueKey`].
pub trait ConstraintTarget {
    /// The table and its columns that make the constraint.
    fn target(&self) -> (&'static Table, Vec<usize>);
}

impl<E: Entity, T> ConstraintTarget for Column<E, T> {
    fn target(&self) -> (&'static Table, Vec<usize>) {
        (E::TABLE, vec![self.index])
    }
}

impl<E: Entity> ConstraintTarget for UniqueKey<E> {
    fn target(&self) -> (&'static Table, Vec<usize>) {
        (E::TABLE, self.columns.to_vec())
    }
}
