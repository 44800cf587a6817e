use larder_core::{Entity, Id};

#[derive(Entity)]
#[entity(table = "pages")]
struct Page {
    #[key(auto)]
    id: Id<Page>,
    #[column(max_len = 5)]
    number: i64,
    #[column(default = "many")]
    views: i64,
    #[column(default = 70_000)]
    level: i16,
    #[column(default = 1)]
    weight: f64,
    #[created_at]
    made: String,
    #[version]
    version: Option<i64>,
}

fn main() {}
