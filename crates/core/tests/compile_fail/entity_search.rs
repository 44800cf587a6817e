use larder_core::{Entity, Id, Uuid};

#[derive(Entity)]
#[entity(table = "posts", search(title, title, text))]
struct Post {
    #[key(auto)]
    id: Id<Post>,
    title: String,
}

#[derive(Entity)]
#[entity(table = "pairs", search(rank))]
struct Pair {
    #[key]
    one: i64,
    #[key]
    two: i64,
    search: String,
    rank: String,
}

#[derive(Entity)]
#[entity(table = "files", search(name, size))]
struct File {
    #[key]
    id: Uuid,
    name: String,
    size: i64,
}

#[derive(Entity)]
#[entity(table = "twice", search(name), search(name))]
struct Twice {
    #[key]
    id: Id<Twice>,
    name: String,
}

#[derive(Entity)]
#[entity(table = "tags")]
struct Tag {
    #[key]
    id: Id<Tag>,
    name: String,
}

fn main() {
    let _ = Tag::SEARCH.matches("fox");
}
