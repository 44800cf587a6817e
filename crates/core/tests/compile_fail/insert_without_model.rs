use larder_core::{Insert, Load, Patch};

#[derive(Insert)]
struct NewTag {
    name: String,
}

#[derive(Patch)]
#[patch]
struct TagPatch {
    name: Option<String>,
}

#[derive(Load)]
#[load(larder_core::models::Tag, via = "x")]
struct TagName {
    name: String,
}

fn main() {}
