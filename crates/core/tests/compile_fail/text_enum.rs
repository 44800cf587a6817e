use larder_core::TextEnum;

#[derive(TextEnum)]
enum Shape {
    Circle(f64),
    Point,
}

#[derive(TextEnum)]
#[text_enum(rename_all = "snake")]
enum Colour {
    Red,
    #[text("red")]
    Rose,
    #[text(pink)]
    Pink,
}

#[derive(TextEnum)]
struct Size;

fn main() {}
