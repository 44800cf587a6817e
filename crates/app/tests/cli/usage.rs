//! URLs, the environment, help.

use crate::Place;

#[test]
fn urls_that_make_no_sense_are_refused_without_their_secrets() {
    let place = Place::new();
    for url in [
        "postgres://ada:hunter2@db:port/app",
        "redis://:hunter2@cache:port",
        "mysql://ada:hunter2@db",
        "hunter2",
        "sqlite://",
    ] {
        let run = place.run(&["show", "users", "--database-url", url]).ends(2);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
    let mut command = place.command(&["--help"]);
    let help = command
        .env("DATABASE_URL", "postgres://ada:hunter2@db")
        .output()
        .expect("it runs");
    assert!(!String::from_utf8_lossy(&help.stdout).contains("hunter2"));

    place
        .run(&["show", "users"])
        .ends(1)
        .complains("no database at `larder.db`");
    place
        .run(&["export", "out"])
        .ends(1)
        .complains("no database");
    assert!(!place.path().join("larder.db").exists() && !place.path().join("out").exists());
    place.write(
        "larder.db",
        "this is no database, but it is long enough to look like one\n".repeat(99),
    );
    place.run(&["show", "users"]).ends(1).complains("error: ");
}

#[test]
fn the_environment_names_a_database() {
    let place = Place::with_data();
    let mut command = place.command(&["import", "data", "-q"]);
    let output = command
        .env("DATABASE_URL", "sqlite://named.db")
        .output()
        .expect("it runs");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert!(place.path().join("named.db").exists());
}

#[test]
fn help_and_completions_are_there() {
    let place = Place::new();
    place
        .run(&["--help"])
        .ends(0)
        .says("Exit codes:")
        .says("larder demo");
    for command in ["demo", "import", "export", "copy", "show"] {
        place.run(&[command, "--help"]).ends(0).says("Examples:");
    }
    place.run(&["--version"]).ends(0).says("larder 0.");
    place.run(&["completions", "bash"]).ends(0).says("_larder");
    place.run(&["completions", "tcsh"]).ends(2);
    place.run(&[]).ends(2);
}
