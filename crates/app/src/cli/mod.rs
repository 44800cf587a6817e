//! The command line: what there is, and what happens around every command.

mod completions;
mod copy;
mod demo;
mod exchange;
mod export;
mod failure;
mod import;
mod migrate;
mod output;
#[cfg(feature = "serve")]
mod serve;
mod show;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use larder::{DbOptions, Store};
use tracing_subscriber::EnvFilter;

use failure::{Failure, Outcome};
use output::Output;

/// Where data goes unless told otherwise.
const DEFAULT_URL: &str = "sqlite://larder.db";

/// How long threads may finish their work at the end of the program.
const SHUTDOWN: Duration = Duration::from_secs(1);
/// How long a command may take to notice Ctrl-C before the program ends all the same.
const GRACE: Duration = Duration::from_secs(5);

const AFTER_HELP: &str = "\
Examples:
  larder demo                               see what Larder does, on a temporary database
  larder serve --seed                       a service to try, with sample data
  larder import data/ --database-url sqlite://blog.db
  larder show posts --where \"status = published and title ~ qubit\" --limit 5
  larder copy sqlite://blog.db postgres://app@localhost/blog
  larder migrate status

Environment:
  DATABASE_URL         the database, where --database-url does not name one
  LARDER_LOG, RUST_LOG what to log to standard error, such as larder=debug

Exit codes:
  0    done
  1    the operation failed
  2    the command line makes no sense, or needs --yes
  3    input data was refused
  130  interrupted; what was under way has been undone";

/// Larder: one set of models on every engine. This program tries it out and works on its data.
#[derive(Debug, Parser)]
#[command(name = "larder", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Args, Debug)]
struct Verbosity {
    /// Log more: -v what happens, -vv every statement, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    #[cfg(feature = "serve")]
    Serve(serve::Serve),
    Import(import::Import),
    Export(export::Export),
    Copy(copy::Copy),
    Show(show::Show),
    Migrate(migrate::Migrate),
    Completions(completions::Completions),
}

/// Which database a command works on.
#[derive(Args, Debug)]
struct Database {
    /// The database: sqlite://FILE, postgres://USER:PASSWORD@HOST/NAME, sqlite::memory: or memory:
    #[arg(
        long,
        value_name = "URL",
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = DEFAULT_URL
    )]
    database_url: String,
}

impl Database {
    /// Opens the database, making the file if there is none.
    async fn open(&self) -> Outcome<Store> {
        open(&self.database_url).await
    }

    /// Opens a database that must be there already.
    async fn open_existing(&self) -> Outcome<Store> {
        match self.missing_file()? {
            None => self.open().await,
            Some(file) => Err(Failure::operation(format!("there is no database at `{file}`"))
                .advice("make it with `larder import DIR` or `larder migrate up`, or name another one with --database-url")),
        }
    }

    /// The file that the URL means, if it does not exist.
    fn missing_file(&self) -> Outcome<Option<String>> {
        let file = Store::file(&self.database_url).map_err(Failure::usage_of)?;
        Ok(file
            .filter(|file| !file.exists())
            .map(|file| file.display().to_string()))
    }
}

/// Opens the database at a URL; a URL that makes no sense is a mistake of usage.
async fn open(url: &str) -> Outcome<Store> {
    Store::file(url).map_err(Failure::usage_of)?;
    Ok(Store::open(url, DbOptions::default()).await?)
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli.verbosity);
    let mut output = Output::new(cli.verbosity.quiet);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| Failure::operation("the async runtime cannot be started").because(cause))
        .and_then(|runtime| {
            let outcome = runtime.block_on(cli.command.run_to_its_end(&mut output));
            // A thread that still waits for an answer at the terminal is not waited for.
            runtime.shutdown_timeout(SHUTDOWN);
            outcome
        })
        .and_then(|()| Ok(output.finish()?));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs a command until it ends or Ctrl-C drops it: its transaction is rolled back then and its
/// temporary files are removed.
async fn until_interrupted(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            // The command is stuck in a read of a pipe or a dead disk. What it had not committed
            // the database undoes by itself.
            tokio::time::sleep(GRACE).await;
            std::process::exit(130);
        }
    });
    tokio::select! {
        biased;
        pressed = tokio::signal::ctrl_c() => match pressed {
            Ok(()) => Err(Failure::interrupted()),
            Err(cause) => Err(Failure::operation("Ctrl-C cannot be listened for").because(cause)),
        },
        outcome = command => outcome,
    }
}

impl Command {
    /// Runs it until it ends, or Ctrl-C ends it; the service ends by itself.
    async fn run_to_its_end(self, output: &mut Output) -> Outcome {
        match self {
            #[cfg(feature = "serve")]
            Self::Serve(serve) => serve.run(output).await,
            other => Box::pin(until_interrupted(other.run(output))).await,
        }
    }

    async fn run(self, output: &mut Output) -> Outcome {
        match self {
            Self::Demo(demo) => demo.run(output).await,
            #[cfg(feature = "serve")]
            Self::Serve(serve) => serve.run(output).await,
            Self::Import(import) => import.run(output).await,
            Self::Export(export) => export.run(output).await,
            Self::Copy(copy) => copy.run(output).await,
            Self::Show(show) => show.run(output).await,
            Self::Migrate(migrate) => migrate.run(output).await,
            Self::Completions(completions) => completions.run(output),
        }
    }
}

/// Logs to standard error: by the environment if it says, else by -v and -q.
fn start_logging(verbosity: &Verbosity) {
    let level = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,larder::slow=error", // work in bulk is slow by nature
        (false, 1) => "info",
        (false, 2) => "info,larder=debug",
        (false, _) => "trace",
    };
    let filter = ["LARDER_LOG", "RUST_LOG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .map_or_else(|| EnvFilter::new(level), EnvFilter::new);
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init(); // fails only where a logger is set already, which will do as well
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
