use larder_core::Insert;
use larder_core::models::Tag;

#[derive(Insert)]
#[insert(Tag)]
struct NewTag {
    name: i64,
}

#[derive(Insert)]
#[insert(Tag)]
struct OtherTag {
    name: String,
    colour: String,
}

fn main() {}
