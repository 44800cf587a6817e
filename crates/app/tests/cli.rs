//! The program, run as a user runs it: in a directory of its own, by its exit code and output.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory for one test, in which the program runs.
struct Place(TempDir);

/// What a run of the program left.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("a file")
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().expect("it runs");
        Run {
            code: status.code().expect("it was not killed"),
            out: String::from_utf8(stdout).expect("UTF-8"),
            err: String::from_utf8(stderr).expect("UTF-8"),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .env_remove("DATABASE_URL")
            .env_remove("LARDER_LOG")
            .env_remove("RUST_LOG");
        command
    }

    /// A small set of files that fit together.
    fn with_data() -> Self {
        let place = Self::new();
        place.write("data/users.ndjson", USERS);
        place.write("data/posts.ndjson", POSTS);
        place.write("data/comments.ndjson", COMMENTS);
        place.write("data/tags.ndjson", TAGS);
        place.write("data/post_tags.ndjson", POST_TAGS);
        place
    }

    /// The same, imported.
    fn imported() -> Self {
        let place = Self::with_data();
        place.run(&["import", "data"]).ends(0);
        place
    }

    fn rows(&self, table: &str) -> Vec<Value> {
        let run = self.run(&["show", table, "--json"]).ends(0);
        run.out
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

impl Run {
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "`{text}` is not in:\n{}", self.out);
        self
    }

    #[track_caller]
    fn complains(self, text: &str) -> Self {
        assert!(self.err.contains(text), "`{text}` is not in:\n{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

/// Lines made from their numbers, from 1.
fn lines(count: u32, line: impl Fn(u32) -> String) -> String {
    (1..=count)
        .flat_map(|id| [line(id), "\n".to_owned()])
        .collect()
}

/// A user with a long text.
fn user(id: u32) -> String {
    let bio = "x".repeat(200);
    format!(
        r#"{{"id":{id},"email":"u{id}@example.com","name":"n","bio":"{bio}","created_at":"2020-01-01T00:00:00Z"}}"#
    )
}

const USERS: &str = r#"{"id":1,"email":"ada@example.com","name":"Ada Lovelace","is_active":true,"bio":"Wrote \"notes\".\r\nMore — ünïcödé 🦀","created_at":"2018-03-09T18:48:09.000Z","updated_at":"2018-03-09T18:48:09.477Z"}
{"id":2,"email":"grace@example.com","name":"Grace Hopper ","is_active":false,"bio":null,"created_at":"2018-03-10T00:00:00.123456Z","updated_at":null}
{"id":1000000,"email":"edsger@example.com","name":"Edsger","is_active":true,"bio":"","created_at":"1969-12-31T23:59:59.999Z","updated_at":null}
"#;
const POSTS: &str = r#"{"id":1,"slug":"on-notes","title":"On notes","content":"<p>100% of a_b\\n</p>","author_id":1,"status":"published","created_at":"2018-03-12T17:00:45.567Z","updated_at":null}
{"id":3,"slug":"on-ships","title":"On ships","content":"two\nlines","author_id":2,"status":"archived","created_at":"2018-03-13T17:00:45.567Z","updated_at":"2019-01-01T00:00:00.000Z"}
"#;
const COMMENTS: &str = r#"{"id":7,"post_id":1,"author_id":2,"content":"Fine.","created_at":"2018-03-14T00:00:00.000Z"}
"#;
const TAGS: &str = "{\"id\":1,\"name\":\"notes\"}\n{\"id\":2,\"name\":\"ships\"}\n";
const POST_TAGS: &str = "{\"post_id\":1,\"tag_id\":1}\n{\"post_id\":3,\"tag_id\":2}\n";

#[test]
fn the_demo_runs_to_its_end_and_twice_on_one_file() {
    let place = Place::new();
    let first = place.run(&["demo", "--keep", "demo.db"]).ends(0);
    let first = first
        .says("1,000 users, 5,000 posts, 20,000 comments")
        .says("users_email_key");
    assert!(!first.out.contains("there already"));
    place
        .run(&["demo", "--keep", "demo.db"])
        .ends(0)
        .says("the data is there already; nothing was added")
        .says("1,000 users, 5,000 posts, 20,000 comments");
    let tags = place
        .run(&["export", "out", "--database-url", "sqlite://demo.db"])
        .ends(0);
    tags.says("tags              12 to out");
}

#[test]
fn the_demo_leaves_other_data_alone() {
    let place = Place::imported();
    place
        .run(&["demo", "--keep", "larder.db"])
        .ends(1)
        .complains("holds other data");
    assert_eq!(place.rows("users").len(), 3);
}

#[test]
fn an_import_and_an_export_make_a_circle() {
    let place = Place::imported();
    place.run(&["export", "out"]).ends(0);
    for (name, text) in [
        ("users", USERS),
        ("posts", POSTS),
        ("comments", COMMENTS),
        ("tags", TAGS),
        ("post_tags", POST_TAGS),
    ] {
        assert_eq!(place.read(&format!("out/{name}.ndjson")), text);
    }
    place.run(&["export", "out"]).ends(1).complains("--force");
    place.run(&["export", "out", "--force"]).ends(0);
    assert_eq!(
        fs::read_dir(place.path().join("out"))
            .expect("a directory")
            .count(),
        5
    );
}

#[test]
fn csv_makes_a_circle_too() {
    let place = Place::imported();
    place.run(&["export", "csv", "--format", "csv"]).ends(0);
    let users = place.read("csv/users.csv");
    assert!(
        users.starts_with("id,email,name,is_active,bio,created_at,updated_at\n"),
        "{users}"
    );
    place
        .run(&["import", "csv", "--database-url", "sqlite://two.db"])
        .ends(0);
    place
        .run(&["export", "again", "--database-url", "sqlite://two.db"])
        .ends(0);
    // An empty text that may be absent is the one thing CSV cannot tell.
    let expected = USERS.replace("\"bio\":\"\"", "\"bio\":null");
    assert_eq!(place.read("again/users.ndjson"), expected);
    assert_eq!(place.read("again/posts.ndjson"), POSTS);
}

#[test]
fn byte_order_marks_line_ends_and_blank_lines_do_not_matter() {
    let place = Place::new();
    place.write(
        "data/tags.ndjson",
        "\u{feff}{\"id\":1,\"name\":\"a\"}\r\n\r\n{\"name\":\"b\",\"id\":2}\r\n",
    );
    place.write(
        "data/users.csv",
        "\u{feff}email,id,name,created_at\r\na@b.co,1,\"A \"\"B\"\", C\",2020-01-01T00:00:00Z\r\n",
    );
    place
        .run(&["import", "data"])
        .ends(0)
        .says("tags               2 imported");
    let users = place.rows("users");
    assert_eq!(
        (&users[0]["name"], &users[0]["is_active"]),
        (&"A \"B\", C".into(), &true.into())
    );
}

#[test]
fn a_file_with_bad_lines_changes_nothing() {
    let place = Place::with_data();
    let good = USERS.lines().next().expect("a line");
    let bad = [
        good.to_owned(),
        "not json".to_owned(),
        good.replace("ada@example.com", "ada")
            .replace("\"id\":1,", "\"id\":2,"),
        good.replace("\"id\":1,", "\"id\":\"3\","),
        good.replace("2018-03-09T18:48:09.000Z", "2018-02-30T00:00:00Z"),
        good.replace("Ada Lovelace", "  "),
        good.replace("Ada Lovelace", &"x".repeat(101)),
        good.replace("\"bio\"", "\"biography\""),
        good.replace("\"name\":\"Ada Lovelace\",", ""),
        good.replace("Ada Lovelace", "a\\u0000b"),
        good.replace("\"id\":1,", "\"id\":1,\"id\":2,"),
        good.replace("18:48:09.000Z", "18:48:09.0000001Z"),
    ];
    place.write("data/users.ndjson", bad.join("\n"));
    let run = place.run(&["import", "data"]).ends(3);
    let run = run
        .complains("users.ndjson:2: column 2: not a JSON object")
        .complains("users.ndjson:3: email: \"ada\" is not an email address")
        .complains("users.ndjson:4: id: a whole number is expected, found a text")
        .complains("users.ndjson:5: created_at: \"2018-02-30T00:00:00Z\" is not a timestamp")
        .complains(
            "users.ndjson:6: name: \"  \" must not be blank"
                .replace("  ", " ")
                .as_str(),
        )
        .complains("users.ndjson:7: name: is 101 characters long; at most 100")
        .complains("users.ndjson:8: unknown field \"biography\"; users has id, email")
        .complains("users.ndjson:9: name: is missing")
        .complains("users.ndjson:10: name: holds a NUL")
        .complains("users.ndjson:11: id: stands there twice")
        .complains("users.ndjson:12: created_at:")
        .complains("has 11 bad lines; nothing of it was imported")
        .complains("4 files after it were not read");
    assert!(!run.err.contains("users.ndjson:1:"));
    assert!(place.rows("users").is_empty());

    place.write("only/users.ndjson", bad.join("\n"));
    place
        .run(&["import", "only", "--skip-bad"])
        .ends(0)
        .says("1 imported, 11 bad, left out");
    assert_eq!(place.rows("users").len(), 1);
}

#[test]
fn many_bad_lines_are_counted() {
    let place = Place::new();
    place.write("data/tags.ndjson", "{\"id\":0}\n".repeat(2_500));
    let run = place.run(&["import", "data"]).ends(3);
    let run = run
        .complains("tags.ndjson:20:")
        .complains("and 2,480 more")
        .complains("2,500 bad lines");
    assert!(!run.err.contains("tags.ndjson:21:"));
}

#[test]
fn what_the_database_refuses_is_told_by_line() {
    let place = Place::imported();
    let again = place.run(&["import", "data"]).ends(3);
    again
        .complains("users.ndjson:1: id: 1 is there already")
        .complains("--on-conflict ignore")
        .complains("4 files after it were not read");
    place
        .run(&["import", "data", "--on-conflict", "ignore"])
        .ends(0)
        .says("users              0 imported, 3 there already");

    // Another key with the same email is refused all the same.
    let taken = USERS
        .lines()
        .next()
        .expect("a line")
        .replace("\"id\":1,", "\"id\":5,");
    place.write("more/users.ndjson", taken);
    place
        .run(&["import", "more", "--on-conflict", "ignore"])
        .ends(3)
        .complains("users.ndjson:1: email: ada@example.com is there already (constraint `users_email_key`)");

    let orphan = COMMENTS
        .replace("\"id\":7", "\"id\":8")
        .replace("\"post_id\":1", "\"post_id\":99");
    let fine = COMMENTS.replace("\"id\":7", "\"id\":9");
    place.write("orphans/comments.ndjson", orphan + &fine);
    place
        .run(&["import", "orphans"])
        .ends(3)
        .complains("comments.ndjson:1: post_id: there is no row 99 in posts");
    assert_eq!(place.rows("comments").len(), 1);
    place
        .run(&["import", "orphans", "--skip-bad"])
        .ends(0)
        .says("1 imported, 1 bad, left out");
    assert_eq!(place.rows("comments").len(), 2);
}

#[test]
fn more_rows_than_a_batch_are_one_unit() {
    let place = Place::new();
    let tags = lines(2_600, |id| format!("{{\"id\":{id},\"name\":\"tag {id}\"}}"));
    place.write(
        "data/tags.ndjson",
        tags.clone() + "{\"id\":2601,\"name\":\"tag 5\"}\n",
    );
    place
        .run(&["import", "data"])
        .ends(3)
        .complains("tags.ndjson:2601: name: tag 5 is there already");
    place.write("data/tags.ndjson", &tags);
    place
        .run(&["import", "data"])
        .ends(0)
        .says("2,600 imported");
    place.run(&["export", "out"]).ends(0);
    assert_eq!(place.read("out/tags.ndjson"), tags);
}

#[test]
fn a_memory_database_checks_files() {
    let place = Place::with_data();
    for url in ["memory:", "sqlite::memory:"] {
        let run = place
            .run(&["import", "data", "--database-url", url])
            .ends(0);
        run.says("comments           1 imported");
    }
    assert!(!place.path().join("larder.db").exists());
}

#[test]
fn files_that_are_not_there_are_told() {
    let place = Place::new();
    place
        .run(&["import", "nowhere"])
        .ends(1)
        .complains("`nowhere` cannot be read");
    place.write("empty/readme.txt", "");
    place
        .run(&["import", "empty"])
        .ends(1)
        .complains("none of the files");
    place
        .run(&["import", "empty/readme.txt"])
        .ends(2)
        .complains("not a directory");
    place.write("two/tags.csv", "id,name\n");
    place.write("two/tags.ndjson", "");
    place
        .run(&["import", "two"])
        .ends(2)
        .complains("for one table");
    place.write("none/tags.ndjson", "");
    place
        .run(&["import", "none"])
        .ends(0)
        .says("the file has no lines");
    place.write("bare/tags.csv", "");
    place
        .run(&["import", "bare"])
        .ends(3)
        .complains("no header");
    place.write("odd/tags.csv", "id,title\n1,x\n");
    place
        .run(&["import", "odd"])
        .ends(3)
        .complains("unknown field \"title\"");
    place.write("ragged/tags.csv", "id,name\n1,x,y\n2,ok\n");
    place
        .run(&["import", "ragged"])
        .ends(3)
        .complains("tags.csv:2: has 3 cells");
    place.write("latin/tags.ndjson", b"{\"id\":1,\"name\":\"caf\xe9\"}\n");
    place
        .run(&["import", "latin"])
        .ends(3)
        .complains("tags.ndjson:1: is not UTF-8");
}

#[test]
fn rows_are_filtered_ordered_and_paged() {
    let place = Place::imported();
    let ids = |arguments: &[&str]| -> Vec<i64> {
        let arguments = [&["show"], arguments, &["--json"]].concat();
        let run = place.run(&arguments).ends(0);
        let rows = run
            .out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        rows.filter_map(|row| row["id"].as_i64()).collect()
    };
    assert_eq!(ids(&["users"]), [1, 2, 1_000_000]);
    assert_eq!(ids(&["users", "--where", "name = 'Ada Lovelace'"]), [1]);
    assert_eq!(
        ids(&["users", "--where", "is_active=true and id > 1"]),
        [1_000_000]
    );
    assert_eq!(ids(&["users", "--where", "bio is null"]), [2]);
    assert_eq!(ids(&["users", "--where", "bio ~ 'ünï'"]), [1]);
    assert_eq!(
        ids(&["posts", "--where", "content ~ '100%' and content ~ a_b"]),
        [1]
    );
    assert_eq!(
        ids(&["posts", "--where", "content ~ 'a%b'"]),
        [] as [i64; 0]
    );
    assert_eq!(ids(&["posts", "--where", "status != published"]), [3]);
    assert_eq!(ids(&["posts", "--order", "created_at:desc"]), [3, 1]);
    assert_eq!(ids(&["comments", "--where", "content ^= Fi"]), [7]);
    assert_eq!(
        ids(&["posts", "--where", "title = \"'; DROP TABLE posts; --\""]),
        [] as [i64; 0]
    );

    let first = place
        .run(&["show", "users", "--limit", "2"])
        .ends(0)
        .says("2 of 3 users");
    let cursor = first
        .out
        .trim_end()
        .rsplit(' ')
        .next()
        .expect("a cursor")
        .to_owned();
    assert_eq!(
        ids(&["users", "--limit", "2", "--page", &cursor]),
        [1_000_000]
    );
    place
        .run(&["show", "posts", "--page", &cursor])
        .ends(2)
        .complains("another query");
    place
        .run(&["show", "users", "--page", "x"])
        .ends(2)
        .complains("cursor");
}

#[test]
fn a_table_fits_its_width_and_holds_no_line_ends() {
    let place = Place::imported();
    let run = place.run(&["show", "users"]).ends(0).says("Ada Lovelace");
    assert!(
        run.out.lines().all(|line| line.chars().count() <= 100),
        "{}",
        run.out
    );
    assert_eq!(run.out.lines().count(), 2 + 3 + 1);
}

#[test]
fn conditions_that_make_no_sense_point_at_the_place() {
    let place = Place::imported();
    let run = place
        .run(&["show", "posts", "--where", "titel = x"])
        .ends(2);
    run.complains("no column \"titel\"; posts has id, slug")
        .complains("    titel = x\n    ^\n");
    place
        .run(&["show", "posts", "--where", "id = seven"])
        .ends(2)
        .complains("         ^\n");
    place
        .run(&["show", "posts", "--where", "status = gone"])
        .ends(2)
        .complains("draft, published");
    place
        .run(&["show", "posts", "--order", "size"])
        .ends(2)
        .complains("no column \"size\"");
    place
        .run(&["show", "posts", "--order", "id:up"])
        .ends(2)
        .complains("neither asc nor desc");
    place.run(&["show", "posts", "--limit", "0"]).ends(2);
    place.run(&["show", "tables"]).ends(2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let users = lines(3_000, user);
    place.write("data/users.ndjson", users);
    place.run(&["import", "data"]).ends(0);
    let mut child = place
        .command(&["show", "users", "--limit", "3000", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(unix)]
#[test]
fn an_interrupted_import_leaves_nothing() {
    let place = Place::new();
    place.write("data/users.ndjson", lines(100_000, user));
    place.run(&["migrate", "up"]).ends(0);
    let child = place
        .command(&["import", "data"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    std::thread::sleep(std::time::Duration::from_millis(400));
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .expect("it runs")
            .success()
    );
    let output = child.wait_with_output().expect("it ends");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("interrupted"), "{err}");
    assert!(place.rows("users").is_empty());
}

#[test]
fn migrations_go_up_and_down() {
    let place = Place::new();
    place
        .run(&["migrate", "status"])
        .ends(0)
        .says("V1__create_users")
        .says("pending");
    assert!(!place.path().join("larder.db").exists());
    place
        .run(&["migrate", "up", "--to", "2"])
        .ends(0)
        .says("applied V2__create_posts");
    let status = place.run(&["migrate", "status"]).ends(0);
    assert_eq!(
        status
            .out
            .lines()
            .filter(|line| line.contains("  applied  20"))
            .count(),
        2
    );
    place
        .run(&["migrate", "up"])
        .ends(0)
        .says("applied V3__create_comments");
    place.run(&["migrate", "up"]).ends(0).says("nothing to do");
    place.run(&["migrate", "up", "--to", "99"]).ends(1);

    place.run(&["migrate", "down"]).ends(2).complains("--to");
    place
        .run(&["migrate", "down", "--steps", "1"])
        .ends(2)
        .complains("--yes");
    place
        .run(&["migrate", "down", "--steps", "1", "--yes"])
        .ends(0)
        .says("undid V");
    place
        .run(&["migrate", "down", "--to", "0", "--yes"])
        .ends(0)
        .says("undid V1__create_users");
    place
        .run(&["migrate", "down", "--to", "0", "--yes"])
        .ends(0)
        .says("nothing to do");
    place
        .run(&["show", "users"])
        .ends(1)
        .complains("no such table: users");
}

#[test]
fn urls_that_make_no_sense_are_refused_without_their_secrets() {
    let place = Place::new();
    for url in [
        "postgres://ada:hunter2@db/app",
        "mysql://ada:hunter2@db",
        "hunter2",
        "sqlite://",
    ] {
        let run = place.run(&["show", "users", "--database-url", url]).ends(2);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
    let run = place
        .run(&[
            "show",
            "users",
            "--database-url",
            "postgres://ada:hunter2@db",
        ])
        .ends(2);
    run.complains("`postgres` feature");
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
    for command in ["demo", "import", "export", "show"] {
        place.run(&[command, "--help"]).ends(0).says("Examples:");
    }
    place.run(&["--version"]).ends(0).says("larder 0.");
    place.run(&["completions", "bash"]).ends(0).says("_larder");
    place.run(&["completions", "tcsh"]).ends(2);
    place.run(&[]).ends(2);
}
