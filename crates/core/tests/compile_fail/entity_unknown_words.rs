use larder_core::{Entity, Id};

// Each mistake is reported, not only the first.
#[derive(Entity)]
#[entity(tabel = "posts")]
#[entity(table = "posts", index(author_id, slug), unique(slug, slug))]
struct Post {
    #[key(generated)]
    id: Id<Post>,
    #[column(length = 200)]
    title: String,
    #[references(Post, delete = cascade)]
    parent_id: Option<Id<Post>>,
    #[references(Post, on_delete = delete)]
    other_id: Option<Id<Post>>,
    #[unique(title)]
    #[column(default = now())]
    slug: String,
}

fn main() {}
