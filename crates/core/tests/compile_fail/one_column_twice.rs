use larder_core::models::{Tag, User};
use larder_core::{Insert, Patch};

#[derive(Insert)]
#[insert(Tag)]
struct NewTag {
    name: String,
    #[insert(column = Tag::NAME)]
    label: String,
}

#[derive(Patch)]
#[patch(User)]
struct UserPatch {
    #[patch(column = User::NAME)]
    title: Option<String>,
    is_active: Option<bool>,
    name: Option<String>,
}

fn main() {}
