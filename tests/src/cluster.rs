//! [`Cluster`]: a PostgreSQL server of a test's own.
//!
//! ```text
//!   test process ── Cluster ── commands ──> keeper (sh) ── pg_ctl ──> server
//!                                             │ end of input:
//!                                             └ stops the server, removes the directory
//! ```
//!
//! The keeper reads commands from a pipe whose other end is held by the test process alone. So
//! server and directory also go when that process is killed, and a drop is no other way.
//!
//! What a program might wrongly rely on is set to something odd: the time zone, the style of
//! dates, the password. Nothing survives a crash of the machine: tests do not wait for disks.

mod account;
mod binaries;
mod keeper;

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use account::Account;
use binaries::Binaries;
use keeper::Keeper;

/// The superuser that a cluster has.
const USER: &str = "larder";
/// Its password, which a URL can hold only when encoded.
const PASSWORD: &str = "p@ss/w:rd%41";
/// What the server keeps of it: made with one iteration instead of 4,096, which took an
/// unoptimised client longer than all the rest of a short test.
const SECRET: &str = "SCRAM-SHA-256$1:c2FsdCBmb3IgYSB0ZXN0Lg==$\
    VzeBxBpyC2Yh5aRqOjih6eeJtFnzXDkYBvrEcRfMW1U=:8yWlwGST4TPSBZaM8gDUeBdJYYtgy23+AZ3F2mdB+R0=";
/// How often another port is tried when something else took the one found free.
const PORTS_MAX: usize = 10;
/// Below the ports that systems lend to outgoing connections.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
/// Seconds that a server may take to start or stop.
const WAIT_SECONDS: &str = "60";

/// For tests: quick, and nothing that clients should depend on.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("max_connections", "200"),
    ("shared_buffers", "32MB"),
    ("autovacuum", "off"),
    ("wal_retrieve_retry_interval", "100ms"),
    ("listen_addresses", "127.0.0.1"),
    ("TimeZone", "Asia/Kathmandu"),
    ("log_timezone", "Asia/Kathmandu"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "postgres_verbose"),
    ("bytea_output", "escape"),
    ("log_line_prefix", "%m [%p] %d "),
];

/// A PostgreSQL server with a directory and a port of its own, both free again when this is
/// dropped or its process ends, in whatever way.
///
/// It listens on 127.0.0.1 and on a socket in its directory, and asks for a password (SCRAM).
/// Its programs are those of `pg_config --bindir`, else the newest in `/usr/lib/postgresql`. A
/// test run as root runs it as `postgres`, else as `nobody`.
///
/// All methods block; a start takes about a second, the others some tenths.
#[derive(Debug)]
pub struct Cluster {
    keeper: Keeper,
    port: u16,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// Starts a server with these settings on top of those for tests.
    ///
    /// # Errors
    ///
    /// If no programs are installed, saying what to install, or if they fail, with what they and
    /// the server's log say.
    pub fn start_with(settings: &[(&str, &str)]) -> io::Result<Self> {
        let all = SETTINGS.iter().chain(settings);
        let settings = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut cluster = Self {
            keeper: Keeper::start(Binaries::find()?)?,
            port: 0,
            settings: settings.collect(),
        };
        cluster.initialize()?;
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    /// Starts a server that follows this one, with the same settings, and takes reads.
    pub fn replica_of(primary: &Self) -> io::Result<Self> {
        let mut cluster = Self {
            keeper: Keeper::start(Binaries::find()?)?,
            port: 0,
            settings: primary.settings.clone(),
        };
        let port = primary.port;
        let source = format!("host=127.0.0.1 port={port} user={USER} password={PASSWORD}");
        let data = cluster.data();
        let data = path_text(&data)?;
        cluster.keeper.run(
            "pg_basebackup",
            &[
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                "--pgdata",
                data,
                "--dbname",
                &source,
            ],
        )?;
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    /// Lets a replica be a primary of its own, and waits until it takes writes.
    pub fn promote(&self) -> io::Result<()> {
        self.pg_ctl(&["promote"])
    }

    /// Starts the server after it was stopped, on the same port, and waits until it answers.
    pub fn start(&self) -> io::Result<()> {
        let log = self.log_path();
        self.pg_ctl(&["--log", path_text(&log)?, "start"])
            .map_err(|error| {
                let log = fs::read_to_string(&log).unwrap_or_default();
                io::Error::other(format!("{error}\n{log}"))
            })
    }

    /// Stops the server in good order: transactions are rolled back, what was committed is kept.
    pub fn stop(&self) -> io::Result<()> {
        self.pg_ctl(&["--mode=fast", "stop"])
    }

    /// Stops the server at once, as a crash would; the next start recovers from its log.
    pub fn stop_immediate(&self) -> io::Result<()> {
        self.pg_ctl(&["--mode=immediate", "stop"])
    }

    /// Stops the server in good order and starts it again.
    pub fn restart(&self) -> io::Result<()> {
        self.stop()?;
        self.start()
    }

    /// The URL of a database, over TCP, with a superuser and the password.
    pub fn url(&self, database: &str) -> String {
        let password = percent_encoded(PASSWORD);
        format!(
            "postgres://{USER}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// The URL of a database, over the socket in the server's directory.
    pub fn socket_url(&self, database: &str) -> String {
        let password = percent_encoded(PASSWORD);
        let directory = percent_encoded(&self.directory().to_string_lossy());
        let port = self.port;
        format!("postgres://{USER}:{password}@{directory}:{port}/{database}")
    }

    /// The port on 127.0.0.1, the same as long as the cluster lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name of the superuser.
    pub fn user(&self) -> &str {
        USER
    }

    /// The superuser's password, not encoded.
    pub fn password(&self) -> &str {
        PASSWORD
    }

    /// Where the server keeps all that it has; removed with it.
    pub fn directory(&self) -> &Path {
        self.keeper.directory()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.log_path())
    }

    fn initialize(&self) -> io::Result<()> {
        let password = self.directory().join("password");
        fs::write(&password, SECRET)?;
        let data = self.data();
        let initdb = |locale| {
            self.keeper.run(
                "initdb",
                &[
                    "--no-sync",
                    "--encoding=UTF8",
                    locale,
                    "--auth=scram-sha-256",
                    "--username",
                    USER,
                    "--pwfile",
                    path_text(&password)?,
                    "--pgdata",
                    path_text(&data)?,
                ],
            )
        };
        // Not every system has C.UTF-8.
        initdb("--locale=C.UTF-8").or_else(|_| initdb("--locale=C"))?;
        let main = data.join("postgresql.conf");
        let text = fs::read_to_string(&main)?;
        fs::write(&main, format!("{text}\ninclude '../settings.conf'\n"))
    }

    /// A port found free may be taken by the time the server asks for it.
    fn start_on_free_port(&mut self) -> io::Result<()> {
        let mut tries = 0;
        loop {
            self.port = free_port()?;
            self.write_settings()?;
            tries += 1;
            match self.start() {
                Err(_) if tries < PORTS_MAX && !is_free(self.port) => {}
                outcome => return outcome,
            }
        }
    }

    fn write_settings(&self) -> io::Result<()> {
        let directory = path_text(self.directory())?;
        let port = self.port.to_string();
        let own = [
            ("port", port.as_str()),
            ("unix_socket_directories", directory),
        ];
        let given = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let mut text = String::new();
        for (name, value) in given.chain(own) {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            writeln!(text, "{name} = '{value}'").map_err(io::Error::other)?;
        }
        fs::write(self.directory().join("settings.conf"), text)
    }

    fn pg_ctl(&self, arguments: &[&str]) -> io::Result<()> {
        let data = self.data();
        let all: Vec<&str> = ["--wait", "--timeout", WAIT_SECONDS, "--silent", "--pgdata"]
            .into_iter()
            .chain(iter::once(path_text(&data)?))
            .chain(arguments.iter().copied())
            .collect();
        self.keeper.run("pg_ctl", &all)
    }

    fn data(&self) -> PathBuf {
        self.directory().join(keeper::DATA)
    }

    fn log_path(&self) -> PathBuf {
        self.directory().join("server.log")
    }
}

/// Lets whoever runs the servers run this command too.
pub(crate) fn run_as_server(command: &mut Command) -> io::Result<()> {
    if let Some(account) = Account::of_server()? {
        account.run(command);
    }
    Ok(())
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> io::Result<u16> {
    let found = iter::repeat_with(|| fastrand::u16(PORTS))
        .take(100)
        .find(|port| is_free(*port));
    found.ok_or_else(|| io::Error::other("no free port on 127.0.0.1"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn path_text(path: &Path) -> io::Result<&str> {
    path.to_str()
        .ok_or_else(|| io::Error::other(format!("not UTF-8: the directory {}", path.display())))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // writing to a string cannot fail
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
