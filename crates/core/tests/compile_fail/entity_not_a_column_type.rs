use larder_core::{Entity, Id};
use std::time::Instant;

#[derive(Entity)]
#[entity(table = "posts")]
struct Post {
    #[key(auto)]
    id: Id<Post>,
    read_at: Instant,
}

fn main() {}
