//! Inserts, upserts, updates and deletes.

use std::future::Future;
use std::panic::Location;

use super::{Db, Site, not_found};
use crate::check;
use crate::column::{Assign, ConstraintTarget};
use crate::entity::{self, Entity, Insert};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Filter, Predicate};
use crate::query::{Columns, First, IntoChanges, finish_changes, key_filter};
use crate::rows::Rows;
use crate::select::Output;
use crate::storage::TxOptions;
use crate::value::Value;
use crate::write::{
    ConflictAction, DeleteWhere, InsertRows, OnConflict, UpdateRows, UpdateWhere, WriteOp,
};

impl Db {
    /// Inserts one row and returns it as stored.
    ///
    /// # Errors
    /// `Unique` and `Reference` tell which constraint by [`Error::violates`]; `TooLong` and
    /// `Invalid` name the column, and nothing was sent.
    #[track_caller]
    pub fn insert<I: Insert>(&self, row: I) -> impl Future<Output = Result<I::Entity>> + Send + '_ {
        let (site, insert) = (Location::caller(), insert_rows(self, [row]));
        async move {
            let rows = Rows::new(First::new(I::Entity::from_row));
            let op = WriteOp::Insert(insert?);
            let (_, rows) = self.write(op, Some(Output::Entity), rows, site).await?;
            rows.into_sink::<First<I::Entity>>()?.row.ok_or_else(no_row)
        }
    }

    /// Inserts any number of rows, all or none, and says how many. Never meets a bind limit.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    #[track_caller]
    pub fn insert_all<I: Insert>(
        &self,
        rows: impl IntoIterator<Item = I>,
    ) -> impl Future<Output = Result<u64>> + Send + '_ {
        let (site, insert) = (Location::caller(), insert_rows(self, rows));
        async move {
            let insert = insert?;
            if insert.values.is_empty() {
                return Ok(0);
            }
            Ok(self
                .write(WriteOp::Insert(insert), None, Rows::discard(), site)
                .await?
                .0
                .rows)
        }
    }

    /// Inserts any number of rows, all or none, and returns them as stored, in the order given.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    #[track_caller]
    pub fn insert_all_returning<I: Insert>(
        &self,
        rows: impl IntoIterator<Item = I>,
    ) -> impl Future<Output = Result<Vec<I::Entity>>> + Send + '_ {
        let (site, insert) = (Location::caller(), insert_rows(self, rows));
        async move { self.insert_returning::<I::Entity>(insert?, site).await }
    }

    async fn insert_returning<E: Entity>(&self, insert: InsertRows, site: Site) -> Result<Vec<E>> {
        if insert.values.is_empty() {
            return Ok(Vec::new());
        }
        let rows = Rows::collect(E::from_row);
        self.write(WriteOp::Insert(insert), Some(Output::Entity), rows, site)
            .await?
            .1
            .into_vec()
    }

    /// Inserts rows, or does something else where a unique key is taken: choose with
    /// [`Upsert::on`], then [`Upsert::update`] or [`Upsert::ignore`], then run it.
    ///
    /// ```
    /// # use larder_core::{Db, Memory, models::{NewTag, Tag}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let db = Db::new(Memory::new());
    /// let tags = ["rust", "sql", "rust"].map(NewTag::new);
    /// assert_eq!(db.upsert(tags).on(Tag::NAME).ignore().run().await?, 2);
    /// # Ok(()) }
    /// ```
    pub fn upsert<I: Insert>(&self, rows: impl IntoIterator<Item = I>) -> Upsert<'_, I> {
        Upsert {
            db: self,
            insert: insert_rows(self, rows),
            target: None,
            action: None,
            condition: Ok(Filter::All),
            marker: std::marker::PhantomData,
        }
    }

    /// Changes the row with this key, by a patch or by changes, and returns it as it is then.
    /// A patch that changes nothing reads the row.
    ///
    /// # Errors
    /// `NotFound` if there is no such row; constraint errors as [`insert`](Self::insert).
    #[track_caller]
    pub fn update<E: Entity>(
        &self,
        key: E::Key,
        changes: impl IntoChanges<E>,
    ) -> impl Future<Output = Result<E>> + Send + '_ {
        let site = Location::caller();
        let changes = changes.into_changes();
        async move {
            let set = finish_changes::<E>(self, changes?)?;
            if set.is_empty() {
                return self
                    .get_at::<E>(key, site)
                    .await?
                    .ok_or_else(not_found::<E>);
            }
            self.update_one(set, key_filter::<E>(key)?, site)
                .await?
                .ok_or_else(not_found::<E>)
        }
    }

    /// Writes all columns of a row that was read before. With a `#[version]` column this
    /// succeeds only if nobody changed the row meanwhile.
    ///
    /// # Errors
    /// `Stale` if somebody did; `NotFound` if the row is gone.
    #[track_caller]
    pub fn save<E: Entity>(&self, row: E) -> impl Future<Output = Result<E>> + Send + '_ {
        let site = Location::caller();
        async move {
            let table = E::TABLE;
            let key = row.key();
            let values = row.into_values()?;
            let version = table.version.map(|at| values[at].clone());
            let set = row_changes::<E>(self, values)?;
            let mut filter = key_filter::<E>(key.clone())?;
            if let (Some(at), Some(version)) = (table.version, version) {
                filter = filter.and(equals(at, version));
            }
            if set.is_empty() {
                return self
                    .get_at::<E>(key, site)
                    .await?
                    .ok_or_else(not_found::<E>);
            }
            match self.update_one(set, filter, site).await? {
                Some(row) => Ok(row),
                None if table.version.is_some() && self.get_at::<E>(key, site).await?.is_some() => {
                    Err(stale::<E>())
                }
                None => Err(not_found::<E>()),
            }
        }
    }

    async fn update_one<E: Entity>(
        &self,
        set: Vec<(usize, Assign)>,
        filter: Filter,
        site: Site,
    ) -> Result<Option<E>> {
        let op = WriteOp::Update(UpdateWhere {
            table: E::TABLE,
            set,
            filter,
        });
        let rows = Rows::new(First::new(E::from_row));
        let (_, rows) = self.write(op, Some(Output::Entity), rows, site).await?;
        Ok(rows.into_sink::<First<E>>()?.row)
    }

    /// Writes all columns of any number of rows that were read before, each by its key, all or
    /// none, and says how many; rows that are gone are not counted.
    ///
    /// # Errors
    /// `Stale`, and nothing is written, if the model has a `#[version]` and somebody changed or
    /// deleted one of the rows meanwhile. `Misuse` if two rows have the same key.
    #[track_caller]
    pub fn update_all<E: Entity>(
        &self,
        rows: impl IntoIterator<Item = E>,
    ) -> impl Future<Output = Result<u64>> + Send + '_ {
        let (site, update) = (Location::caller(), update_rows(self, rows));
        async move {
            let update = update?;
            let expected = update.rows().len() as u64;
            if expected == 0 {
                return Ok(0);
            }
            let op = WriteOp::UpdateRows(update);
            if E::TABLE.version.is_none() {
                return Ok(self.write(op, None, Rows::discard(), site).await?.0.rows);
            }
            let tx = self.begin_tx(TxOptions::default(), site).await?;
            let written = tx.write(op, None, Rows::discard(), site).await?.0.rows;
            if written < expected {
                tx.rollback_at(site).await?;
                return Err(stale::<E>());
            }
            tx.commit_at(site).await?;
            Ok(written)
        }
    }

    /// Deletes the row with this key and says whether there was one.
    ///
    /// # Errors
    /// `Reference` if other rows still refer to it and may not go with it.
    #[track_caller]
    pub fn delete<E: Entity>(&self, key: E::Key) -> impl Future<Output = Result<bool>> + Send + '_ {
        let site = Location::caller();
        async move {
            let op = WriteOp::Delete(DeleteWhere {
                table: E::TABLE,
                filter: key_filter::<E>(key)?,
            });
            Ok(self.write(op, None, Rows::discard(), site).await?.0.rows > 0)
        }
    }
}

/// An insert that knows what to do where a unique key is taken; made by [`Db::upsert`].
#[derive(Debug)]
#[must_use = "an upsert does nothing until it is run with .run().await or .returning().await"]
pub struct Upsert<'a, I> {
    db: &'a Db,
    insert: Result<InsertRows>,
    target: Option<Vec<usize>>,
    action: Option<ConflictAction>,
    condition: Result<Filter>,
    marker: std::marker::PhantomData<fn() -> I>,
}

impl<'a, I: Insert> Upsert<'a, I> {
    /// The unique key to look at; conflicts on other keys stay errors.
    pub fn on(mut self, target: impl ConstraintTarget) -> Self {
        let (table, columns) = target.target();
        let own = I::Entity::TABLE;
        if table.is(own) && own.unique_keys().any(|key| same_columns(key, &columns)) {
            self.target = Some(columns);
        } else {
            self.insert = self.insert.and(Err(Error::misuse(format!(
                "an upsert of `{}` looks at one of its unique keys; this is none",
                own.name
            ))));
        }
        self
    }

    /// Where the key is taken, sets these columns of the old row to the new row's values; several
    /// calls add up.
    /// `updated_at` and the version move too.
    pub fn update(mut self, columns: impl Columns<I::Entity>) -> Self {
        let table = I::Entity::TABLE;
        let mut taken = match self.action.take() {
            Some(ConflictAction::Update { columns, .. }) => columns,
            _ => Vec::new(),
        };
        columns.push(&mut taken);
        let mut set = Vec::new();
        if let Some(at) = table.updated_at.filter(|at| !taken.contains(at)) {
            set.push((at, Assign::Set(Value::Timestamp(self.db.now()))));
        }
        if let Some(at) = table.version.filter(|at| !taken.contains(at)) {
            set.push((at, Assign::Add(Value::Int(1))));
        }
        self.action = Some(ConflictAction::Update {
            columns: taken,
            set,
            filter: Filter::All,
        });
        self
    }

    /// Where the key is taken, keeps the old row; the new one is not counted and not returned.
    pub fn ignore(mut self) -> Self {
        self.action = Some(ConflictAction::Ignore);
        self
    }

    /// With [`update`](Self::update): changes only the old rows that satisfy the predicate too;
    /// the others stay as they are, not counted and not returned. Several calls must all hold.
    ///
    /// The predicate sees the old row, and the new one by [`Column::lt_new`](crate::Column::lt_new)
    /// and its like; no related rows. Where it is neither true nor false (NULL), the old row stays.
    ///
    /// ```
    /// # use larder_core::{Db, Entity, Id, Memory};
    /// #[derive(Entity, Clone, Debug, PartialEq)]
    /// #[entity(table = "readings")]
    /// struct Reading {
    ///     #[key]
    ///     sensor: i64,
    ///     taken: i64,
    ///     value: f64,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let db = Db::new(Memory::new());
    /// let at = |taken, value| Reading { sensor: 1, taken, value };
    /// for reading in [at(10, 0.5), at(9, 0.1), at(11, 0.7)] {
    ///     let upsert = db.upsert([reading]).on(Reading::SENSOR);
    ///     // What comes late does not replace what is newer.
    ///     upsert.update((Reading::TAKEN, Reading::VALUE)).when(Reading::TAKEN.lt_new()).run().await?;
    /// }
    /// assert_eq!(db.find::<Reading>(1).await?, at(11, 0.7));
    /// # Ok(()) }
    /// ```
    pub fn when(mut self, predicate: Predicate<I::Entity>) -> Self {
        self.condition = match (self.condition, predicate.into_filter()) {
            (Ok(own), Ok(more)) => Ok(own.and(more)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        self
    }

    fn build(self) -> Result<(&'a Db, InsertRows)> {
        let (mut insert, condition) = (self.insert?, self.condition?);
        match (self.target, self.action) {
            (Some(target), Some(mut action)) => {
                match &mut action {
                    ConflictAction::Update {
                        columns, filter, ..
                    } => {
                        check::upsert(&insert, &condition)?;
                        refuse_unset(&insert, columns)?;
                        *filter = condition;
                    }
                    ConflictAction::Ignore if matches!(condition, Filter::All) => {}
                    ConflictAction::Ignore => {
                        return Err(Error::misuse(
                            "an upsert has a condition (`when`) only if it updates",
                        )
                        .with_table(insert.table.name));
                    }
                }
                insert.on_conflict = Some(OnConflict { target, action });
                Ok((self.db, insert))
            }
            _ => Err(Error::misuse(
                "an upsert needs .on(unique key) and .update(columns) or .ignore()",
            )),
        }
    }

    /// Runs it and says how many rows were inserted or updated.
    #[track_caller]
    pub fn run(self) -> impl Future<Output = Result<u64>> + Send + 'a
    where
        I: 'a,
    {
        let (site, built) = (Location::caller(), self.build());
        async move {
            let (db, insert) = built?;
            if insert.values.is_empty() {
                return Ok(0);
            }
            Ok(db
                .write(WriteOp::Insert(insert), None, Rows::discard(), site)
                .await?
                .0
                .rows)
        }
    }

    /// Runs it and returns the rows that were inserted or updated, as stored, in the order given.
    #[track_caller]
    pub fn returning(self) -> impl Future<Output = Result<Vec<I::Entity>>> + Send + 'a
    where
        I: 'a,
    {
        let (site, built) = (Location::caller(), self.build());
        async move {
            let (db, insert) = built?;
            db.insert_returning::<I::Entity>(insert, site).await
        }
    }
}

fn refuse_unset(insert: &InsertRows, taken: &[usize]) -> Result<()> {
    match taken.iter().find(|at| !insert.columns.contains(at)) {
        None => Ok(()),
        Some(&at) => Err(
            Error::misuse("the upsert takes a column that its rows do not set")
                .or_column(insert.table.name, insert.table.columns[at].name),
        ),
    }
}

fn same_columns(key: &[usize], columns: &[usize]) -> bool {
    key.len() == columns.len() && key.iter().all(|at| columns.contains(at))
}

fn equals(column: usize, value: Value) -> Filter {
    Filter::Compare {
        left: crate::select::Expr::Column(column),
        op: crate::filter::Comparison::Eq,
        value,
    }
}

/// Encodes and checks the rows, and adds what the layer fills in.
fn insert_rows<I: Insert>(db: &Db, rows: impl IntoIterator<Item = I>) -> Result<InsertRows> {
    let table = I::Entity::TABLE;
    let filling = entity::filling::<I>(|| db.now());
    let rows = rows.into_iter();
    let width = filling.columns.len();
    let mut values = Vec::with_capacity(rows.size_hint().0.saturating_mul(width));
    for row in rows {
        let start = values.len();
        row.into_values(&mut values)?;
        entity::check_lengths(table, I::COLUMNS, &values[start..])?;
        values.extend_from_slice(&filling.values);
    }
    Ok(InsertRows {
        table,
        columns: filling.columns,
        values,
        on_conflict: None,
    })
}

/// All columns of a row as changes, but for the key, `created_at`, and what the layer keeps.
fn row_changes<E: Entity>(db: &Db, values: Vec<Value>) -> Result<Vec<(usize, Assign)>> {
    let mut changes = crate::entity::Changes::default();
    for (at, value) in values.into_iter().enumerate() {
        if changes_with_row(E::TABLE, at) {
            changes.set(at, value);
        }
    }
    finish_changes::<E>(db, changes)
}

fn changes_with_row(table: &crate::schema::Table, at: usize) -> bool {
    !table.key.contains(&at)
        && ![table.created_at, table.updated_at, table.version].contains(&Some(at))
}

fn update_rows<E: Entity>(db: &Db, rows: impl IntoIterator<Item = E>) -> Result<UpdateRows> {
    let table = E::TABLE;
    let mut columns: Vec<usize> = table.key.to_vec();
    columns.extend(table.version);
    let by = columns.len();
    columns.extend((0..table.columns.len()).filter(|&at| changes_with_row(table, at)));
    let mut set = Vec::new();
    if let Some(at) = table.updated_at {
        set.push((at, Assign::Set(Value::Timestamp(db.now()))));
    }
    if let Some(at) = table.version {
        set.push((at, Assign::Add(Value::Int(1))));
    }
    if columns.len() == by && set.is_empty() {
        return Err(
            Error::misuse("the model has no columns besides its key: nothing to update")
                .with_table(table.name),
        );
    }
    let rows = rows.into_iter();
    let mut values = Vec::with_capacity(rows.size_hint().0.saturating_mul(columns.len()));
    for row in rows {
        let mut all = row.into_values()?;
        for &at in &columns {
            let value = std::mem::replace(&mut all[at], Value::Null);
            entity::check_value(table, at, &value)?;
            values.push(value);
        }
    }
    let update = UpdateRows {
        table,
        columns,
        by,
        values,
        set,
    };
    refuse_twice(&update)?;
    Ok(update)
}

/// Refuses two rows with the same key, of which only one could win.
fn refuse_twice(update: &UpdateRows) -> Result<()> {
    let keys = update.table.key.len();
    let mut seen = std::collections::HashSet::with_capacity_and_hasher(
        update.rows().len(),
        rustc_hash::FxBuildHasher,
    );
    if update.rows().all(|row| seen.insert(&row[..keys])) {
        return Ok(());
    }
    Err(Error::misuse("two rows of one update have the same key").with_table(update.table.name))
}

#[cold]
fn stale<E: Entity>() -> Error {
    Error::new(
        ErrorKind::Stale,
        "the row was changed by somebody else since it was read: read it again and decide anew",
    )
    .with_table(E::TABLE.name)
}

#[cold]
fn no_row() -> Error {
    Error::new(
        ErrorKind::Engine,
        "the store inserted the row but did not return it",
    )
}
