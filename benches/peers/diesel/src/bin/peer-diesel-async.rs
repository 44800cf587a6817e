//! diesel-async with a deadpool (<https://docs.rs/diesel-async/0.9/diesel_async/pooled_connection/>);
//! SQLite through its `SyncConnectionWrapper`, PostgreSQL by its own driver.
//!
//! Switched off, to its advantage: the pool's test query before each use of a connection.

use std::process::ExitCode;

use diesel::{QueryableByName, SqliteConnection};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use peers_common::{Engine, NewUser, Peer, Result, Seen, Target};

type AsyncSqlite = SyncConnectionWrapper<SqliteConnection>;

#[derive(Clone)]
enum DieselAsync {
    Sqlite(Pool<AsyncSqlite>),
    Postgres(Pool<AsyncPgConnection>),
}

macro_rules! queries {
    ($engine:ident, $connection:ty) => {
        mod $engine {
            use diesel::prelude::{
                BelongingToDsl, ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper,
            };
            use diesel_async::RunQueryDsl;
            use diesel_async::pooled_connection::deadpool::Pool;
            use peer_diesel::PostStatus;
            use peer_diesel::$engine::*;
            use peers_common::{Result, Seen};

            pub async fn first_users(pool: &Pool<$connection>, count: i64) -> Result<Seen> {
                let mut connection = pool.get().await?;
                let users = users::table
                    .order(users::id)
                    .limit(count)
                    .select(User::as_select())
                    .load(&mut connection)
                    .await?;
                Ok(seen_users(&users))
            }

            pub async fn user(pool: &Pool<$connection>, id: i64) -> Result<Seen> {
                let mut connection = pool.get().await?;
                let user = users::table
                    .find(id)
                    .select(User::as_select())
                    .first(&mut connection)
                    .await
                    .optional()?;
                Ok(seen_users(&user))
            }

            pub async fn newest(pool: &Pool<$connection>, count: i64) -> Result<Seen> {
                let mut connection = pool.get().await?;
                let posts = posts::table
                    .inner_join(users::table)
                    .filter(posts::status.eq(PostStatus::Published))
                    .filter(users::is_active.eq(true))
                    .order((posts::created_at.desc(), posts::id.desc()))
                    .limit(count)
                    .select((Post::as_select(), User::as_select()))
                    .load(&mut connection)
                    .await?;
                Ok(seen_pairs(&posts))
            }

            pub async fn authors(pool: &Pool<$connection>, count: i64) -> Result<Seen> {
                let mut connection = pool.get().await?;
                let users = users::table
                    .order(users::id)
                    .limit(count)
                    .select(User::as_select())
                    .load(&mut connection)
                    .await?;
                let posts = Post::belonging_to(&users)
                    .order(posts::id)
                    .select(Post::as_select())
                    .load(&mut connection)
                    .await?;
                let comments = Comment::belonging_to(&posts)
                    .order(comments::id)
                    .select(Comment::as_select())
                    .load(&mut connection)
                    .await?;
                Ok(seen_loaded(&group(users, posts, comments)))
            }

            pub async fn comments(pool: &Pool<$connection>) -> Result<Seen> {
                let mut connection = pool.get().await?;
                let comments = comments::table
                    .select(Comment::as_select())
                    .load(&mut connection)
                    .await?;
                Ok(seen_comments(&comments))
            }

            pub async fn insert(pool: &Pool<$connection>, user: NewUser) -> Result<Seen> {
                let mut connection = pool.get().await?;
                let stored = diesel::insert_into(users::table)
                    .values(user)
                    .returning(User::as_returning())
                    .get_result(&mut connection)
                    .await?;
                std::hint::black_box(stored);
                Ok(Seen::written(1))
            }
        }
    };
}

queries!(sqlite, crate::AsyncSqlite);
queries!(postgres, diesel_async::AsyncPgConnection);

/// SQLite takes many rows in one statement from Diesel, but not from diesel-async, whose wrapper
/// lends the inner connection for such things.
async fn insert_all_sqlite(
    pool: &Pool<AsyncSqlite>,
    users: Vec<peer_diesel::sqlite::NewUser>,
) -> Result<Seen> {
    let mut connection = pool.get().await?;
    let rows = connection
        .spawn_blocking(move |connection| peer_diesel::insert_all_sqlite(connection, &users))
        .await?;
    Ok(Seen::written(rows))
}

/// One statement: 10,000 rows of four values are below PostgreSQL's limit.
async fn insert_all_postgres(
    pool: &Pool<AsyncPgConnection>,
    users: Vec<peer_diesel::postgres::NewUser>,
) -> Result<Seen> {
    let rows = diesel::insert_into(peer_diesel::postgres::users::table)
        .values(users)
        .execute(&mut pool.get().await?)
        .await?;
    Ok(Seen::written(rows))
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

impl Peer for DieselAsync {
    type New = NewUser;

    const NAME: &'static str = "diesel-async 0.9.2 with Diesel 2.3.14";

    async fn open(target: &Target) -> Result<Self> {
        let size = target.pool as usize;
        Ok(match target.engine {
            Engine::Sqlite => {
                let pragmas = target.pragma_sql();
                let mut config = ManagerConfig::default();
                config.recycling_method = RecyclingMethod::Fast;
                config.custom_setup = Box::new(move |url| {
                    let (url, pragmas) = (url.to_owned(), pragmas.clone());
                    async move {
                        let mut connection = AsyncSqlite::establish(&url).await?;
                        let told = connection.batch_execute(&pragmas).await;
                        told.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
                        Ok(connection)
                    }
                    .boxed()
                });
                let manager = AsyncDieselConnectionManager::new_with_config(target.path(), config);
                Self::Sqlite(Pool::builder(manager).max_size(size).build()?)
            }
            Engine::Postgres => {
                let mut config = ManagerConfig::default();
                config.recycling_method = RecyclingMethod::Fast;
                let manager = AsyncDieselConnectionManager::new_with_config(&target.url, config);
                Self::Postgres(Pool::builder(manager).max_size(size).build()?)
            }
        })
    }

    async fn engine_version(&self) -> Result<String> {
        Ok(match self {
            Self::Sqlite(pool) => {
                let query = diesel::sql_query("SELECT sqlite_version() AS version");
                let Version { version } = query.get_result(&mut pool.get().await?).await?;
                format!("SQLite {version}")
            }
            Self::Postgres(pool) => {
                let sql = "SELECT current_setting('server_version') AS version";
                let query = diesel::sql_query(sql);
                let Version { version } = query.get_result(&mut pool.get().await?).await?;
                format!("PostgreSQL {version}")
            }
        })
    }

    async fn users(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::first_users(pool, count).await,
            Self::Postgres(pool) => postgres::first_users(pool, count).await,
        }
    }

    async fn newest(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::newest(pool, count).await,
            Self::Postgres(pool) => postgres::newest(pool, count).await,
        }
    }

    async fn authors(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::authors(pool, count).await,
            Self::Postgres(pool) => postgres::authors(pool, count).await,
        }
    }

    async fn comments(&self) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::comments(pool).await,
            Self::Postgres(pool) => postgres::comments(pool).await,
        }
    }

    async fn user(&self, id: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::user(pool, id).await,
            Self::Postgres(pool) => postgres::user(pool, id).await,
        }
    }

    fn prepare(user: NewUser) -> NewUser {
        user
    }

    async fn insert(&self, user: NewUser) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => sqlite::insert(pool, user.into()).await,
            Self::Postgres(pool) => postgres::insert(pool, user.into()).await,
        }
    }

    async fn insert_all(&self, users: Vec<NewUser>) -> Result<Seen> {
        match self {
            Self::Sqlite(pool) => {
                insert_all_sqlite(pool, users.into_iter().map(Into::into).collect()).await
            }
            Self::Postgres(pool) => {
                insert_all_postgres(pool, users.into_iter().map(Into::into).collect()).await
            }
        }
    }
}

fn main() -> ExitCode {
    peers_common::main::<DieselAsync>()
}
