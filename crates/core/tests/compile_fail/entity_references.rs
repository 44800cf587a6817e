use larder_core::{Entity, Id};

#[derive(Entity)]
#[entity(table = "users")]
struct User {
    #[key(auto)]
    id: Id<User>,
}

#[derive(Entity)]
#[entity(table = "posts")]
struct Post {
    #[key(auto)]
    id: Id<Post>,
    #[references(User)]
    author_id: Id<Post>,
    #[references(String)]
    reader_id: Option<Id<User>>,
}

#[derive(Entity)]
#[entity(table = "notes")]
struct Note {
    #[key(auto)]
    id: Id<Note>,
    #[references(User, on_delete = set_null)]
    editor_id: Id<User>,
}

fn main() {}
