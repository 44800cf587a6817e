use larder_core::Entity;

#[derive(Entity)]
#[entity(table = "pairs")]
struct Pair(i64, i64);

#[derive(Entity)]
#[entity(table = "boxes")]
struct Boxed<T> {
    #[key]
    id: T,
}

#[derive(Entity)]
#[entity(table = "kinds")]
enum Kind {
    One,
}

fn main() {}
