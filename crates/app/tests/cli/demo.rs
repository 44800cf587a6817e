//! `larder demo`.

use crate::Place;

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
