//! [`RedisServer`], a Redis server of a test's own, and [`Namespaces`], one for each test in it.
//!
//! ```text
//!   test process ── RedisServer ── commands ──> shell ──> redis-server
//!                                                 │ end of input:
//!                                                 └ kills the server, removes the directory
//! ```

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{Builder, ClusterHash, CustomCommand, Key};
use tokio::sync::mpsc;

use crate::cluster::free_port;
use crate::shell::Shell;

/// Names a running server.
const URL: &str = "LARDER_TEST_REDIS_URL";
/// The server's password, which a URL can hold only when encoded.
const PASSWORD: &str = "p@ss/w:rd%41";
const PASSWORD_ENCODED: &str = "p%40ss%2Fw%3Ard%2541";
/// How often another port is tried when something else took the one found free.
const PORTS_MAX: usize = 10;
/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);
/// Where the program may be, besides `PATH`.
const DIRECTORIES: [&str; 4] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];
/// How many keys of a namespace are removed at a time.
const KEYS_AT_ONCE: u32 = 1_000;

/// For tests: quick, and nothing is saved.
const SETTINGS: &[(&str, &str)] = &[
    ("bind", "127.0.0.1"),
    ("save", "\"\""),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("logfile", "server.log"),
    ("requirepass", PASSWORD),
    ("masterauth", PASSWORD),
    ("enable-debug-command", "yes"),
];

/// `$1`: where to make the directory; `$2`: the program.
///
/// `answer` is said after each command, so that a program started in the background must not hold
/// the pipe.
const SCRIPT: &str = r#"
trap '' HUP INT PIPE TERM
directory=$(mktemp -d "$1/larder-redis-XXXXXX" || mktemp -d /tmp/larder-redis-XXXXXX) || exit
echo "$directory"
pid=
server=$2
run() { cd "$directory" && "$server" "$directory/redis.conf" >"$directory/output" 2>&1 </dev/null & pid=$!; }
end() { [ -z "$pid" ] && return; kill -CONT "$pid"; kill "-$1" "$pid"; wait "$pid"; pid=; }
send() { kill "-$1" "$pid"; }
while read -r line; do
    eval "$line" 2>/dev/null
    echo $?
done
end KILL 2>/dev/null
cd /
rm -rf "$directory"
"#;

/// A Redis server with a directory and a port of its own, both free again when this is dropped or
/// its process ends, in whatever way.
///
/// It listens on 127.0.0.1 and asks for a password. Unless settings say otherwise it saves nothing:
/// what it held is gone after a stop. All methods block, for some hundredths of a second.
#[derive(Debug)]
pub struct RedisServer {
    shell: Mutex<Shell>,
    directory: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
}

impl RedisServer {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// If the program is not installed, saying what to install, or if it does not start, with what
    /// it says.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with these settings on top of those for tests; the last one of a name counts.
    pub fn start_with(settings: &[(&str, &str)]) -> io::Result<Self> {
        let program = program()?;
        let arguments = [env::temp_dir().into_os_string(), program.into_os_string()];
        let arguments: [&OsStr; 2] = arguments.each_ref().map(AsRef::as_ref);
        let mut shell = Shell::start(SCRIPT, &arguments, |_| Ok(()))?;
        let directory = shell.answer()?.into();
        let all = SETTINGS.iter().chain(settings);
        let mut server = Self {
            shell: Mutex::new(shell),
            directory,
            port: 0,
            settings: all
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        server.run_on_free_port()?;
        Ok(server)
    }

    /// Where it is, with the password.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// Its URL by way of another port on 127.0.0.1: a proxy's.
    pub fn url_at(&self, port: u16) -> String {
        format!("redis://:{PASSWORD_ENCODED}@127.0.0.1:{port}")
    }

    /// The port on 127.0.0.1, the same as long as this lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password, not encoded.
    pub fn password(&self) -> &str {
        PASSWORD
    }

    /// Where the server keeps all that it has; removed with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the server has logged so far.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.directory.join("server.log"))
    }

    /// Ends the server in good order; it saves what its settings say.
    pub fn stop(&self) -> io::Result<()> {
        self.ask("end TERM")
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&self) -> io::Result<()> {
        self.ask("end KILL")
    }

    /// Starts the server after it was stopped or killed, on the same port, and waits until it
    /// answers.
    pub fn run(&self) -> io::Result<()> {
        self.ask("run")?;
        self.wait_until_it_answers()
    }

    /// Kills the server and starts it again.
    pub fn restart(&self) -> io::Result<()> {
        self.kill()?;
        self.run()
    }

    /// Keeps the server from running, its connections open: it answers nothing.
    pub fn pause(&self) -> io::Result<()> {
        self.ask("send STOP")
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> io::Result<()> {
        self.ask("send CONT")
    }

    /// Sends one command on a connection of its own and answers the first line that comes back:
    /// `+OK`, `:1`, `$5`.
    ///
    /// # Errors
    ///
    /// What the connection or the server says; an answer that begins with `-` is an error.
    pub fn command(&self, words: &[&str]) -> io::Result<String> {
        let mut connection = self.dial()?;
        let answer = ask(&mut connection, words)?;
        match answer.strip_prefix('-') {
            Some(error) => Err(io::Error::other(error.to_owned())),
            None => Ok(answer),
        }
    }

    fn dial(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(START_MAX))?;
        let mut connection = BufReader::new(stream);
        ask(&mut connection, &["AUTH", PASSWORD])?;
        Ok(connection)
    }

    /// A port found free may be taken by the time the server asks for it.
    fn run_on_free_port(&mut self) -> io::Result<()> {
        let mut tries = 0;
        loop {
            self.port = free_port()?;
            self.write_settings()?;
            tries += 1;
            match self.run() {
                Err(_) if tries < PORTS_MAX && self.port_was_taken() => self.kill()?,
                outcome => return outcome,
            }
        }
    }

    fn port_was_taken(&self) -> bool {
        self.log()
            .is_ok_and(|log| log.contains("Address already in use"))
    }

    fn write_settings(&self) -> io::Result<()> {
        let own = format!("port {}\ndir {}\n", self.port, self.directory.display());
        let given = self.settings.iter();
        let given: Vec<_> = given
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect();
        fs::write(self.directory.join("redis.conf"), own + &given.concat())
    }

    fn wait_until_it_answers(&self) -> io::Result<()> {
        let started = Instant::now();
        loop {
            let answer = self.command(&["PING"]);
            if answer.as_deref().is_ok_and(|answer| answer == "+PONG") {
                return Ok(());
            }
            if started.elapsed() > START_MAX || self.port_was_taken() {
                let said = fs::read_to_string(self.directory.join("output")).unwrap_or_default();
                let log = self.log().unwrap_or_default();
                return Err(io::Error::other(format!(
                    "redis-server did not start: {answer:?}\n{said}\n{log}"
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask(&self, line: &str) -> io::Result<()> {
        // held until the answer is there, so that answers meet their questions
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        shell.ask(line).map(drop)
    }
}

fn ask(connection: &mut BufReader<TcpStream>, words: &[&str]) -> io::Result<String> {
    let mut line = String::new();
    let bulk = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    let bulks: Vec<_> = words.iter().map(bulk).collect();
    let request = format!("*{}\r\n{}", words.len(), bulks.concat());
    connection.get_mut().write_all(request.as_bytes())?;
    connection.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Where `redis-server` is.
fn program() -> io::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_in(env::split_paths(&path).chain(DIRECTORIES.map(PathBuf::from)))
}

fn find_in(directories: impl Iterator<Item = PathBuf>) -> io::Result<PathBuf> {
    directories
        .map(|directory| directory.join("redis-server"))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "no Redis server is installed: neither PATH nor /usr/bin, /usr/sbin or \
                 /usr/local/bin has redis-server. Run `sh scripts/setup.sh`, which installs it or \
                 says how, or name a running server in LARDER_TEST_REDIS_URL",
            )
        })
}

/// A Redis server for tests, which gives each a namespace of its own.
///
/// A namespace is removed when it is dropped. In somebody else's server, named by
/// `LARDER_TEST_REDIS_URL`, those in use stay there if the process is killed; they are called
/// `larder_test_..`.
#[derive(Debug)]
pub struct Namespaces {
    server: Arc<Place>,
    remover: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Place {
    own: Option<RedisServer>,
    url: String,
    /// Of names, so that test programs that share a server do not meet.
    prefix: String,
    count: AtomicUsize,
    /// Namespaces to remove: at most one for each test that has ended.
    gone: Mutex<Option<mpsc::UnboundedSender<String>>>,
}

/// A namespace, removed when it is dropped.
#[derive(Debug)]
pub struct TestNamespace {
    name: String,
    server: Arc<Place>,
}

impl Namespaces {
    /// In the server that `LARDER_TEST_REDIS_URL` names, else in one of its own.
    ///
    /// # Errors
    ///
    /// If neither a server is named nor the program is installed, saying what to install.
    pub fn open() -> io::Result<Self> {
        match env::var(URL) {
            Ok(url) => Self::at(None, url),
            Err(_) => Self::of(RedisServer::start()?),
        }
    }

    /// In this server, which lives as long as any of its namespaces.
    pub fn of(server: RedisServer) -> io::Result<Self> {
        let url = server.url();
        Self::at(Some(server), url)
    }

    fn at(own: Option<RedisServer>, url: String) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (gone, names) = mpsc::unbounded_channel();
        let remove_at = url.clone();
        let remover = thread::Builder::new()
            .name("namespaces".to_owned())
            .spawn(move || runtime.block_on(remove_all(remove_at, names)))?;
        Ok(Self {
            server: Arc::new(Place {
                own,
                url,
                prefix: format!("larder_test_{:08x}", fastrand::u32(..)),
                count: AtomicUsize::new(0),
                gone: Mutex::new(Some(gone)),
            }),
            remover: Some(remover),
        })
    }

    /// The server, if it is not somebody else's.
    pub fn server(&self) -> Option<&RedisServer> {
        self.server.own.as_ref()
    }

    /// An empty namespace.
    pub fn fresh(&self) -> TestNamespace {
        let number = self.server.count.fetch_add(1, Ordering::Relaxed);
        TestNamespace {
            name: format!("{}_{number}", self.server.prefix),
            server: Arc::clone(&self.server),
        }
    }
}

impl Drop for Namespaces {
    /// Waits until the namespaces are gone, if nobody uses them any more.
    fn drop(&mut self) {
        if Arc::strong_count(&self.server) > 1 {
            return;
        }
        drop(self.server.gone());
        if let Some(remover) = self.remover.take() {
            // it does not panic; if it did, there would be nothing to do about it
            let _ = remover.join();
        }
    }
}

impl Place {
    fn gone(&self) -> Option<mpsc::UnboundedSender<String>> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.take()
    }
}

impl TestNamespace {
    /// Where it is: the server's URL with the namespace.
    pub fn url(&self) -> String {
        self.url_from(&self.server.url)
    }

    /// The same namespace by way of another URL of the server.
    pub fn url_from(&self, url: &str) -> String {
        let sign = if url.contains('?') { '&' } else { '?' };
        format!("{url}{sign}namespace={}", self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        let gone = self.server.gone.lock();
        if let Some(gone) = &*gone.unwrap_or_else(PoisonError::into_inner) {
            // nobody is there to remove it once the server is gone
            let _ = gone.send(self.name.clone());
        }
    }
}

/// Removes namespaces, on a connection that is made with the first.
async fn remove_all(url: String, mut names: mpsc::UnboundedReceiver<String>) {
    let mut client: Option<Client> = None;
    while let Some(name) = names.recv().await {
        if client.is_none() {
            client = connect(&url).await.ok();
        }
        let Some(open) = &client else { continue };
        // A test may have left its server stopped; then there is nothing to remove.
        let removing = tokio::time::timeout(Duration::from_secs(5), remove(open, &name));
        if !matches!(removing.await, Ok(Ok(()))) {
            client = None;
        }
    }
    if let Some(client) = client {
        let _ = client.quit().await;
    }
}

async fn connect(url: &str) -> Result<Client, fred::error::Error> {
    let client = Builder::from_config(fred::types::config::Config::from_url(url)?).build()?;
    client.init().await?;
    Ok(client)
}

async fn remove(client: &Client, namespace: &str) -> Result<(), fred::error::Error> {
    let scan = CustomCommand::new_static("SCAN", ClusterHash::Random, false);
    let mut cursor = "0".to_owned();
    loop {
        let words = vec![
            cursor,
            "MATCH".to_owned(),
            format!("{{{namespace}}}:*"),
            "COUNT".to_owned(),
            KEYS_AT_ONCE.to_string(),
        ];
        let (next, keys): (String, Vec<Key>) = client.custom(scan.clone(), words).await?;
        if !keys.is_empty() {
            let _: i64 = client.unlink(keys).await?;
        }
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_server_is_told_what_to_install() {
        let error = find_in(std::iter::once(PathBuf::from("/nowhere"))).expect_err("not there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("sh scripts/setup.sh"), "{error}");
    }

    #[test]
    fn a_server_lives_as_long_as_its_handle() -> io::Result<()> {
        let server = RedisServer::start()?;
        let (port, directory) = (server.port(), server.directory().to_owned());
        assert_eq!(server.command(&["SET", "a", "1"])?, "+OK");
        server.restart()?;
        assert_eq!(server.command(&["GET", "a"])?, "$-1", "nothing is saved");
        server.pause()?;
        server.resume()?;
        server.stop()?;
        assert!(server.command(&["PING"]).is_err());
        server.run()?;
        assert_eq!(server.command(&["PING"])?, "+PONG");
        drop(server);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(!directory.exists());
        Ok(())
    }
}
