//! What a row of a statement in SQL cannot be.

use larder_core::SqlRow;

#[derive(SqlRow)]
struct Typo {
    #[sql(column = "count(*)")]
    count: i64,
}

#[derive(SqlRow)]
struct Twice {
    id: i64,
    #[sql(name = "id")]
    key: i64,
}

#[derive(SqlRow)]
struct NoColumn {
    at: std::time::Instant,
}

#[derive(SqlRow)]
struct Tuple(i64);

fn main() {}
