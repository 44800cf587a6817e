//! The program, run as a user runs it: in a directory of its own, by its exit code and output.

mod copy;
mod demo;
mod files;
mod import;
mod migrate;
mod postgres;
mod redis;
mod show;
mod usage;

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

/// What is said of a database that lacked all migrations but so many.
fn made_ready(has: usize) -> String {
    let all = larder::sqlite::migrate::migrations().len();
    format!("made ready by {} migrations", all - has)
}

/// A user with a long text.
fn user(id: u32) -> String {
    let bio = "x".repeat(200);
    format!(
        r#"{{"id":{id},"email":"u{id}@example.com","name":"n","bio":"{bio}","created_at":"2020-01-01T00:00:00Z"}}"#
    )
}

const USERS: &str = r#"{"id":1,"email":"ada@example.com","name":"Ada Lovelace","username":"ada","is_active":true,"bio":"Wrote \"notes\".\r\nMore — ünïcödé 🦀","image":"https://example.com/ada.png","created_at":"2018-03-09T18:48:09.000Z","updated_at":"2018-03-09T18:48:09.477Z"}
{"id":2,"email":"grace@example.com","name":"Grace Hopper ","username":"Grace Hopper -2","is_active":false,"bio":null,"image":null,"created_at":"2018-03-10T00:00:00.123456Z","updated_at":null}
{"id":1000000,"email":"edsger@example.com","name":"Edsger","username":"edsger","is_active":true,"bio":"","image":null,"created_at":"1969-12-31T23:59:59.999Z","updated_at":null}
"#;
const POSTS: &str = r#"{"id":1,"slug":"on-notes","title":"On notes","summary":"What notes are for.","content":"<p>100% of a_b\\n</p>","author_id":1,"status":"published","created_at":"2018-03-12T17:00:45.567Z","updated_at":null}
{"id":3,"slug":"on-ships","title":"On ships","summary":"","content":"two\nlines","author_id":2,"status":"archived","created_at":"2018-03-13T17:00:45.567Z","updated_at":"2019-01-01T00:00:00.000Z"}
"#;
const COMMENTS: &str = r#"{"id":7,"post_id":1,"author_id":2,"content":"Fine.","created_at":"2018-03-14T00:00:00.000Z"}
"#;
const TAGS: &str = "{\"id\":1,\"name\":\"notes\"}\n{\"id\":2,\"name\":\"ships\"}\n";
const POST_TAGS: &str =
    "{\"post_id\":1,\"tag_id\":1,\"position\":0}\n{\"post_id\":3,\"tag_id\":2,\"position\":1}\n";
