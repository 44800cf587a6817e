use larder_core::Load;
use larder_core::models::{Comment, Post, PostTag, Tag, User};

#[derive(Load)]
#[load(User)]
struct UserPage {
    posts: Vec<Post>,
    #[load(via = Post::AUTHOR_ID)]
    post: Post,
    #[load(via = AUTHOR_ID)]
    more: Vec<Post>,
    #[load(limit = 5)]
    name: String,
    #[load(count, via = Post::AUTHOR_ID, order = Post::ID.asc())]
    count: u64,
    #[load(through = PostTag::POST_ID)]
    tags: Vec<Tag>,
}

#[derive(Load)]
#[load(Post)]
struct PostPage {
    #[load(via = Post::AUTHOR_ID, limit = 1)]
    author: User,
    #[load(via = PostTag::POST_ID, to = PostTag::TAG_ID)]
    tag: Option<Tag>,
    #[load(flatten)]
    post: Post,
    #[load(flatten)]
    again: Post,
    #[load(column = Post::TITLE, via = Comment::POST_ID)]
    comments: Vec<Comment>,
}

fn main() {}
