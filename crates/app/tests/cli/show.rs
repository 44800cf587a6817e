//! `larder show`: conditions, orders, pages, tables.

use crate::{Place, lines, user};
use serde_json::Value;
use std::process::Stdio;

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

    assert_eq!(ids(&["posts", "--search", "LINES on"]), [3]);
    assert_eq!(ids(&["posts", "--search", "-notes on"]), [3]);
    assert_eq!(ids(&["posts", "--search", "on", "--where", "id < 3"]), [1]);
    assert_eq!(ids(&["posts", "--search", "on", "--order", "id"]), [1, 3]);
    assert_eq!(ids(&["posts", "--search", "\"' OR NEAR(*"]), [] as [i64; 0]);

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
        .run(&["show", "posts", "--search", "on", "--limit", "1"])
        .ends(0)
        .says("1 of 2 posts; more with --limit");
    place
        .run(&["show", "users", "--page", "x"])
        .ends(2)
        .complains("cursor");
}

#[test]
fn a_table_fits_its_width_and_holds_no_line_ends() {
    let place = Place::imported();
    let run = place.run(&["show", "users"]).ends(0).says("Ada L");
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
    place
        .run(&["show", "users", "--search", "ada"])
        .ends(2)
        .complains("only posts are searched");
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
