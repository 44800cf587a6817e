//! Diesel, which blocks. One by one it runs on a connection that is held, where it stands; many
//! tasks share an r2d2 pool and `spawn_blocking`, as its guide has it for async servers
//! (<https://diesel.rs/guides/getting-started>, <https://docs.rs/diesel/2.3/diesel/r2d2/>).
//!
//! Switched off, to its advantage: the pool's test query before each use of a connection.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::ExecuteCopyFromDsl;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, R2D2Connection};
use diesel::{PgConnection, QueryableByName, RunQueryDsl, SqliteConnection};
use peers_common::{Engine, NewUser, Peer, Result, Seen, Target};

/// From so many rows on, PostgreSQL gets them by COPY.
const COPY_FROM: usize = 1_000;

#[derive(Clone)]
enum Diesel {
    Sqlite(Connections<SqliteConnection>),
    Postgres(Connections<PgConnection>),
}

enum Connections<C: R2D2Connection + 'static> {
    Held(Arc<Mutex<C>>),
    Pool(Pool<ConnectionManager<C>>),
}

impl<C: R2D2Connection> Clone for Connections<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Held(connection) => Self::Held(Arc::clone(connection)),
            Self::Pool(pool) => Self::Pool(pool.clone()),
        }
    }
}

impl<C: R2D2Connection + Send + 'static> Connections<C> {
    fn open(target: &Target, url: &str, pragmas: String) -> Result<Self> {
        if !target.tasks {
            let mut connection = C::establish(url)?;
            Pragmas(pragmas).on_acquire(&mut connection)?;
            return Ok(Self::Held(Arc::new(Mutex::new(connection))));
        }
        let pool = Pool::builder()
            .max_size(target.pool)
            .test_on_check_out(false)
            .connection_customizer(Box::new(Pragmas(pragmas)))
            .build(ConnectionManager::new(url))?;
        Ok(Self::Pool(pool))
    }

    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut C) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        match self {
            Self::Held(connection) => {
                work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Self::Pool(pool) => {
                let pool = pool.clone();
                tokio::task::spawn_blocking(move || work(&mut *pool.get()?)).await?
            }
        }
    }
}

/// What every new connection is told.
#[derive(Debug)]
struct Pragmas(String);

impl<C: R2D2Connection> CustomizeConnection<C, diesel::r2d2::Error> for Pragmas {
    fn on_acquire(&self, connection: &mut C) -> std::result::Result<(), diesel::r2d2::Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        connection
            .batch_execute(&self.0)
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

macro_rules! queries {
    ($engine:ident, $connection:ty) => {
        mod $engine {
            use diesel::prelude::*;
            use peer_diesel::PostStatus;
            use peer_diesel::$engine::*;
            use peers_common::{Result, Seen};

            pub fn first_users(connection: &mut $connection, count: i64) -> Result<Seen> {
                let users = users::table
                    .order(users::id)
                    .limit(count)
                    .select(User::as_select())
                    .load(connection)?;
                Ok(seen_users(&users))
            }

            pub fn user(connection: &mut $connection, id: i64) -> Result<Seen> {
                let user = users::table
                    .find(id)
                    .select(User::as_select())
                    .first(connection)
                    .optional()?;
                Ok(seen_users(&user))
            }

            pub fn newest(connection: &mut $connection, count: i64) -> Result<Seen> {
                let posts = posts::table
                    .inner_join(users::table)
                    .filter(posts::status.eq(PostStatus::Published))
                    .filter(users::is_active.eq(true))
                    .order((posts::created_at.desc(), posts::id.desc()))
                    .limit(count)
                    .select((Post::as_select(), User::as_select()))
                    .load(connection)?;
                Ok(seen_pairs(&posts))
            }

            pub fn authors(connection: &mut $connection, count: i64) -> Result<Seen> {
                let users = users::table
                    .order(users::id)
                    .limit(count)
                    .select(User::as_select())
                    .load(connection)?;
                let posts = Post::belonging_to(&users)
                    .order(posts::id)
                    .select(Post::as_select())
                    .load(connection)?;
                let comments = Comment::belonging_to(&posts)
                    .order(comments::id)
                    .select(Comment::as_select())
                    .load(connection)?;
                Ok(seen_loaded(&group(users, posts, comments)))
            }

            pub fn comments(connection: &mut $connection) -> Result<Seen> {
                let comments = comments::table
                    .select(Comment::as_select())
                    .load(connection)?;
                Ok(seen_comments(&comments))
            }

            pub fn insert(connection: &mut $connection, user: NewUser) -> Result<Seen> {
                let stored = diesel::insert_into(users::table)
                    .values(&user)
                    .returning(User::as_returning())
                    .get_result(connection)?;
                std::hint::black_box(stored);
                Ok(Seen::written(1))
            }
        }
    };
}

queries!(sqlite, diesel::SqliteConnection);
queries!(postgres, diesel::PgConnection);

fn insert_all_postgres(
    connection: &mut PgConnection,
    users: Vec<peer_diesel::postgres::NewUser>,
) -> Result<Seen> {
    let table = peer_diesel::postgres::users::table;
    let rows = if users.len() < COPY_FROM {
        diesel::insert_into(table)
            .values(users)
            .execute(connection)?
    } else {
        let copy = diesel::copy_from(table).from_insertable(users);
        ExecuteCopyFromDsl::execute(copy, connection)?
    };
    Ok(Seen::written(rows))
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

impl Peer for Diesel {
    type New = NewUser;

    const NAME: &'static str = "Diesel 2.3.14";

    async fn open(target: &Target) -> Result<Self> {
        Ok(match target.engine {
            Engine::Sqlite => {
                let pragmas = target.pragma_sql();
                Self::Sqlite(Connections::open(target, target.path(), pragmas)?)
            }
            Engine::Postgres => {
                Self::Postgres(Connections::open(target, &target.url, String::new())?)
            }
        })
    }

    async fn engine_version(&self) -> Result<String> {
        match self {
            Self::Sqlite(connections) => {
                let query = diesel::sql_query("SELECT sqlite_version() AS version");
                let read = |connection: &mut _| Ok(query.get_result::<Version>(connection)?);
                Ok(format!("SQLite {}", connections.run(read).await?.version))
            }
            Self::Postgres(connections) => {
                let sql = "SELECT current_setting('server_version') AS version";
                let query = diesel::sql_query(sql);
                let read = |connection: &mut _| Ok(query.get_result::<Version>(connection)?);
                Ok(format!(
                    "PostgreSQL {}",
                    connections.run(read).await?.version
                ))
            }
        }
    }

    async fn users(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(all) => all.run(move |one| sqlite::first_users(one, count)).await,
            Self::Postgres(all) => all.run(move |one| postgres::first_users(one, count)).await,
        }
    }

    async fn newest(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(all) => all.run(move |one| sqlite::newest(one, count)).await,
            Self::Postgres(all) => all.run(move |one| postgres::newest(one, count)).await,
        }
    }

    async fn authors(&self, count: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(all) => all.run(move |one| sqlite::authors(one, count)).await,
            Self::Postgres(all) => all.run(move |one| postgres::authors(one, count)).await,
        }
    }

    async fn comments(&self) -> Result<Seen> {
        match self {
            Self::Sqlite(all) => all.run(sqlite::comments).await,
            Self::Postgres(all) => all.run(postgres::comments).await,
        }
    }

    async fn user(&self, id: i64) -> Result<Seen> {
        match self {
            Self::Sqlite(all) => all.run(move |one| sqlite::user(one, id)).await,
            Self::Postgres(all) => all.run(move |one| postgres::user(one, id)).await,
        }
    }

    fn prepare(user: NewUser) -> NewUser {
        user
    }

    async fn insert(&self, user: NewUser) -> Result<Seen> {
        match self {
            Self::Sqlite(all) => all.run(move |one| sqlite::insert(one, user.into())).await,
            Self::Postgres(all) => all.run(move |one| postgres::insert(one, user.into())).await,
        }
    }

    async fn insert_all(&self, users: Vec<NewUser>) -> Result<Seen> {
        match self {
            Self::Sqlite(all) => {
                let users: Vec<_> = users.into_iter().map(Into::into).collect();
                all.run(move |one| {
                    let rows = peer_diesel::insert_all_sqlite(one, &users)?;
                    Ok(Seen::written(rows))
                })
                .await
            }
            Self::Postgres(all) => {
                let users = users.into_iter().map(Into::into).collect();
                all.run(move |one| insert_all_postgres(one, users)).await
            }
        }
    }
}

fn main() -> ExitCode {
    peers_common::main::<Diesel>()
}
