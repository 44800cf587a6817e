use larder_core::{Entity, Id};

#[derive(Entity)]
#[entity(table = "memberships")]
struct Membership {
    #[key(auto)]
    user_id: Id<Membership>,
    #[key]
    group_id: i64,
}

#[derive(Entity)]
#[entity(table = "settings")]
struct Setting {
    #[key(auto)]
    name: String,
}

#[derive(Entity)]
#[entity(table = "notes")]
struct Note {
    #[key]
    key: Option<i64>,
}

#[derive(Entity)]
#[entity(table = "slots")]
struct Slot {
    #[key]
    number: Option<i64>,
}

fn main() {}
