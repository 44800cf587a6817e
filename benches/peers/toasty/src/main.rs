//! Toasty, as its guide recommends (<https://github.com/tokio-rs/toasty/tree/main/docs/guide>):
//!
//! - models with `Deferred` relations and `include`, nested by a path ("Preloading Associations");
//! - a filter through a relation ("Filtering on associations");
//! - `create` and `create_many`, which both return the stored rows; it has nothing that does not
//!   ("Creating Records", "Bulk creation");
//! - `Db`'s own pool, a clone of the handle for every task ("Database Setup").
//!
//! It takes no pragmas; each of its connections is told them by raw SQL.

mod model;

use std::process::ExitCode;

use peers_common::{Engine, NewUser, Peer, Result, Seen, Target};
use toasty::Db;

use model::{postgres, sqlite};

#[derive(Clone)]
struct Toasty {
    db: Db,
    engine: Engine,
}

impl Peer for Toasty {
    type New = NewUser;

    const NAME: &'static str = "Toasty 0.11.0";

    async fn open(target: &Target) -> Result<Self> {
        let models = match target.engine {
            Engine::Sqlite => sqlite::models(),
            Engine::Postgres => postgres::models(),
        };
        let size = target.pool as usize;
        let db = Db::builder()
            .models(models)
            .max_pool_size(size)
            .connect(&target.url)
            .await?;
        if target.engine == Engine::Sqlite {
            // All at once, so that each is another one.
            let mut connections = Vec::new();
            for _ in 0..size {
                connections.push(db.connection().await?);
            }
            for connection in &mut connections {
                for (name, value) in target.pragmas() {
                    let pragma = format!("PRAGMA {name} = {value}");
                    toasty::sql::query(pragma).exec(connection).await?;
                }
            }
        }
        Ok(Self {
            db,
            engine: target.engine,
        })
    }

    async fn engine_version(&self) -> Result<String> {
        let (name, sql) = match self.engine {
            Engine::Sqlite => ("SQLite", "SELECT sqlite_version()"),
            Engine::Postgres => ("PostgreSQL", "SELECT current_setting('server_version')"),
        };
        let rows = toasty::sql::query(sql).exec(&mut self.db.clone()).await?;
        match rows.first() {
            Some(toasty::stmt::Value::Record(row)) => match &row[0] {
                toasty::stmt::Value::String(version) => Ok(format!("{name} {version}")),
                other => Err(format!("no version: {other:?}").into()),
            },
            other => Err(format!("no version: {other:?}").into()),
        }
    }

    async fn users(&self, count: i64) -> Result<Seen> {
        let db = &mut self.db.clone();
        match self.engine {
            Engine::Sqlite => sqlite::users(db, usize::try_from(count)?).await,
            Engine::Postgres => postgres::users(db, usize::try_from(count)?).await,
        }
    }

    async fn newest(&self, count: i64) -> Result<Seen> {
        let db = &mut self.db.clone();
        match self.engine {
            Engine::Sqlite => sqlite::newest(db, usize::try_from(count)?).await,
            Engine::Postgres => postgres::newest(db, usize::try_from(count)?).await,
        }
    }

    async fn authors(&self, count: i64) -> Result<Seen> {
        let db = &mut self.db.clone();
        match self.engine {
            Engine::Sqlite => sqlite::authors(db, count.unsigned_abs()).await,
            Engine::Postgres => postgres::authors(db, count.unsigned_abs()).await,
        }
    }

    async fn comments(&self) -> Result<Seen> {
        let db = &mut self.db.clone();
        match self.engine {
            Engine::Sqlite => sqlite::comments(db).await,
            Engine::Postgres => postgres::comments(db).await,
        }
    }

    async fn user(&self, id: i64) -> Result<Seen> {
        let db = &mut self.db.clone();
        match self.engine {
            Engine::Sqlite => sqlite::one_user(db, id.unsigned_abs()).await,
            Engine::Postgres => postgres::one_user(db, id.unsigned_abs()).await,
        }
    }

    fn prepare(user: NewUser) -> NewUser {
        user
    }

    async fn insert(&self, user: NewUser) -> Result<Seen> {
        let db = &mut self.db.clone();
        match self.engine {
            Engine::Sqlite => sqlite::insert(db, user).await,
            Engine::Postgres => postgres::insert(db, user).await,
        }
    }

    async fn insert_all(&self, users: Vec<NewUser>) -> Result<Seen> {
        let db = &mut self.db.clone();
        match self.engine {
            Engine::Sqlite => sqlite::insert_all(db, users).await,
            Engine::Postgres => postgres::insert_all(db, users).await,
        }
    }
}

fn main() -> ExitCode {
    peers_common::main::<Toasty>()
}
