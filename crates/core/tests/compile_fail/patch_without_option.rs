use larder_core::Patch;
use larder_core::models::User;

#[derive(Patch)]
#[patch(User)]
struct UserPatch {
    name: String,
}

#[derive(Patch)]
#[patch(User)]
struct BioPatch {
    bio: Option<String>,
}

fn main() {}
