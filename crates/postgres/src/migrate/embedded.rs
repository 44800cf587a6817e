//! The migrations of [`larder_core::models`], compiled in.

use larder_core::migration::Migrations;

/// The schema of the models that come with Larder, from `migrations/postgres`.
pub fn migrations() -> Migrations {
    Migrations::from_files(FILES).expect("a test reads the same files")
}

macro_rules! files {
    ($($name:literal)*) => {
        &[$(
            (
                concat!($name, ".sql"),
                include_str!(concat!("../../../../migrations/postgres/", $name, ".sql")),
            ),
            (
                concat!($name, ".down.sql"),
                include_str!(concat!("../../../../migrations/postgres/", $name, ".down.sql")),
            ),
        )*]
    };
}

const FILES: &[(&str, &str)] = files! {
    "V1__create_users"
    "V2__create_posts"
    "V3__create_comments"
    "V4__create_tags"
    "V5__create_favorites_and_follows"
    "V6__add_usernames"
    "V7__add_summaries"
    "V8__order_tags"
    "V9__search_posts"
};

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::migration::Migration;

    fn directory(name: &str) -> Migrations {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        Migrations::from_dir(format!("{root}/{name}")).expect("the files are well named")
    }

    #[test]
    fn every_file_of_the_directory_is_embedded() {
        assert_eq!(directory("postgres"), migrations());
    }

    #[test]
    fn the_engines_have_the_same_steps() {
        let labels = |set: Migrations| -> Vec<_> { set.iter().map(Migration::label).collect() };
        assert_eq!(labels(directory("sqlite")), labels(migrations()));
    }
}
