//! [`Query`]: building and running reads, and the writes that take a filter.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use crate::check;
use crate::column::{Change, Column, comparable};
use crate::db::{Control, Db, Site};
use crate::entity::{Changes, Entity, Key, Patch, check_value};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Comparison, Filter, Predicate};
use crate::load::{Load, Loader};
use crate::page::{Cursor, Page, PageQuery, Place};
use crate::project::{Project, Projected};
use crate::rows::{Flow, Row, Rows, Sink, get};
use crate::search;
use crate::select::{Aggregate, Expr, Nulls, Order, OrderBy, Output, RowLock, Select};
use crate::stream::RowStream;
use crate::types::ColumnType;
use crate::write::{DeleteWhere, UpdateWhere, WriteOp};

/// A query of `E`: narrow it, then end it with a method that runs it.
///
/// Mistakes (a value that cannot be bound, a relation that does not exist) are remembered and
/// reported when the query runs, before anything is sent.
#[derive(Debug)]
#[must_use = "a query does nothing until it is run, for example with .all().await"]
pub struct Query<'a, E> {
    pub(crate) db: &'a Db,
    pub(crate) select: Select,
    pub(crate) error: Option<Error>,
    pub(crate) timeout: Option<Duration>,
    after: Option<Cursor>,
    before: Option<Cursor>,
    total: bool,
    marker: PhantomData<fn() -> E>,
}

impl<'a, E: Entity> Query<'a, E> {
    pub(crate) fn new(db: &'a Db) -> Self {
        Self {
            db,
            select: Select::new(E::TABLE),
            error: None,
            timeout: None,
            after: None,
            before: None,
            total: false,
            marker: PhantomData,
        }
    }

    /// Takes only rows that satisfy the predicate too.
    pub fn filter(mut self, predicate: Predicate<E>) -> Self {
        match predicate.into_filter() {
            Ok(filter) => {
                let own = std::mem::replace(&mut self.select.filter, Filter::All);
                self.select.filter = own.and(filter);
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Filters only if there is something to filter by.
    pub fn filter_opt(self, predicate: Option<Predicate<E>>) -> Self {
        match predicate {
            Some(predicate) => self.filter(predicate),
            None => self,
        }
    }

    /// The one row with this key.
    pub fn by_key(self, key: E::Key) -> ByKey<'a, E> {
        ByKey(match key_filter::<E>(key) {
            Ok(filter) => self.filter(filter.into()),
            Err(error) => Self {
                error: self.error.or(Some(error)),
                ..self
            },
        })
    }

    /// Orders by this; several calls order by one after the other. Ties come in any order.
    pub fn order(mut self, order: Order<E>) -> Self {
        self.select.order.push(order.into_order_by());
        self
    }

    /// At most this many rows.
    pub fn limit(mut self, limit: u64) -> Self {
        self.select.limit = Some(limit);
        self
    }

    /// At most this many rows, or fewer where the query says so already.
    pub(crate) fn at_most(self, rows: u64) -> Self {
        let limit = self.select.limit.map_or(rows, |own| own.min(rows));
        self.limit(limit)
    }

    /// Leaves out this many rows first. For paging prefer [`page`](Self::page), whose cost does
    /// not grow with the position.
    pub fn offset(mut self, offset: u64) -> Self {
        self.select.offset = offset;
        self
    }

    /// Leaves out duplicate rows of the output; useful with [`select`](Self::select).
    pub fn distinct(mut self) -> Self {
        self.select.distinct = true;
        self
    }

    /// The deadline of this query instead of the handle's: of each of its statements, where it
    /// takes several (relations, totals), and of a stream's every wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Groups the rows by a column, or a tuple of them; end with [`select`](Self::select).
    pub fn group_by(mut self, columns: impl Columns<E>) -> Self {
        columns.push(&mut self.select.group_by);
        self
    }

    /// Takes only groups that satisfy the predicate, which may compare aggregates.
    pub fn having(mut self, predicate: Predicate<E>) -> Self {
        match predicate.into_filter() {
            Ok(filter) => {
                let own = std::mem::replace(&mut self.select.having, Filter::All);
                self.select.having = own.and(filter);
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Reads only some columns or aggregates, as a tuple:
    /// `.select((Post::ID, Post::TITLE)).all()`.
    pub fn select<P: Project<E> + 'static>(mut self, items: P) -> Projected<'a, E, P> {
        let mut exprs = Vec::new();
        items.push(&mut exprs);
        self.select.output = Output::Exprs(exprs);
        Projected::new(self)
    }

    /// Keeps the rows from being changed, deleted or locked by others until this transaction ends;
    /// waits for those that hold one of them. The rows are read as they are then. Only on the
    /// handle of a transaction that writes; relations of a loading plan are not locked.
    ///
    /// ```
    /// # use larder_core::{Db, Memory, Result, models::{NewTag, Tag}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
    /// # let db = Db::new(Memory::new());
    /// # db.insert_all(["b", "a"].map(NewTag::new)).await?;
    /// // Each worker takes another one.
    /// let taken = db
    ///     .transaction(|tx| async move {
    ///         let next = tx.query::<Tag>().order(Tag::NAME.asc()).for_update().skip_locked();
    ///         let Some(tag) = next.first().await? else { return Ok(None) };
    ///         tx.delete::<Tag>(tag.id).await?;
    ///         Result::Ok(Some(tag.name))
    ///     })
    ///     .await?;
    /// assert_eq!(taken.as_deref(), Some("a"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Misuse` outside of a transaction that writes, or with distinct, groups or aggregates.
    pub fn for_update(mut self) -> Self {
        self.select.lock = Some(RowLock::Wait);
        self
    }

    /// After [`for_update`](Self::for_update): leaves out rows that others have locked.
    pub fn skip_locked(self) -> Self {
        self.lock_as(RowLock::SkipLocked)
    }

    /// After [`for_update`](Self::for_update): answers `Busy` at once if others have locked one
    /// of the rows.
    pub fn nowait(self) -> Self {
        self.lock_as(RowLock::NoWait)
    }

    fn lock_as(mut self, lock: RowLock) -> Self {
        if self.select.lock.is_none() {
            let error = Error::misuse("skip_locked and nowait come after `for_update()`");
            self.error.get_or_insert(error.with_table(E::TABLE.name));
        }
        self.select.lock = Some(lock);
        self
    }

    /// Pages begin after this place; see [`page`](Self::page).
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Pages end before this place; see [`page`](Self::page).
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.before = Some(cursor);
        self
    }

    /// Pages also count all rows of the query, for one more statement each.
    pub fn with_total(mut self) -> Self {
        self.total = true;
        self
    }

    /// The select, or the first mistake made in building it.
    pub(crate) fn checked(mut self) -> Result<(&'a Db, Select, Option<Duration>)> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.after.is_some() || self.before.is_some() || self.total {
            return Err(Error::misuse(
                "after, before and with_total are for pages: end with page(size)",
            )
            .with_table(E::TABLE.name));
        }
        search::lead(&mut self.select)?;
        check::select(&self.select)?;
        check::lock(self.db, &self.select)?;
        check::engine(self.db.capabilities(), &self.select)?;
        Ok((self.db, self.select, self.timeout))
    }

    /// Checks and begins the read at once; see [`Db::read`].
    pub(crate) fn run(
        self,
        rows: Rows,
        site: Site,
    ) -> impl Future<Output = Result<Rows>> + Send + use<'a, E> {
        let checked = self.checked();
        let reading = checked.map(|(db, select, timeout)| db.read(timeout, select, rows, site));
        async move { reading?.await }
    }

    /// All rows.
    #[track_caller]
    pub fn all(self) -> impl Future<Output = Result<Vec<E>>> + Send + 'a {
        let site = Location::caller();
        async move { self.run(Rows::collect(E::from_row), site).await?.into_vec() }
    }

    /// The first row by the query's order, if there is any.
    #[track_caller]
    pub fn first(self) -> impl Future<Output = Result<Option<E>>> + Send + 'a {
        let site = Location::caller();
        async move {
            let rows = self
                .at_most(1)
                .run(Rows::new(First::new(E::from_row)), site)
                .await?;
            Ok(rows.into_sink::<First<E>>()?.row)
        }
    }

    /// The only row.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Misuse` if there are several.
    #[track_caller]
    pub fn one(self) -> impl Future<Output = Result<E>> + Send + 'a {
        let site = Location::caller();
        async move {
            let mut rows: Vec<E> = self
                .at_most(2)
                .run(Rows::collect(E::from_row), site)
                .await?
                .into_vec()?;
            match (rows.pop(), rows.is_empty()) {
                (Some(row), true) => Ok(row),
                (None, _) => Err(
                    Error::new(ErrorKind::NotFound, "no row satisfies the query")
                        .with_table(E::TABLE.name),
                ),
                (Some(_), false) => Err(Error::misuse(
                    "several rows satisfy a query that asked for the only one",
                )
                .with_table(E::TABLE.name)),
            }
        }
    }

    /// All rows as the loading plan `L`: one query for the rows and one per relation and level.
    #[track_caller]
    pub fn load<L: Load<Entity = E>>(self) -> impl Future<Output = Result<Vec<L>>> + Send + 'a {
        let site = Location::caller();
        async move {
            let loader = Loader {
                db: self.db,
                timeout: self.timeout,
                site,
            };
            let mut query = self;
            query.select.output = Output::Exprs(columns_of::<L>());
            let rows = query
                .run(Rows::collect(|row| L::decode(row, 0)), site)
                .await?
                .into_vec()?;
            L::finish(loader, rows).await
        }
    }

    /// A page of at most `size` rows, found by position in the order and not by counting, so
    /// that page 1,000 costs what page 1 costs and rows inserted meanwhile shift nothing. Ties
    /// are broken by the key.
    ///
    /// # Errors
    /// `Misuse` for a cursor of another query, one that was changed, or an order by an
    /// aggregate or a rank.
    #[track_caller]
    pub fn page(self, size: u64) -> impl Future<Output = Result<Page<E>>> + Send + 'a {
        self.page_of::<E>(size)
    }

    /// A [`page`](Self::page) of the loading plan `L`.
    #[track_caller]
    pub fn page_of<L: Load<Entity = E>>(
        self,
        size: u64,
    ) -> impl Future<Output = Result<Page<L>>> + Send + 'a {
        let site = Location::caller();
        async move {
            let mut query = self;
            let place = Place::new(query.after.take(), query.before.take())?;
            let total = std::mem::take(&mut query.total);
            let (db, select, timeout) = query.checked()?;
            let pages = PageQuery::new(select, size, total, timeout)?;
            pages.run(db, place, site).await
        }
    }

    /// How many rows satisfy the query; limit and offset count.
    #[track_caller]
    pub fn count(self) -> impl Future<Output = Result<u64>> + Send + 'a {
        let site = Location::caller();
        async move {
            if !self.select.group_by.is_empty() {
                return Err(Error::misuse(
                    "a grouped query has a count for each group: select `count()`",
                )
                .with_table(E::TABLE.name));
            }
            let (limit, offset) = (self.select.limit, self.select.offset);
            let mut query = self;
            query.select.output = Output::Exprs(vec![Expr::Aggregate(Aggregate::Count, None)]);
            query.select.order.clear();
            (query.select.limit, query.select.offset) = (None, 0);
            let rows = query
                .run(Rows::new(First::new(|row| get::<i64>(row, 0))), site)
                .await?;
            let all = rows
                .into_sink::<First<i64>>()?
                .row
                .unwrap_or(0)
                .unsigned_abs();
            Ok(all.saturating_sub(offset).min(limit.unwrap_or(u64::MAX)))
        }
    }

    /// Whether any row satisfies the query.
    #[track_caller]
    pub fn exists(self) -> impl Future<Output = Result<bool>> + Send + 'a {
        let site = Location::caller();
        async move {
            let mut query = self.at_most(1);
            query.select.order.clear();
            query.select.output = Output::Exprs(vec![Expr::Column(E::TABLE.key[0])]);
            let rows = query.run(Rows::new(First::new(|_| Ok(()))), site).await?;
            Ok(rows.into_sink::<First<()>>()?.row.is_some())
        }
    }

    /// The rows one by one, read as fast as they are taken; at most a few hundred are in memory.
    #[track_caller]
    pub fn stream(self) -> RowStream<'a, E> {
        RowStream::new(self, E::from_row, Location::caller())
    }

    /// How the store would execute the query, in its own words.
    #[track_caller]
    pub fn explain(self) -> impl Future<Output = Result<String>> + Send + 'a {
        let site = Location::caller();
        async move {
            let (db, select, timeout) = self.checked()?;
            let explain = db.storage().explain(select);
            db.control_within(db.limit(timeout), Control::Explain, site, explain)
                .await
        }
    }

    /// Changes every row the query takes, by a patch or by [`Change`]s
    /// (`Post::VIEWS.add(1)`), and says how many. `updated_at` and the version move too.
    ///
    /// # Errors
    /// `Misuse` if the query has an order, a limit or an offset: an update takes a filter only.
    #[track_caller]
    pub fn update(
        self,
        changes: impl IntoChanges<E>,
    ) -> impl Future<Output = Result<u64>> + Send + 'a {
        let site = Location::caller();
        let changes = changes.into_changes();
        async move {
            let set = finish_changes::<E>(self.db, changes?)?;
            let (db, select, timeout) = self.only_filter("update")?.checked()?;
            if set.is_empty() {
                return Ok(0);
            }
            let op = WriteOp::Update(UpdateWhere {
                table: E::TABLE,
                set,
                filter: select.filter,
            });
            let written = db.write_within(timeout, op, None, Rows::discard(), site);
            Ok(written.await?.0.rows)
        }
    }

    /// Deletes every row the query takes and says how many.
    ///
    /// # Errors
    /// `Misuse` if the query has an order, a limit or an offset; `Reference` if other rows still
    /// refer to one.
    #[track_caller]
    pub fn delete(self) -> impl Future<Output = Result<u64>> + Send + 'a {
        let site = Location::caller();
        async move {
            let (db, select, timeout) = self.only_filter("delete")?.checked()?;
            let op = WriteOp::Delete(DeleteWhere {
                table: E::TABLE,
                filter: select.filter,
            });
            let written = db.write_within(timeout, op, None, Rows::discard(), site);
            Ok(written.await?.0.rows)
        }
    }

    fn only_filter(self, what: &str) -> Result<Self> {
        let select = &self.select;
        let plain = select.order.is_empty()
            && select.limit.is_none()
            && select.offset == 0
            && !select.distinct
            && select.group_by.is_empty()
            && select.lock.is_none()
            && matches!(select.having, Filter::All);
        if plain {
            return Ok(self);
        }
        Err(Error::misuse(format!(
            "{what} takes a filter only: leave out order, limit, offset, distinct, groups and locks"
        ))
        .with_table(E::TABLE.name))
    }
}

/// The query of the one row with a key.
#[derive(Debug)]
#[must_use = "a query does nothing until it is run, for example with .get().await"]
pub struct ByKey<'a, E>(Query<'a, E>);

impl<'a, E: Entity> ByKey<'a, E> {
    /// The row, if there is one.
    #[track_caller]
    pub fn get(self) -> impl Future<Output = Result<Option<E>>> + Send + 'a {
        let site = Location::caller();
        async move {
            let rows = self.0.run(Rows::new(First::new(E::from_row)), site).await?;
            Ok(rows.into_sink::<First<E>>()?.row)
        }
    }

    /// The row as the loading plan `L`, if there is one.
    #[track_caller]
    pub fn load<L: Load<Entity = E>>(self) -> impl Future<Output = Result<Option<L>>> + Send + 'a {
        let loading = self.0.load::<L>();
        async move { Ok(loading.await?.pop()) }
    }
}

/// One column, or a tuple of up to six.
pub trait Columns<E> {
    /// Adds the columns' positions.
    fn push(&self, columns: &mut Vec<usize>);
}

impl<E: Entity, T: ColumnType> Columns<E> for Column<E, T> {
    fn push(&self, columns: &mut Vec<usize>) {
        const { comparable::<T>() };
        columns.push(self.index());
    }
}

macro_rules! tuples_of_columns {
    ($(($($name:ident $at:tt),+)),+) => {$(
        impl<E: Entity, $($name: ColumnType),+> Columns<E> for ($(Column<E, $name>,)+) {
            fn push(&self, columns: &mut Vec<usize>) {
                $(Columns::push(&self.$at, columns);)+
            }
        }
    )+};
}

tuples_of_columns!(
    (A 0), (A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3), (A 0, B 1, C 2, D 3, F 4),
    (A 0, B 1, C 2, D 3, F 4, G 5)
);

/// What an update can be given: a patch, a [`Change`], or an array or `Vec` of changes.
pub trait IntoChanges<E> {
    /// The changes.
    fn into_changes(self) -> Result<Changes>;
}

impl<P: Patch> IntoChanges<P::Entity> for P {
    fn into_changes(self) -> Result<Changes> {
        let mut changes = Changes::default();
        Patch::into_changes(self, &mut changes)?;
        Ok(changes)
    }
}

impl<E: Entity> IntoChanges<E> for Change<E> {
    fn into_changes(self) -> Result<Changes> {
        [self].into_changes()
    }
}

impl<E: Entity, const N: usize> IntoChanges<E> for [Change<E>; N] {
    fn into_changes(self) -> Result<Changes> {
        collect_changes(self)
    }
}

impl<E: Entity> IntoChanges<E> for Vec<Change<E>> {
    fn into_changes(self) -> Result<Changes> {
        collect_changes(self)
    }
}

fn collect_changes<E>(list: impl IntoIterator<Item = Change<E>>) -> Result<Changes> {
    let mut changes = Changes::default();
    for change in list {
        let (column, assign) = change.into_assign()?;
        changes.assign(column, assign);
    }
    Ok(changes)
}

/// Checks the changes and adds `updated_at` and the version, unless nothing changes.
pub(crate) fn finish_changes<E: Entity>(
    db: &Db,
    mut changes: Changes,
) -> Result<Vec<(usize, crate::column::Assign)>> {
    use crate::column::Assign;
    use crate::value::Value;

    for (at, assign) in &changes.0 {
        if let Assign::Set(value) = assign {
            check_value(E::TABLE, *at, value)?;
        }
    }
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let set = |column: usize| changes.0.iter().any(|(at, _)| *at == column);
    let stamp = E::TABLE.updated_at.filter(|&at| !set(at));
    let count = E::TABLE.version.filter(|&at| !set(at));
    if let Some(at) = stamp {
        changes.set(at, Value::Timestamp(db.now()));
    }
    if let Some(at) = count {
        changes.assign(at, Assign::Add(Value::Int(1)));
    }
    Ok(changes.0)
}

/// The filter that pins a key.
pub(crate) fn key_filter<E: Entity>(key: E::Key) -> Result<Filter> {
    let values = key
        .into_values()
        .map_err(|e| e.or_column(E::TABLE.name, E::TABLE.columns[E::TABLE.key[0]].name))?;
    let mut pins = E::TABLE
        .key
        .iter()
        .zip(values)
        .map(|(&at, value)| Filter::Compare {
            left: Expr::Column(at),
            op: Comparison::Eq,
            value,
        });
    match (pins.next(), E::TABLE.key.len()) {
        (Some(pin), 1) => Ok(pin),
        (first, _) => Ok(Filter::And(first.into_iter().chain(pins).collect())),
    }
}

/// The columns of a loading plan as expressions.
pub(crate) fn columns_of<L: Load>() -> Vec<Expr> {
    L::columns().into_iter().map(Expr::Column).collect()
}

/// Adds the key to the order, so that no two rows tie.
pub(crate) fn break_ties(select: &mut Select) {
    for &at in select.table.key {
        let expr = Expr::Column(at);
        if !select.order.iter().any(|by| by.expr == expr) {
            // The direction of the last step, so that one index can serve the whole order.
            let descending = select.order.last().is_some_and(|by| by.descending);
            let nulls = if descending {
                Nulls::First
            } else {
                Nulls::Last
            };
            select.order.push(OrderBy {
                expr,
                descending,
                nulls,
            });
        }
    }
}

/// Keeps the first row.
pub(crate) struct First<T> {
    pub(crate) row: Option<T>,
    decode: fn(&dyn Row) -> Result<T>,
}

impl<T> First<T> {
    pub(crate) fn new(decode: fn(&dyn Row) -> Result<T>) -> Self {
        Self { row: None, decode }
    }
}

impl<T: Send + 'static> Sink for First<T> {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        self.row = Some((self.decode)(row)?);
        Ok(Flow::Stop)
    }

    fn restart(&mut self) -> bool {
        self.row = None;
        true
    }
}
