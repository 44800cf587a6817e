use larder_core::Entity;

#[derive(Entity)]
#[entity(table = "posts")]
struct Post {
    title: String,
}

fn main() {}
