use larder_core::Insert;
use larder_core::models::Post;

#[derive(Insert)]
#[insert(Post)]
struct NewPost {
    slug: String,
    title: String,
    content: String,
}

fn main() {}
