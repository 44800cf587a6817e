use larder_core::{Entity, Id};

#[derive(Entity)]
struct Post {
    #[key(auto)]
    id: Id<Post>,
}

fn main() {}
