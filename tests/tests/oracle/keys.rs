//! [`Keys`]: where PostgreSQL's automatic keys are.

use larder_core::{Error, ErrorKind, Result, Table};
use tokio_postgres::{Client, NoTls};

/// The sequences of a database, which PostgreSQL leaves where they are when a write fails or is
/// rolled back. The other stores take the keys back, so this does it too.
pub(crate) struct Keys {
    client: Client,
    sequences: Vec<String>,
    /// Where they were when the transactions that are open began.
    begun: Vec<Positions>,
}

/// The last value of every sequence, and whether it was given.
type Positions = Vec<(i64, bool)>;

impl Keys {
    pub(crate) async fn of(url: &str, tables: &[&'static Table]) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(failed)?;
        tokio::spawn(connection);
        let mut sequences = Vec::new();
        for table in tables.iter().filter(|table| table.auto_key) {
            let sql = format!("SELECT pg_get_serial_sequence('\"{}\"', 'id')", table.name);
            let row = client.query_one(&sql, &[]).await.map_err(failed)?;
            sequences.push(row.try_get(0).map_err(failed)?);
        }
        Ok(Self {
            client,
            sequences,
            begun: Vec::new(),
        })
    }

    pub(crate) async fn positions(&self) -> Result<Positions> {
        let mut positions = Vec::new();
        for sequence in &self.sequences {
            let sql = format!("SELECT last_value, is_called FROM {sequence}");
            let row = self.client.query_one(&sql, &[]).await.map_err(failed)?;
            positions.push((
                row.try_get(0).map_err(failed)?,
                row.try_get(1).map_err(failed)?,
            ));
        }
        Ok(positions)
    }

    /// Takes back the keys that were given since.
    pub(crate) async fn go_back(&self, positions: &Positions) -> Result<()> {
        for (sequence, (last, called)) in self.sequences.iter().zip(positions) {
            let sql = format!("SELECT setval('{sequence}', {last}, {called})");
            self.client.batch_execute(&sql).await.map_err(failed)?;
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

fn failed(error: tokio_postgres::Error) -> Error {
    Error::new(ErrorKind::Engine, "the sequences cannot be read").with_source(error)
}
