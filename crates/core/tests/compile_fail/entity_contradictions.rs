use larder_core::{Entity, Id, Timestamp};

#[derive(Entity)]
#[entity(table = "posts", index(slug))]
struct Post {
    #[key(auto)]
    id: Id<Post>,
    #[unique]
    #[column(max_len = 3, default = "long")]
    slug: String,
    #[column(name = "slug")]
    title: String,
    #[created_at]
    made: Timestamp,
    #[created_at]
    created: Timestamp,
}

fn main() {}
