//! Projections: columns and aggregates as tuples.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;

use crate::column::Column;
use crate::entity::Entity;
use crate::error::Result;
use crate::query::{First, Query};
use crate::rows::{Row, Rows, get};
use crate::select::{Expr, Order, Selection};
use crate::types::ColumnType;

/// One item of a projection of `E`: a column, or an aggregate.
pub trait Item<E> {
    /// What it is read back as.
    type Output: Send + 'static;

    /// What to read.
    fn expr(&self) -> Expr;

    /// Reads it at this position.
    fn read(row: &dyn Row, at: usize) -> Result<Self::Output>;
}

impl<E: Entity, T: ColumnType> Item<E> for Column<E, T> {
    type Output = T;

    fn expr(&self) -> Expr {
        Expr::Column(self.index())
    }

    fn read(row: &dyn Row, at: usize) -> Result<T> {
        get(row, at)
    }
}

impl<E: Entity> Item<E> for Selection<E, u64> {
    type Output = u64;

    fn expr(&self) -> Expr {
        self.expr
    }

    fn read(row: &dyn Row, at: usize) -> Result<u64> {
        get::<i64>(row, at).map(i64::unsigned_abs)
    }
}

impl<E: Entity, T: ColumnType> Item<E> for Selection<E, Option<T>> {
    type Output = Option<T>;

    fn expr(&self) -> Expr {
        self.expr
    }

    fn read(row: &dyn Row, at: usize) -> Result<Option<T>> {
        get(row, at)
    }
}

/// What [`Query::select`] takes: one item, or a tuple of up to eight.
pub trait Project<E>: Send {
    /// What each row is read back as.
    type Output: Send + 'static;

    /// Adds the items' expressions.
    fn push(&self, exprs: &mut Vec<Expr>);

    /// Reads a row.
    fn read(row: &dyn Row) -> Result<Self::Output>;
}

impl<E: Entity, T: ColumnType> Project<E> for Column<E, T> {
    type Output = T;

    fn push(&self, exprs: &mut Vec<Expr>) {
        exprs.push(self.expr());
    }

    fn read(row: &dyn Row) -> Result<T> {
        <Self as Item<E>>::read(row, 0)
    }
}

impl<E: Entity, T: 'static> Project<E> for Selection<E, T>
where
    Self: Item<E>,
{
    type Output = <Self as Item<E>>::Output;

    fn push(&self, exprs: &mut Vec<Expr>) {
        exprs.push(self.expr);
    }

    fn read(row: &dyn Row) -> Result<Self::Output> {
        <Self as Item<E>>::read(row, 0)
    }
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),+)),+ $(,)?) => {$(
        impl<E: Entity, $($name: Item<E> + Send),+> Project<E> for ($($name,)+) {
            type Output = ($($name::Output,)+);

            fn push(&self, exprs: &mut Vec<Expr>) {
                $(exprs.push(self.$at.expr());)+
            }

            fn read(row: &dyn Row) -> Result<Self::Output> {
                Ok(($($name::read(row, $at)?,)+))
            }
        }
    )+};
}

tuples!(
    (A 0),
    (A 0, B 1),
    (A 0, B 1, C 2),
    (A 0, B 1, C 2, D 3),
    (A 0, B 1, C 2, D 3, F 4),
    (A 0, B 1, C 2, D 3, F 4, G 5),
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6),
    (A 0, B 1, C 2, D 3, F 4, G 5, H 6, I 7),
);

/// A query whose rows are tuples; made by [`Query::select`].
#[derive(Debug)]
#[must_use = "a query does nothing until it is run, for example with .all().await"]
pub struct Projected<'a, E, P> {
    query: Query<'a, E>,
    marker: PhantomData<fn() -> P>,
}

impl<'a, E: Entity, P: Project<E> + 'static> Projected<'a, E, P> {
    pub(crate) fn new(query: Query<'a, E>) -> Self {
        Self {
            query,
            marker: PhantomData,
        }
    }

    /// Orders by this too; aggregates are possible here.
    pub fn order(mut self, order: Order<E>) -> Self {
        self.query = self.query.order(order);
        self
    }

    /// At most this many rows.
    pub fn limit(mut self, limit: u64) -> Self {
        self.query = self.query.limit(limit);
        self
    }

    /// All rows.
    #[track_caller]
    pub fn all(self) -> impl Future<Output = Result<Vec<P::Output>>> + Send + 'a
    where
        E: 'a,
    {
        let site = Location::caller();
        async move {
            self.query
                .run(Rows::collect(P::read), site)
                .await?
                .into_vec()
        }
    }

    /// The first row, if there is any. An aggregate without groups always has one.
    #[track_caller]
    pub fn first(self) -> impl Future<Output = Result<Option<P::Output>>> + Send + 'a {
        let site = Location::caller();
        async move {
            let rows = self
                .query
                .at_most(1)
                .run(Rows::new(First::new(P::read)), site)
                .await?;
            Ok(rows.into_sink::<First<P::Output>>()?.row)
        }
    }

    /// How the store would execute the query, in its own words.
    pub async fn explain(self) -> Result<String> {
        self.query.explain().await
    }
}
