//! [`RawSql`]: statements in the engine's own SQL, typed on both sides.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::{Db, Site};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::{Bind, RawAccess, RawParam, RawStatement, SqlRow, SqlText};
use crate::rows::{Flow, Row, Rows, Sink};
use crate::types::ColumnType;
use crate::write::Written;

impl Db {
    /// Starts a statement in the SQL of the engine ([`Capabilities::raw_sql`]), for what queries
    /// cannot say: window functions, recursive queries, set operations.
    ///
    /// Values stand in the text as `$1`, `$2` and so on, and are bound in this order; a text that
    /// was not written in the source code does not compile. It is one statement that reads or
    /// changes rows, seen and bounded like any other: events show its text and not its values.
    /// Columns that hold what the engine keeps in its own way (timestamps and decimals on SQLite)
    /// are computed with in its own way.
    ///
    /// ```
    /// # use larder_core::{Db, Result, SqlRow};
    /// #[derive(SqlRow)]
    /// struct Ranked {
    ///     title: String,
    ///     place: i64,
    /// }
    ///
    /// async fn newest_of(db: &Db, author: i64) -> Result<Vec<Ranked>> {
    ///     db.sql(
    ///         "SELECT title, ROW_NUMBER() OVER (ORDER BY created_at DESC) AS place
    ///          FROM posts WHERE author_id = $1 ORDER BY place LIMIT 3",
    ///     )
    ///     .bind(author)
    ///     .rows::<Ranked>()
    ///     .await
    /// }
    /// ```
    ///
    /// [`Capabilities::raw_sql`]: crate::Capabilities::raw_sql
    pub fn sql(&self, text: impl Into<SqlText>) -> RawSql<'_> {
        RawSql {
            db: self,
            text: text.into(),
            params: Ok(Vec::new()),
            timeout: None,
        }
    }
}

/// A statement in the engine's own SQL; made by [`Db::sql`].
///
/// All its methods answer `Unsupported` where the engine takes no SQL, and `Misuse`, with nothing
/// sent, if the text begins with another word than one that reads or changes rows, has more or
/// fewer placeholders than values are bound, or brings other columns than asked for.
#[derive(Debug)]
#[must_use = "a statement does nothing until it is run, for example with .rows::<(i64,)>().await"]
pub struct RawSql<'a> {
    db: &'a Db,
    text: SqlText,
    params: Result<Vec<RawParam>>,
    timeout: Option<Duration>,
}

impl<'a> RawSql<'a> {
    /// Binds the next placeholder to the value. `None::<T>` is NULL.
    pub fn bind(self, value: impl Bind) -> Self {
        self.push(value.into_param())
    }

    /// Binds the next placeholder to a list: `= ANY($1)` on PostgreSQL, `IN rarray($1)` on SQLite.
    pub fn bind_list<T: ColumnType>(self, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(T::into_value);
        let list = values.collect::<Result<Vec<_>>>();
        self.push(list.map(|values| RawParam::List(values, T::KIND)))
    }

    /// The deadline of this statement instead of the handle's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn push(mut self, param: Result<RawParam>) -> Self {
        if let Ok(params) = &mut self.params {
            match param {
                Ok(param) => params.push(param),
                Err(error) => self.params = Err(error),
            }
        }
        self
    }

    /// All the rows of a statement that reads.
    ///
    /// # Errors
    /// `ReadOnly` if the statement writes, of which nothing is kept; `Decode`, naming the column,
    /// for a value that is not of the type asked for.
    #[track_caller]
    pub fn rows<T: SqlRow>(self) -> impl Future<Output = Result<Vec<T>>> + Send + 'a {
        self.all(RawAccess::Read, Location::caller())
    }

    /// The first row of a statement that reads, if there is any.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    #[track_caller]
    pub fn first<T: SqlRow>(self) -> impl Future<Output = Result<Option<T>>> + Send + 'a {
        let site = Location::caller();
        async move { Ok(self.at_most::<T>(1, site).await?.pop()) }
    }

    /// The only row of a statement that reads.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Misuse` if there are several; else as [`rows`](Self::rows).
    #[track_caller]
    pub fn one<T: SqlRow>(self) -> impl Future<Output = Result<T>> + Send + 'a {
        let site = Location::caller();
        async move {
            let mut rows = self.at_most::<T>(2, site).await?;
            match (rows.pop(), rows.is_empty()) {
                (Some(row), true) => Ok(row),
                (None, _) => Err(Error::new(
                    ErrorKind::NotFound,
                    "the statement brought no row",
                )),
                (Some(_), false) => Err(Error::misuse(
                    "a statement that was to bring the only row brought several",
                )),
            }
        }
    }

    /// Runs a statement that writes and says how many rows it inserted, changed or deleted (those
    /// a cascade took not counted). All or nothing; `updated_at` and versions are its own matter.
    ///
    /// # Errors
    /// As any write: `Unique` and the like, not always with the name of the constraint.
    #[track_caller]
    pub fn execute(self) -> impl Future<Output = Result<u64>> + Send + 'a {
        let site = Location::caller();
        async move {
            let written = self.run(RawAccess::Write, None, Rows::discard(), site);
            Ok(written.await?.0.rows)
        }
    }

    /// Runs a statement that writes and answers its rows (`INSERT .. RETURNING ..`).
    ///
    /// # Errors
    /// As [`execute`](Self::execute). `Decode` says of itself that the write was applied.
    #[track_caller]
    pub fn returning<T: SqlRow>(self) -> impl Future<Output = Result<Vec<T>>> + Send + 'a {
        self.all(RawAccess::Write, Location::caller())
    }

    async fn all<T: SqlRow>(self, access: RawAccess, site: Site) -> Result<Vec<T>> {
        let rows = Rows::collect(T::read);
        let ran = self.run(access, Some(T::columns), rows, site).await?;
        ran.1.into_vec()
    }

    async fn at_most<T: SqlRow>(self, most: usize, site: Site) -> Result<Vec<T>> {
        let sink: Few<T> = Few {
            rows: Vec::with_capacity(most),
            most,
        };
        let ran = self.run(RawAccess::Read, Some(T::columns), Rows::new(sink), site);
        Ok(ran.await?.1.into_sink::<Few<T>>()?.rows)
    }

    async fn run(
        self,
        access: RawAccess,
        columns: Option<fn() -> Vec<crate::raw::SqlColumn>>,
        rows: Rows,
        site: Site,
    ) -> Result<(Written, Rows)> {
        let mut statement = RawStatement::new(self.text, access)?;
        statement.params = self.params?;
        statement.columns = columns.map(|columns| columns());
        self.db.run_sql(self.timeout, statement, rows, site).await
    }
}

/// Keeps the first rows.
struct Few<T> {
    rows: Vec<T>,
    most: usize,
}

impl<T: SqlRow> Sink for Few<T> {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        self.rows.push(T::read(row)?);
        Ok(if self.rows.len() < self.most {
            Flow::More
        } else {
            Flow::Stop
        })
    }

    fn restart(&mut self) -> bool {
        self.rows.clear();
        true
    }
}
