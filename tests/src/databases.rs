//! [`Databases`]: fresh PostgreSQL databases, one for each test.
//!
//! ```text
//!   with_tables ── first time: create a database, let the engine make its tables
//!               └─ always: CREATE DATABASE .. TEMPLATE, which copies it in some milliseconds
//!   drop        ── DROP DATABASE .. WITH (FORCE), in the background
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, io, thread};

use larder_core::{Error, ErrorKind, Result, Table};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::{Client, NoTls};

use crate::cluster::Cluster;

/// Names a running server, whose user may create databases.
const URL: &str = "LARDER_TEST_POSTGRES_URL";

/// A PostgreSQL server for tests, which gives each a database of its own.
///
/// Dropping it removes its databases. Those that are made in somebody else's server, named by
/// `LARDER_TEST_POSTGRES_URL`, stay there if the process is killed; they are called
/// `larder_test_..`.
#[derive(Debug)]
pub struct Databases {
    server: Arc<Server>,
    /// By the addresses of the tables' metadata, which tell apart what may share its names.
    templates: Mutex<HashMap<Vec<usize>, Database>>,
    admin: Option<thread::JoinHandle<()>>,
}

/// A database, removed when it is dropped, whoever is connected to it.
#[derive(Debug)]
pub struct Database {
    name: String,
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server {
    place: Place,
    /// Of names, so that test programs that share a server do not meet.
    prefix: String,
    count: AtomicUsize,
    /// At most two for each test that runs, and one for each that has ended.
    statements: mpsc::UnboundedSender<Statement>,
}

#[derive(Debug)]
enum Place {
    Own(Cluster),
    Named(String),
}

/// What the server is asked to do.
#[derive(Debug)]
struct Statement {
    sql: String,
    /// Whether it copies a database by its files, where the server leaves the choice.
    copies_files: bool,
    /// Where to say how it went.
    answer: oneshot::Sender<Result<()>>,
}

/// The first version that leaves it; those before know no other way.
const STRATEGIES_SINCE: u32 = 15;

impl Databases {
    /// In the server that `LARDER_TEST_POSTGRES_URL` names, else in a cluster of its own.
    ///
    /// # Errors
    ///
    /// If neither a server is named nor its programs are installed, saying what to install.
    pub fn open() -> io::Result<Self> {
        match env::var(URL) {
            Ok(url) => Self::named(url),
            Err(_) => Self::of(Cluster::start_with(&[])?),
        }
    }

    /// In the running server at this URL, whose user may create databases.
    pub fn named(url: String) -> io::Result<Self> {
        Self::at(Place::Named(url))
    }

    /// In this cluster, which lives as long as any of its databases.
    pub fn of(cluster: Cluster) -> io::Result<Self> {
        Self::at(Place::Own(cluster))
    }

    fn at(place: Place) -> io::Result<Self> {
        let url = match &place {
            Place::Own(cluster) => cluster.url("postgres"),
            Place::Named(url) => url.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (statements, queue) = mpsc::unbounded_channel();
        let admin = thread::Builder::new()
            .name("databases".to_owned())
            .spawn(move || runtime.block_on(administer(url, queue)))?;
        let server = Server {
            place,
            prefix: format!("larder_test_{:08x}", fastrand::u32(..)),
            count: AtomicUsize::new(0),
            statements,
        };
        Ok(Self {
            server: Arc::new(server),
            templates: Mutex::default(),
            admin: Some(admin),
        })
    }

    /// The cluster, if the server is not somebody else's.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.server.place {
            Place::Own(cluster) => Some(cluster),
            Place::Named(_) => None,
        }
    }

    /// A database without tables.
    pub async fn empty(&self) -> Result<Database> {
        self.server
            .create("TEMPLATE template0 ENCODING 'UTF8'", false)
            .await
    }

    /// A database with these tables. `create` is given the URL of a database to make them in,
    /// once for all that ask for the same ones; it must not leave connections open.
    pub async fn with_tables<F>(
        &self,
        tables: &[&'static Table],
        create: impl FnOnce(String) -> F,
    ) -> Result<Database>
    where
        F: Future<Output = Result<()>>,
    {
        let key = tables.iter().map(|table| (&raw const **table).addr());
        let key: Vec<usize> = key.collect();
        // held meanwhile: the others wait for the template
        let mut templates = self.templates.lock().await;
        if !templates.contains_key(&key) {
            let template = self.empty().await?;
            create(template.url()).await?;
            templates.insert(key.clone(), template);
        }
        let name = templates[&key].name.clone();
        drop(templates);
        self.server.copy_of(&name).await
    }
}

impl Drop for Databases {
    /// Waits until the databases are gone, if nobody uses them any more.
    fn drop(&mut self) {
        self.templates.get_mut().clear();
        let Some(admin) = self.admin.take() else {
            return;
        };
        if Arc::strong_count(&self.server) > 1 {
            return;
        }
        let (closed, _) = mpsc::unbounded_channel();
        if let Some(server) = Arc::get_mut(&mut self.server) {
            server.statements = closed;
        }
        // it does not panic; if it did, there would be nothing to do about it
        let _ = admin.join();
    }
}

impl Database {
    /// Where it is, user and password included.
    pub fn url(&self) -> String {
        match &self.server.place {
            Place::Own(cluster) => cluster.url(&self.name),
            Place::Named(url) => with_database(url, &self.name),
        }
    }

    /// Its name in the server.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (answer, _) = oneshot::channel();
        // nobody is there to run it once the server is gone
        let _ = self.server.statements.send(Statement {
            sql: format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
            copies_files: false,
            answer,
        });
    }
}

impl Server {
    async fn create(self: &Arc<Self>, how: &str, copies_files: bool) -> Result<Database> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let database = Database {
            name: format!("{}_{number}", self.prefix),
            server: Arc::clone(self),
        };
        let (answer, outcome) = oneshot::channel();
        self.statements
            .send(Statement {
                sql: format!("CREATE DATABASE {} {how}", database.name),
                copies_files,
                answer,
            })
            .map_err(|_| Error::new(ErrorKind::Unavailable, "nobody administers the server"))?;
        outcome
            .await
            .map_err(|_| Error::new(ErrorKind::Unavailable, "nobody administers the server"))??;
        Ok(database)
    }

    /// Copying files is twice as fast as logging pages where no disk is waited for. Elsewhere it
    /// is slow: it takes two checkpoints.
    async fn copy_of(self: &Arc<Self>, template: &str) -> Result<Database> {
        let waits_for_no_disk = matches!(self.place, Place::Own(_));
        self.create(&format!("TEMPLATE {template}"), waits_for_no_disk)
            .await
    }
}

/// Runs the statements one by one, on a connection that is made anew when the server was
/// restarted.
async fn administer(url: String, mut statements: mpsc::UnboundedReceiver<Statement>) {
    let mut connection: Option<Admin> = None;
    while let Some(mut statement) = statements.recv().await {
        let open = connection.take().filter(|admin| !admin.client.is_closed());
        let outcome = match open {
            Some(admin) => Ok(admin),
            None => Admin::connect(&url).await,
        };
        let outcome = match outcome {
            Ok(admin) => {
                if statement.copies_files && admin.version >= STRATEGIES_SINCE {
                    statement.sql.push_str(" STRATEGY file_copy");
                }
                let outcome = admin.client.batch_execute(&statement.sql).await;
                connection = Some(admin);
                outcome
            }
            Err(error) => Err(error),
        };
        let outcome = outcome.map_err(|source| {
            let message = format!("failed: {}", statement.sql);
            Error::new(ErrorKind::Unavailable, message).with_source(source)
        });
        // a drop does not wait for its answer
        let _ = statement.answer.send(outcome);
    }
}

/// A connection that administers the server.
struct Admin {
    client: Client,
    /// The server's major version.
    version: u32,
}

impl Admin {
    async fn connect(url: &str) -> std::result::Result<Self, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let version = connection.parameter("server_version").map_or(0, major);
        // its end shows at the client
        tokio::spawn(connection);
        Ok(Self { client, version })
    }
}

/// The major version in `15.14 (Debian 15.14-0)` or `18beta1`.
fn major(version: &str) -> u32 {
    let end = version.find(|c: char| !c.is_ascii_digit());
    version[..end.unwrap_or(version.len())].parse().unwrap_or(0)
}

/// The URL with another database.
fn with_database(url: &str, database: &str) -> String {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let start = address.find("://").map_or(0, |at| at + "://".len());
    let end = address[start..]
        .find('/')
        .map_or(address.len(), |at| start + at);
    let question = if parameters.is_empty() { "" } else { "?" };
    format!("{}/{database}{question}{parameters}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::{major, with_database};

    #[test]
    fn versions_are_told_apart() {
        for (text, expected) in [("15.14 (Debian)", 15), ("18beta1", 18), ("14", 14), ("", 0)] {
            assert_eq!(major(text), expected);
        }
    }

    #[test]
    fn only_the_database_of_a_url_changes() {
        for (url, expected) in [
            (
                "postgres://u:p%2F@h:1/old?a=b",
                "postgres://u:p%2F@h:1/new?a=b",
            ),
            ("postgresql://h", "postgresql://h/new"),
            ("postgres://h:5?x=/y", "postgres://h:5/new?x=/y"),
            ("postgres://%2Ftmp%2Fs/old", "postgres://%2Ftmp%2Fs/new"),
        ] {
            assert_eq!(with_database(url, "new"), expected);
        }
    }
}
