//! [`PgBouncer`]: a transaction pooler of a test's own, in front of a server of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::cluster::{self, Cluster};

/// Where a system may keep the program, which it leaves out of a user's PATH.
const PROGRAMS: [&str; 3] = [
    "pgbouncer",
    "/usr/sbin/pgbouncer",
    "/usr/local/sbin/pgbouncer",
];
/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// `$1`: where to make the directory; `$2`: the program. The first line is an answer that the
/// settings are there, the end of input asks to stop.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
directory=$(mktemp -d "$1/larder-pgbouncer-XXXXXX" || mktemp -d /tmp/larder-pgbouncer-XXXXXX) || exit
echo "$directory"
read -r line
"$2" "$directory/settings.ini" >"$directory/log" 2>&1 </dev/null &
while read -r line; do :; done
kill "$!"
wait
rm -rf "$directory"
"#;

/// A pgbouncer in transaction mode: the server connection changes from one transaction to the
/// next. Ends with its process, in whatever way.
///
/// For one test alone: some versions end themselves when somebody who has asked for a statement to
/// be cancelled is gone before it was, as at the end of a test.
#[derive(Debug)]
pub struct PgBouncer {
    shell: Child,
    /// Its end stops the program.
    input: Option<ChildStdin>,
    server: u16,
    port: u16,
}

impl PgBouncer {
    /// Starts one in front of a cluster, for all of its databases.
    ///
    /// # Errors
    ///
    /// If the program is not installed, saying what to install, or does not start.
    pub fn start(cluster: &Cluster) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "sh"])
            .arg(env::temp_dir())
            .arg(program()?)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        cluster::run_as_server(&mut command)?;
        let mut shell = command.spawn()?;
        let mut bouncer = Self {
            input: shell.stdin.take(),
            server: cluster.port(),
            port: cluster::free_port()?,
            shell,
        };
        let directory = bouncer.directory()?;
        let directory = Path::new(&directory);
        fs::write(
            directory.join("settings.ini"),
            settings(cluster, bouncer.port),
        )?;
        bouncer.say("start")?;
        bouncer.wait_until_it_listens(directory)?;
        Ok(bouncer)
    }

    /// The URL of a database of the cluster, by way of the pooler.
    pub fn url(&self, url: &str) -> String {
        let server = format!("127.0.0.1:{}/", self.server);
        url.replace(&server, &format!("127.0.0.1:{}/", self.port))
    }

    fn directory(&mut self) -> io::Result<String> {
        let output = self.shell.stdout.take();
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.trim_end() {
            "" => Err(io::Error::other("no directory for pgbouncer")),
            directory => Ok(directory.to_owned()),
        }
    }

    fn say(&mut self, word: &str) -> io::Result<()> {
        match &mut self.input {
            Some(input) => writeln!(input, "{word}"),
            None => Ok(()),
        }
    }

    fn wait_until_it_listens(&self, directory: &Path) -> io::Result<()> {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if started.elapsed() > START_MAX {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("pgbouncer does not start: {log}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.input.take());
        // It can only be that somebody else ended it.
        let _ = self.shell.wait();
    }
}

fn program() -> io::Result<&'static str> {
    let runs = |program: &&str| {
        let mut version = Command::new(program);
        version.arg("--version").stdout(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    };
    PROGRAMS.into_iter().find(runs).ok_or_else(|| {
        io::Error::other("pgbouncer is not installed: `just setup`, or `apt-get install pgbouncer`")
    })
}

fn settings(cluster: &Cluster, port: u16) -> String {
    let (server, user) = (cluster.port(), cluster.user());
    let password = cluster.password().replace('\'', "''");
    format!(
        "[databases]
* = host=127.0.0.1 port={server} user={user} password='{password}'

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 2000
server_idle_timeout = 5
"
    )
}
