//! What `#[derive(TextEnum)]` and `#[derive(Newtype)]` write.

use larder_core::{ColumnType, Error, ErrorKind, Kind, Newtype, Result, TextEnum, Value, ValueRef};

#[derive(TextEnum, Clone, Copy, Debug, PartialEq)]
enum Mood {
    VeryGood,
    #[text("so-so")]
    Middling,
    Bad,
}

#[derive(TextEnum, Debug, PartialEq)]
#[text_enum(rename_all = "SCREAMING_SNAKE_CASE")]
enum Loud {
    VeryGood,
}

#[test]
fn a_variant_is_stored_as_its_text() -> Result<()> {
    for (mood, text) in [
        (Mood::VeryGood, "very_good"),
        (Mood::Middling, "so-so"),
        (Mood::Bad, "bad"),
    ] {
        assert_eq!((mood.as_str(), mood.to_string().as_str()), (text, text));
        assert_eq!(mood.into_value()?, Value::Text(text.into()));
        assert_eq!(Mood::from_value(ValueRef::Text(text))?, mood);
        assert_eq!(text.parse::<Mood>()?, mood);
    }
    assert_eq!(Loud::VeryGood.as_str(), "VERY_GOOD");
    assert_eq!((Mood::KIND, Mood::NULLABLE), (Kind::Text, false));
    Ok(())
}

#[test]
fn an_unknown_text_is_an_error_that_carries_it() {
    let stored = Mood::from_value(ValueRef::Text("meh")).expect_err("no variant");
    assert_eq!(
        (stored.kind(), stored.value()),
        (ErrorKind::Decode, Some("meh"))
    );
    assert!(
        stored.to_string().contains("very_good, so-so, bad"),
        "{stored}"
    );
    let typed = "meh".parse::<Mood>().expect_err("no variant");
    assert_eq!(
        (typed.kind(), typed.value()),
        (ErrorKind::Invalid, Some("meh"))
    );
    assert_eq!(typed.to_string(), "must be one of very_good, so-so, bad");
    assert!(
        Mood::from_value(ValueRef::Int(1))
            .expect_err("no text")
            .is_decode()
    );
}

#[derive(Newtype, Clone, Debug, PartialEq)]
struct Grams(i32);

#[derive(Newtype, Clone, Debug, PartialEq)]
#[newtype(validate = check_slug)]
struct Slug(String);

fn check_slug(text: &str) -> Result<(), String> {
    match text.chars().find(|c| !c.is_ascii_lowercase()) {
        None => Ok(()),
        Some(other) => Err(format!("a slug cannot hold {other:?}")),
    }
}

#[derive(Newtype, Debug)]
#[newtype(validate = Even::check)]
struct Even(i64);

impl Even {
    #[allow(clippy::trivially_copy_pass_by_ref)] // what `validate` asks for
    fn check(number: &i64) -> Result<()> {
        if number % 2 == 0 {
            Ok(())
        } else {
            Err(Error::invalid("odd").with_value(number))
        }
    }
}

#[test]
fn a_newtype_is_stored_as_what_it_holds() -> Result<()> {
    assert_eq!(Grams::KIND, Kind::I32);
    assert_eq!(Grams::from(5).into_value()?, Value::Int(5));
    assert_eq!(Grams::from_value(ValueRef::Int(5))?, Grams(5));
    assert_eq!(i32::from(Grams(5)), 5);
    assert_eq!(Option::<Grams>::from_value(ValueRef::Null)?, None);
    assert!(Grams::from_value(ValueRef::Int(i64::MAX)).is_err());
    Ok(())
}

#[test]
fn a_validated_newtype_refuses_what_is_not_valid() -> Result<()> {
    assert_eq!(Slug::try_from("on".to_owned())?, Slug("on".into()));
    let error = Slug::try_from("On".to_owned()).expect_err("a capital");
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Invalid, "a slug cannot hold 'O'")
    );
    assert_eq!(Even::try_from(3).expect_err("odd").value(), Some("3"));
    assert_eq!(i64::from(Even::try_from(4)?), 4);
    Ok(())
}
