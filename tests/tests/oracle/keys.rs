//! [`Keys`]: where an engine's automatic keys are.

use std::collections::HashMap;

use fred::clients::Client as RedisClient;
use fred::interfaces::{ClientLike, HashesInterface, KeysInterface};
use fred::types::Builder;
use fred::types::config::Config;
use larder_core::{Error, ErrorKind, Result, Table};
use tokio_postgres::{Client, NoTls};

/// The keys that an engine has made, which stay made where the memory store takes them back: those
/// of writes that fail or are undone in PostgreSQL, those of dropped transactions in Redis. This
/// takes them back too.
pub(crate) struct Keys {
    place: Place,
    /// Where they were when the transactions that are open began.
    begun: Vec<Positions>,
}

enum Place {
    /// The sequences of a database.
    Postgres {
        client: Client,
        sequences: Vec<String>,
    },
    /// The hash of a namespace.
    Redis { client: RedisClient, key: String },
}

/// The last key of everything that makes keys, and whether it was given.
type Positions = HashMap<String, (i64, bool)>;

impl Keys {
    pub(crate) async fn of_postgres(url: &str, tables: &[&'static Table]) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(failed)?;
        tokio::spawn(connection);
        let mut sequences = Vec::new();
        for table in tables.iter().filter(|table| table.auto_key) {
            let sql = format!("SELECT pg_get_serial_sequence('\"{}\"', 'id')", table.name);
            let row = client.query_one(&sql, &[]).await.map_err(failed)?;
            sequences.push(row.try_get(0).map_err(failed)?);
        }
        Ok(Self::at(Place::Postgres { client, sequences }))
    }

    pub(crate) async fn of_redis(url: &str, namespace: &str) -> Result<Self> {
        let config = Config::from_url(url).map_err(failed)?;
        let client = Builder::from_config(config).build().map_err(failed)?;
        client.init().await.map_err(failed)?;
        let key = format!("{{{namespace}}}:last");
        Ok(Self::at(Place::Redis { client, key }))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            begun: Vec::new(),
        }
    }

    pub(crate) async fn positions(&self) -> Result<Positions> {
        let mut positions = HashMap::new();
        match &self.place {
            Place::Postgres { client, sequences } => {
                for sequence in sequences {
                    let sql = format!("SELECT last_value, is_called FROM {sequence}");
                    let row = client.query_one(&sql, &[]).await.map_err(failed)?;
                    let last = row.try_get(0).map_err(failed)?;
                    let is_called = row.try_get(1).map_err(failed)?;
                    positions.insert(sequence.clone(), (last, is_called));
                }
            }
            Place::Redis { client, key } => {
                let last: HashMap<String, i64> = client.hgetall(key).await.map_err(failed)?;
                positions.extend(last.into_iter().map(|(table, last)| (table, (last, true))));
            }
        }
        Ok(positions)
    }

    /// Takes back the keys that were given since.
    pub(crate) async fn go_back(&self, positions: &Positions) -> Result<()> {
        match &self.place {
            Place::Postgres { client, .. } => {
                for (sequence, (last, is_called)) in positions {
                    let sql = format!("SELECT setval('{sequence}', {last}, {is_called})");
                    client.batch_execute(&sql).await.map_err(failed)?;
                }
            }
            Place::Redis { client, key } => {
                let _: i64 = client.del(key).await.map_err(failed)?;
                for (table, (last, _)) in positions {
                    let field = (table.clone(), *last);
                    let _: i64 = client.hset(key, field).await.map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// A transaction has begun.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let positions = self.positions().await?;
        self.begun.push(positions);
        Ok(())
    }

    /// The innermost transaction has ended.
    pub(crate) async fn end(&mut self, committed: bool) -> Result<()> {
        match self.begun.pop() {
            Some(positions) if !committed => self.go_back(&positions).await,
            _ => Ok(()),
        }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Engine, "the keys made cannot be read").with_source(error)
}
