//! `larder migrate`.

use crate::Place;

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
        .complains("have the migrations been run");
}
