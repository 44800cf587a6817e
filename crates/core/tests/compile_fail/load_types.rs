use larder_core::models::{Comment, Post, User};
use larder_core::{Entity, Id, Load};

#[derive(Entity, Clone)]
#[entity(table = "nodes")]
struct Node {
    #[key(auto)]
    id: Id<Node>,
    #[references(Node)]
    parent_id: Option<Id<Node>>,
}

#[derive(Load)]
#[load(Node)]
struct NodeWithParent {
    #[load(via = Node::PARENT_ID)]
    parent: Node,
}

#[derive(Load)]
#[load(User)]
struct UserName {
    name: Option<String>,
}

#[derive(Load)]
#[load(User)]
struct UserPosts {
    #[load(via = Post::AUTHOR_ID)]
    posts: Vec<Comment>,
}

#[derive(Load)]
#[load(User)]
struct UserLengths {
    #[load(via = Post::AUTHOR_ID)]
    posts: Vec<String>,
}

fn main() {}
