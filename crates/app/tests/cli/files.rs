//! The formats of files, in and out.

use crate::{COMMENTS, POST_TAGS, POSTS, Place, TAGS, USERS};
use std::fs;

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
        users.starts_with("id,email,name,username,is_active,bio,image,created_at,updated_at\n"),
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
    assert_eq!(
        users[0]["username"], "A \"B\", C-1",
        "made where there is none"
    );
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
