//! PostgreSQL servers of tests: what they are asked to do, and that nothing stays behind.

use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::cluster::Cluster;
use larder_tests::databases::{Database, Databases};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio_postgres::{Client, NoTls};

/// Makes this program start a cluster, say where it is, and wait to be killed.
const CHILD: &str = "LARDER_CLUSTER_CHILD";
/// How long the keeper of a killed process may take.
const GONE_WITHIN: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return match wait_to_be_killed() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let tests = vec![
        Trial::test("takes_passwords_over_tcp_and_socket", takes_passwords),
        Trial::test("is_gone_after_a_drop", is_gone_after_a_drop),
        Trial::test("is_gone_after_a_kill", is_gone_after_a_kill),
        Trial::test(
            "is_gone_after_a_kill_of_its_start",
            is_gone_after_an_early_kill,
        ),
        Trial::test("stops_and_starts", stops_and_starts),
        Trial::test("says_why_it_does_not_start", says_why_it_does_not_start),
        Trial::test("a_replica_follows_and_is_promoted", a_replica_follows),
        Trial::test("databases_are_copied_and_removed", databases_are_copied),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn takes_passwords() -> Result<(), Failed> {
    let cluster = Cluster::start_with(&[("work_mem", "5MB")])?;
    for url in [cluster.url("postgres"), cluster.socket_url("postgres")] {
        assert_eq!(ask(&url, "SHOW work_mem")?, "5MB");
        assert_eq!(ask(&url, "SHOW timezone")?, "Asia/Kathmandu");
        assert_eq!(ask(&url, "SHOW server_encoding")?, "UTF8");
        let wrong = url.replacen(":p", ":q", 1);
        assert!(ask(&wrong, "SELECT 'x'").is_err(), "a wrong password");
    }
    Ok(())
}

fn is_gone_after_a_drop() -> Result<(), Failed> {
    let cluster = Cluster::start_with(&[])?;
    let (directory, port) = (cluster.directory().to_owned(), cluster.port());
    assert!(directory.exists() && answers(port));
    drop(cluster);
    assert!(!directory.exists(), "the directory is still there");
    assert!(!answers(port), "the server is still there");
    Ok(())
}

fn is_gone_after_a_kill() -> Result<(), Failed> {
    let (mut child, line) = child_that_says("started")?;
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next().ok_or("the child says too little");
    let port: u16 = next()?.parse()?;
    let directory = PathBuf::from(next()?);
    assert!(directory.exists() && answers(port));
    child.kill()?;
    child.wait()?;
    wait_until_gone(&directory)?;
    assert!(!answers(port), "the server is still there");
    Ok(())
}

/// While `initdb` or `pg_ctl` is at work.
fn is_gone_after_an_early_kill() -> Result<(), Failed> {
    for delay_ms in [0, 20, 300, 800] {
        let temporary = tempfile::tempdir()?;
        // for the server's account too
        std::fs::set_permissions(temporary.path(), open_to_all())?;
        let mut child = child_in(temporary.path())?;
        thread::sleep(Duration::from_millis(delay_ms));
        child.kill()?;
        child.wait()?;
        wait_until_empty(temporary.path())?;
    }
    Ok(())
}

fn stops_and_starts() -> Result<(), Failed> {
    let cluster = Cluster::start_with(&[("synchronous_commit", "on")])?;
    let url = cluster.url("postgres");
    ask(&url, "CREATE TABLE kept AS SELECT 'row' AS it")?;
    cluster.stop_immediate()?;
    assert!(!answers(cluster.port()));
    assert!(cluster.stop().is_err(), "it was stopped already");
    cluster.start()?;
    assert_eq!(ask(&url, "SELECT it FROM kept")?, "row");
    cluster.restart()?;
    assert_eq!(ask(&url, "SELECT it FROM kept")?, "row");
    assert!(cluster.log()?.contains("database system is ready"));
    Ok(())
}

fn says_why_it_does_not_start() -> Result<(), Failed> {
    match Cluster::start_with(&[("max_connections", "many")]) {
        Ok(_) => Err("it started with a setting that makes no sense".into()),
        Err(error) => {
            assert!(error.to_string().contains("max_connections"), "{error}");
            Ok(())
        }
    }
}

fn a_replica_follows() -> Result<(), Failed> {
    let primary = Cluster::start_with(&[])?;
    ask(
        &primary.url("postgres"),
        "CREATE TABLE kept AS SELECT 'row' AS it",
    )?;
    let replica = Cluster::replica_of(&primary)?;
    let url = replica.url("postgres");
    assert_eq!(ask(&url, "SELECT it FROM kept")?, "row");
    ask(&primary.url("postgres"), "UPDATE kept SET it = 'new'")?;
    let until = Instant::now() + Duration::from_secs(10);
    while ask(&url, "SELECT it FROM kept")? != "new" {
        assert!(Instant::now() < until, "the replica does not follow");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(ask(&url, "DELETE FROM kept").is_err(), "a replica writes");
    primary.stop_immediate()?;
    replica.promote()?;
    ask(&url, "UPDATE kept SET it = 'newer'")?;
    assert_eq!(ask(&url, "SELECT it FROM kept")?, "newer");
    Ok(())
}

fn databases_are_copied() -> Result<(), Failed> {
    let databases = Databases::open()?;
    let tables = larder_core::models::tables();
    let runtime = runtime()?;
    let mut made = 0;
    let mut copies = Vec::new();
    for _ in 0..3 {
        let create = |url: String| {
            made += 1;
            async move {
                let client = connect(&url).await.expect("the template takes connections");
                let sql = "CREATE TABLE kept AS SELECT 'row' AS it";
                client.batch_execute(sql).await.expect("it is empty");
                Ok(())
            }
        };
        copies.push(runtime.block_on(databases.with_tables(&tables, create))?);
    }
    assert_eq!(made, 1, "the others are copies");
    let urls: Vec<String> = copies.iter().map(Database::url).collect();
    ask(&urls[0], "DELETE FROM kept")?;
    assert_eq!(ask(&urls[1], "SELECT it FROM kept")?, "row");
    let empty = runtime.block_on(databases.empty())?;
    assert!(ask(&empty.url(), "SELECT it FROM kept").is_err());
    // somebody is still connected to it
    let connected = runtime.block_on(connect(&urls[2]))?;
    drop(copies);
    // statements are run in order
    let last = runtime.block_on(databases.empty())?;
    assert!(urls.iter().all(|url| ask(url, "SELECT 'x'").is_err()));
    drop((connected, last, empty));
    Ok(())
}

/// What the child does.
fn wait_to_be_killed() -> io::Result<()> {
    let cluster = Cluster::start_with(&[])?;
    println!(
        "started {} {}",
        cluster.port(),
        cluster.directory().display()
    );
    loop {
        thread::park();
    }
}

fn child_that_says(word: &str) -> Result<(Child, String), Failed> {
    let mut child = child_in(&std::env::temp_dir())?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    assert!(line.starts_with(word), "the child says {line:?}");
    Ok((child, line.trim_end().to_owned()))
}

fn child_in(temporary: &Path) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .env(CHILD, "1")
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .spawn()
}

fn open_to_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o777)
}

fn wait_until_gone(directory: &Path) -> Result<(), Failed> {
    wait_until(|| !directory.exists(), "the directory is still there")
}

/// A process killed at once may have its keeper still make the directory.
fn wait_until_empty(directory: &Path) -> Result<(), Failed> {
    thread::sleep(Duration::from_millis(100));
    let empty = || std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    wait_until(empty, "something is left")
}

fn wait_until(done: impl Fn() -> bool, otherwise: &str) -> Result<(), Failed> {
    let until = Instant::now() + GONE_WITHIN;
    while !done() {
        if Instant::now() > until {
            return Err(otherwise.into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Runs a statement; the text that its only row has, or nothing.
fn ask(url: &str, sql: &str) -> Result<String, Failed> {
    runtime()?.block_on(async {
        let client = connect(url).await?;
        let row = client.query_opt(sql, &[]).await?;
        Ok(row.map_or(Ok(String::new()), |row| row.try_get(0))?)
    })
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}
