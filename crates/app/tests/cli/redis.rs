//! Every command on Redis, and copies between it and SQLite.

use std::sync::OnceLock;

use larder_tests::redis_server::{Namespaces, TestNamespace};

use crate::Place;
use crate::postgres::assert_exported;

const ONE: &str = "sqlite://larder.db";

/// A namespace of one test, empty at first.
fn fresh() -> TestNamespace {
    // The server goes with the process.
    static NAMESPACES: OnceLock<Namespaces> = OnceLock::new();
    let namespaces =
        NAMESPACES.get_or_init(|| Namespaces::open().unwrap_or_else(|error| panic!("{error}")));
    namespaces.fresh()
}

#[test]
fn every_command_works_on_redis() {
    let (place, namespace) = (Place::with_data(), fresh());
    let url = namespace.url();
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--database-url", &url]);
        place.run(&all)
    };
    run(&["show", "users"]).ends(1).complains("migration");
    run(&["migrate", "status"]).ends(0).says("V1__users");
    run(&["migrate", "up", "--to", "2"])
        .ends(0)
        .says("applied V2__");
    run(&["import", "data"])
        .ends(0)
        .says("users              3 imported");
    run(&["migrate", "status"]).ends(0).says("applied  20");
    run(&["show", "posts", "--where", "status = published"])
        .ends(0)
        .says("1 of 1 posts");
    run(&["export", "out"]).ends(0);
    assert_exported(&place, "out");
    run(&["migrate", "down", "--to", "0", "--yes"])
        .ends(0)
        .says("undid V1__users");
    run(&["show", "users"]).ends(1).complains("migration");
}

#[test]
fn a_copy_to_redis_and_back_holds_the_same() {
    let (place, namespace) = (Place::seeded(), fresh());
    let url = namespace.url();
    place
        .run(&["copy", ONE, &url])
        .ends(0)
        .says("favorites          3 on both sides, hash ");
    place
        .run(&["copy", ONE, &url])
        .ends(0)
        .says("3 there before");
    place.run(&["copy", &url, "sqlite://three.db"]).ends(0);
    assert_eq!(place.dump("larder.db"), place.dump("three.db"));
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    let place = Place::with_data();
    let nowhere = "redis://:hunter2@127.0.0.1:1";
    let ran = place.run(&["show", "users", "--database-url", nowhere]);
    ran.ends(1).complains("Redis could not be reached");
}
