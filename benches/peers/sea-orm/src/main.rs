//! SeaORM, as its README and its documentation recommend:
//!
//! - the dense entity format and the entity loader for nested relations
//!   (<https://github.com/SeaQL/sea-orm#smart-entity-loader>);
//! - `find_also_related` for the other side of a relation, by a join
//!   (<https://www.sea-ql.org/SeaORM/docs/relation/one-to-one/>);
//! - `insert` of an active model, which returns the stored row, and `insert_many`
//!   (<https://www.sea-ql.org/SeaORM/docs/basic-crud/insert/>), without reading anything back.
//!
//! Switched off, to its advantage: the ping before each use of a connection, and SQLx's logging
//! (<https://www.sea-ql.org/SeaORM/docs/install-and-config/connection/>).

mod entity;

use std::process::ExitCode;

use peers_common::{Engine, NewUser, Peer, Result, Seen, Target};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};

use entity::{postgres, sqlite};

#[derive(Clone)]
struct SeaOrm {
    db: DatabaseConnection,
    engine: Engine,
}

impl Peer for SeaOrm {
    type New = NewUser;

    const NAME: &'static str = "SeaORM 2.0.4";

    async fn open(target: &Target) -> Result<Self> {
        let mut options = ConnectOptions::new(&target.url);
        options
            .max_connections(target.pool)
            .test_before_acquire(false)
            .sqlx_logging(false);
        if target.engine == Engine::Sqlite {
            let pragmas = target.pragmas();
            options.map_sqlx_sqlite_opts(move |options| {
                let all = pragmas.iter().cloned();
                all.fold(options, |options, (name, value)| {
                    options.pragma(name, value)
                })
            });
        }
        Ok(Self {
            db: Database::connect(options).await?,
            engine: target.engine,
        })
    }

    async fn engine_version(&self) -> Result<String> {
        let (name, sql) = match self.engine {
            Engine::Sqlite => ("SQLite", "SELECT sqlite_version() AS version"),
            Engine::Postgres => (
                "PostgreSQL",
                "SELECT current_setting('server_version') AS version",
            ),
        };
        let statement = Statement::from_string(self.db.get_database_backend(), sql);
        let row = self.db.query_one_raw(statement).await?.ok_or("a row")?;
        Ok(format!("{name} {}", row.try_get::<String>("", "version")?))
    }

    async fn users(&self, count: i64) -> Result<Seen> {
        match self.engine {
            Engine::Sqlite => sqlite::users(&self.db, count).await,
            Engine::Postgres => postgres::users(&self.db, count).await,
        }
    }

    async fn newest(&self, count: i64) -> Result<Seen> {
        match self.engine {
            Engine::Sqlite => sqlite::newest(&self.db, count).await,
            Engine::Postgres => postgres::newest(&self.db, count).await,
        }
    }

    async fn authors(&self, count: i64) -> Result<Seen> {
        match self.engine {
            Engine::Sqlite => sqlite::authors(&self.db, count).await,
            Engine::Postgres => postgres::authors(&self.db, count).await,
        }
    }

    async fn comments(&self) -> Result<Seen> {
        match self.engine {
            Engine::Sqlite => sqlite::comments(&self.db).await,
            Engine::Postgres => postgres::comments(&self.db).await,
        }
    }

    async fn user(&self, id: i64) -> Result<Seen> {
        match self.engine {
            Engine::Sqlite => sqlite::one_user(&self.db, id).await,
            Engine::Postgres => postgres::one_user(&self.db, id).await,
        }
    }

    fn prepare(user: NewUser) -> NewUser {
        user
    }

    async fn insert(&self, user: NewUser) -> Result<Seen> {
        match self.engine {
            Engine::Sqlite => sqlite::insert(&self.db, user).await,
            Engine::Postgres => postgres::insert(&self.db, user).await,
        }
    }

    async fn insert_all(&self, users: Vec<NewUser>) -> Result<Seen> {
        match self.engine {
            Engine::Sqlite => sqlite::insert_all(&self.db, users).await,
            Engine::Postgres => postgres::insert_all(&self.db, users).await,
        }
    }
}

fn main() -> ExitCode {
    peers_common::main::<SeaOrm>()
}
