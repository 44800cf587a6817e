use larder_core::Newtype;

#[derive(Newtype)]
struct Pair(i64, i64);

#[derive(Newtype)]
struct Nickname(Option<String>);

#[derive(Newtype)]
#[newtype(validate = check)]
struct Slug(String);

fn check(_: &str) -> Result<(), u8> {
    Ok(())
}

fn main() {}
