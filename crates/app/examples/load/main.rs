//! A load run against `larder serve` on this machine: mixed reads and writes over connections that
//! stay open, for some seconds, on SQLite and PostgreSQL.
//!
//! ```sh
//! just load                                # both engines
//! just load --engine sqlite --seconds 30 --connections 64
//! ```
//!
//! It starts the program that lies beside it, on a database of its own, and prints a row of the
//! table of `benches/README.md` for each engine. Errors end it with a failure.

mod client;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use larder_tests::databases::{Database, Databases};
use serde_json::{Value, json};

use client::Connection;

/// What goes wrong here ends the run.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many users write.
const USERS: usize = 8;
/// How many articles are there at the beginning.
const ARTICLES: usize = 200;

#[derive(Parser, Clone)]
struct Options {
    /// The engine [default: both]
    #[arg(long)]
    engine: Option<Engine>,
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many requests are under way at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    connections: u16,
    /// How many of a hundred requests write
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    writes: u8,
    /// The program [default: beside this one]
    #[arg(long)]
    program: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

/// The service, ended when it is dropped.
struct Server {
    child: Child,
    address: String,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    reads: Vec<Duration>,
    writes: Vec<Duration>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let engines = match options.engine {
        Some(engine) => vec![engine],
        None => vec![Engine::Sqlite, Engine::Postgres],
    };
    println!("| engine | requests/s | read p50, p99 ms | write p50, p99 ms | queries a request |");
    println!("|---|---|---|---|---|");
    for engine in engines {
        if let Err(error) = measure(engine, &options) {
            eprintln!("{engine:?}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measure(engine: Engine, options: &Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let databases = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Databases::open()?),
    };
    let database = match &databases {
        Some(databases) => {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            Some(runtime.block_on(databases.empty())?)
        }
        None => None,
    };
    let url = database.as_ref().map(Database::url);
    let url = url.unwrap_or_else(|| "sqlite://load.db".to_owned());
    let server = start(directory.path(), &url, options)?;
    let (tokens, slugs) = prepare(&server.address)?;
    let before = counted(&server.address)?;
    let (seen, took) = run(&server.address, &tokens, &slugs, options)?;
    report(engine, seen, took, before, counted(&server.address)?);
    Ok(())
}

fn start(directory: &Path, url: &str, options: &Options) -> Result<Server> {
    let beside = || -> Result<PathBuf> {
        let own = std::env::current_exe()?;
        let target = own.parent().and_then(Path::parent);
        Ok(target.ok_or("it lies nowhere")?.join("larder"))
    };
    let program = options.program.clone().map_or_else(beside, Ok)?;
    let mut child = Command::new(&program)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            url,
            "--rate-limits",
            "false",
        ])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let output = child.stdout.take().ok_or("it has no output")?;
    for line in BufReader::new(output).lines() {
        if let Some(rest) = line?.strip_prefix("listening on http://") {
            let address = rest.split(' ').next().unwrap_or_default().to_owned();
            return Ok(Server { child, address });
        }
    }
    child.wait()?;
    Err("the service ended before it listened".into())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes users and articles; answers the users' tokens and the articles' slugs.
fn prepare(address: &str) -> Result<(Vec<String>, Vec<String>)> {
    let mut connection = Connection::to(address)?;
    let mut tokens = Vec::with_capacity(USERS);
    for number in 0..USERS {
        let user = json!({"user": {
            "username": format!("user{number}"), "email": format!("user{number}@example.com"),
            "password": "correct horse"
        }});
        let answer = connection.send("POST", "/api/users", None, Some(&user))?;
        tokens.push(text(&answer, "/user/token")?);
    }
    let mut slugs = Vec::with_capacity(ARTICLES);
    for number in 0..ARTICLES {
        let token = &tokens[number % USERS];
        let answer =
            connection.send("POST", "/api/articles", Some(token), Some(&article(number)))?;
        slugs.push(text(&answer, "/article/slug")?);
    }
    Ok((tokens, slugs))
}

fn article(number: usize) -> Value {
    json!({"article": {
        "title": format!("Article {number}"), "description": "What it is about.",
        "body": "What there is to say, at some length. ".repeat(20),
        "tagList": [format!("tag{}", number % 20), "load"]
    }})
}

fn text(answer: &Value, pointer: &str) -> Result<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    Ok(found.ok_or("the answer lacks something")?.to_owned())
}

/// Everybody asks, one request after the other, until the time is over.
fn run(
    address: &str,
    tokens: &[String],
    slugs: &[String],
    options: &Options,
) -> Result<(Vec<Seen>, Duration)> {
    let started = Instant::now();
    let end = started + Duration::from_secs(options.seconds);
    let seen = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..options.connections)
            .map(|number| {
                let mut rng = fastrand::Rng::with_seed(u64::from(number));
                let token = &tokens[usize::from(number) % tokens.len()];
                scope.spawn(move || ask(address, token, slugs, options.writes, end, &mut rng))
            })
            .collect();
        let asked = asking.into_iter().map(|one| match one.join() {
            Ok(seen) => seen,
            Err(_) => Err("a connection panicked".into()),
        });
        asked.collect::<Result<Vec<Seen>>>()
    })?;
    Ok((seen, started.elapsed()))
}

fn ask(
    address: &str,
    token: &str,
    slugs: &[String],
    writes: u8,
    end: Instant,
    rng: &mut fastrand::Rng,
) -> Result<Seen> {
    let mut connection = Connection::to(address)?;
    let mut seen = Seen::default();
    while Instant::now() < end {
        let slug = &slugs[rng.usize(..slugs.len())];
        let writing = rng.u8(..100) < writes;
        let (method, path, body) = match (writing, rng.u8(..10)) {
            (true, 0..4) => (
                "POST",
                "/api/articles".to_owned(),
                Some(article(rng.usize(..))),
            ),
            (true, 4..8) => {
                let comment = json!({"comment": {"body": "Well said, and at the right time."}});
                (
                    "POST",
                    format!("/api/articles/{slug}/comments"),
                    Some(comment),
                )
            }
            (true, _) => ("POST", format!("/api/articles/{slug}/favorite"), None),
            (false, 0..4) => ("GET", "/api/articles?limit=20".to_owned(), None),
            (false, 4..7) => ("GET", format!("/api/articles/{slug}"), None),
            (false, 7..9) => (
                "GET",
                format!("/api/profiles/user{}", rng.usize(..USERS)),
                None,
            ),
            (false, _) => ("GET", "/api/tags".to_owned(), None),
        };
        let started = Instant::now();
        connection.send(method, &path, Some(token), body.as_ref())?;
        let times = if writing {
            &mut seen.writes
        } else {
            &mut seen.reads
        };
        times.push(started.elapsed());
    }
    Ok(seen)
}

/// How many statements the service has sent to its store, and how many requests it has answered.
fn counted(address: &str) -> Result<(f64, f64)> {
    let text = Connection::to(address)?.text("/metrics")?;
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    };
    Ok((sum("larder_statements_total"), sum("larder_requests_total")))
}

fn report(engine: Engine, seen: Vec<Seen>, took: Duration, before: (f64, f64), after: (f64, f64)) {
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for one in seen {
        reads.extend(one.reads);
        writes.extend(one.writes);
    }
    let per_second = (reads.len() + writes.len()) as f64 / took.as_secs_f64();
    let queries = (after.0 - before.0) / (after.1 - before.1);
    println!(
        "| {engine:?} | {per_second:.0} | {} | {} | {queries:.1} |",
        percentiles(&mut reads),
        percentiles(&mut writes)
    );
}

/// The median and the 99th of a hundred, in milliseconds.
fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        let place = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
        times
            .get(place)
            .map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    };
    format!("{:.2}, {:.2}", at(0.5), at(0.99))
}
