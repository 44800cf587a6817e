//! The `larder` program: try Larder out, move data in and out, look at it, migrate.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
