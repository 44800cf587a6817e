//! Conditions on what stands inside a JSON column: [`JsonPath`].
//!
//! A path leads through objects by keys and through lists by positions. What it finds is compared
//! with a text, a number or a bool, and only with its like:
//!
//! | at the path | compared with its like | with anything else | `exists` | `is_null` |
//! |---|---|---|---|---|
//! | a text, number or bool | true or false | neither | true | false |
//! | a list or an object | | neither | true | false |
//! | `null` | | neither | true | true |
//! | nothing, or the column is NULL | | neither | false | false |
//!
//! Texts are ordered by code point, `false` before `true`. Integers and floats are numbers alike:
//! compared with an `i64` exactly, with an `f64` as the nearest double. (Of a float beyond 2^53
//! that is compared with an integer, engines may see the last digits differently.)
//!
//! No index helps; filter by other columns too where there are many rows.

use std::cmp::Ordering;
use std::marker::PhantomData;

use serde_json::Value as Document;

use crate::column::Column;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::filter::{Comparison, Filter, Predicate};
use crate::types::{ColumnType, no_nul};
use crate::value::{Kind, Value};

/// The most steps of a path.
pub const STEPS_MAX: usize = 100;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JsonStep {
    /// Into an object, by its key.
    Key(String),
    /// Into a list, by the position counted from 0.
    Index(u32),
}

/// What is asked of the place that a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTest {
    /// What stands there compared with a text, an integer, a float or a bool.
    Compare(Comparison, Value),
    /// Something stands there. Never neither.
    Exists,
    /// `null` stands there. Never neither.
    IsNull,
}

/// A place in the documents of a JSON column of `E`: from `Page::META.path("author.name")`.
///
/// ```
/// # use larder_core::{Db, Entity, Id, Json, Memory};
/// #[derive(Entity)]
/// #[entity(table = "pages")]
/// struct Page {
///     #[key]
///     id: Id<Page>,
///     meta: Json<serde_json::Value>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// # let db = Db::new(Memory::new());
/// let meta = serde_json::json!({"author": {"name": "Ada"}, "tags": ["a", "b"], "words": 700});
/// db.insert(Page { id: Id::new(1), meta: Json(meta) }).await?;
///
/// let of = |condition| db.query::<Page>().filter(condition).count();
/// assert_eq!(of(Page::META.path("author.name").eq("Ada")).await?, 1);
/// assert_eq!(of(Page::META.path("tags").index(1).eq("b")).await?, 1);
/// assert_eq!(of(Page::META.path("words").gt(500)).await?, 1);
/// assert_eq!(of(Page::META.path("words").ne("many")).await?, 0); // a number is no text
/// assert_eq!(of(!Page::META.path("draft").exists()).await?, 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a path does nothing until it is compared, for example with .eq(..)"]
pub struct JsonPath<E> {
    column: usize,
    steps: Vec<JsonStep>,
    marker: PhantomData<fn() -> E>,
}

impl<E: Entity, T: ColumnType> Column<E, T> {
    /// What stands in the documents of a JSON column behind these keys, with points in between.
    /// A key that holds a point is a step of its own: [`JsonPath::key`].
    ///
    /// ```compile_fail
    /// # use larder_core::models::User;
    /// let _ = User::NAME.path("first"); // not a JSON column
    /// ```
    pub fn path(self, keys: &str) -> JsonPath<E> {
        const {
            assert!(
                matches!(T::KIND, Kind::Json),
                "only JSON columns have paths"
            );
        };
        let keys = keys.split('.').map(|key| JsonStep::Key(key.to_owned()));
        JsonPath {
            column: self.index(),
            steps: keys.collect(),
            marker: PhantomData,
        }
    }
}

impl<E: Entity> JsonPath<E> {
    /// One step on, by a key that may hold points.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.steps.push(JsonStep::Key(key.into()));
        self
    }

    /// One step on, into a list, by the position counted from 0.
    pub fn index(mut self, at: u32) -> Self {
        self.steps.push(JsonStep::Index(at));
        self
    }

    /// Equal to the value.
    pub fn eq(self, value: impl JsonOperand) -> Predicate<E> {
        self.compare(Comparison::Eq, value)
    }

    /// Of the value's type and not equal to it.
    pub fn ne(self, value: impl JsonOperand) -> Predicate<E> {
        self.compare(Comparison::Ne, value)
    }

    /// Less than the value.
    pub fn lt(self, value: impl JsonOperand) -> Predicate<E> {
        self.compare(Comparison::Lt, value)
    }

    /// Less than or equal to the value.
    pub fn le(self, value: impl JsonOperand) -> Predicate<E> {
        self.compare(Comparison::Le, value)
    }

    /// Greater than the value.
    pub fn gt(self, value: impl JsonOperand) -> Predicate<E> {
        self.compare(Comparison::Gt, value)
    }

    /// Greater than or equal to the value.
    pub fn ge(self, value: impl JsonOperand) -> Predicate<E> {
        self.compare(Comparison::Ge, value)
    }

    /// Something stands there, be it `null`.
    pub fn exists(self) -> Predicate<E> {
        self.test(Ok(JsonTest::Exists))
    }

    /// `null` stands there.
    pub fn is_null(self) -> Predicate<E> {
        self.test(Ok(JsonTest::IsNull))
    }

    fn compare(self, op: Comparison, value: impl JsonOperand) -> Predicate<E> {
        self.test(
            value
                .into_operand()
                .map(|value| JsonTest::Compare(op, value)),
        )
    }

    fn test(self, test: Result<JsonTest>) -> Predicate<E> {
        let column = self.column;
        let filter = test.and_then(|test| {
            check(&self.steps)?;
            Ok(Filter::Json {
                column,
                path: self.steps,
                test,
            })
        });
        let name = E::TABLE.columns[column].name;
        Predicate::from_result(filter.map_err(|error| error.or_column(E::TABLE.name, name)))
    }
}

fn check(path: &[JsonStep]) -> Result<()> {
    if path.len() > STEPS_MAX {
        let message = format!("a path into JSON has {STEPS_MAX} steps at most");
        return Err(Error::misuse(message));
    }
    path.iter().try_for_each(|step| match step {
        JsonStep::Key(key) => no_nul(key),
        JsonStep::Index(_) => Ok(()),
    })
}

/// What a place in a document can be compared with: a text, an integer, a float or a bool.
#[diagnostic::on_unimplemented(
    message = "what stands in JSON cannot be compared with a `{Self}`",
    note = "compare it with a text, an i32 or i64, an f64 or a bool"
)]
pub trait JsonOperand {
    /// The value to compare with.
    fn into_operand(self) -> Result<Value>;
}

macro_rules! operands {
    ($($kind:ty),+) => {$(
        impl JsonOperand for $kind {
            fn into_operand(self) -> Result<Value> {
                self.into_value()
            }
        }
    )+};
}

operands!(String, i32, i64, f64, bool);

impl JsonOperand for &str {
    fn into_operand(self) -> Result<Value> {
        self.to_owned().into_value()
    }
}

/// The order of what stands at the path of a document and a value of its type; `None` if there is
/// nothing of the kind. What every engine must answer.
pub fn compare(document: &str, path: &[JsonStep], with: &Value) -> Option<Ordering> {
    let document = read(document)?;
    match (find(&document, path)?, with) {
        (Document::String(found), Value::Text(with)) => Some(found.as_str().cmp(with)),
        (Document::Bool(found), Value::Bool(with)) => Some(found.cmp(with)),
        (Document::Number(found), Value::Float(with)) => found.as_f64()?.partial_cmp(with),
        (Document::Number(found), Value::Int(with)) => match (found.as_i64(), found.as_u64()) {
            (Some(found), _) => Some(found.cmp(with)),
            (None, Some(_)) => Some(Ordering::Greater),
            (None, None) => Some(float_to_int(found.as_f64()?, *with)),
        },
        _ => None,
    }
}

/// Whether something stands at the path of a document, and whether it is `null`.
pub fn look(document: &str, path: &[JsonStep]) -> Option<bool> {
    let document = read(document)?;
    find(&document, path).map(Document::is_null)
}

fn read(document: &str) -> Option<Document> {
    serde_json::from_str(document).ok()
}

fn find<'d>(document: &'d Document, path: &[JsonStep]) -> Option<&'d Document> {
    path.iter()
        .try_fold(document, |place, step| match (place, step) {
            (Document::Object(map), JsonStep::Key(key)) => map.get(key),
            (Document::Array(list), JsonStep::Index(at)) => list.get(*at as usize),
            _ => None,
        })
}

/// The exact order of a finite float and an integer.
fn float_to_int(float: f64, int: i64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0; // 2^63
    if float >= BEYOND {
        return Ordering::Greater;
    }
    if float < -BEYOND {
        return Ordering::Less;
    }
    let whole = float.floor();
    let order = (whole as i64).cmp(&int);
    if order.is_eq() && float > whole {
        return Ordering::Greater;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(document: &str, with: impl JsonOperand) -> Option<Ordering> {
        compare(document, &[], &with.into_operand().expect("it fits"))
    }

    #[test]
    fn numbers_are_compared_by_value() {
        use Ordering::{Equal, Greater, Less};
        for (document, with, expected) in [
            ("2.0", 2, Equal),
            ("2.5", 2, Greater),
            ("-2.5", -2, Less),
            ("-2.5", -3, Greater),
            ("9007199254740993", 9_007_199_254_740_993, Equal),
            ("9007199254740993", 9_007_199_254_740_992, Greater),
            ("18446744073709551615", i64::MAX, Greater),
            ("9223372036854775808.0", i64::MAX, Greater),
            ("-9223372036854775808.0", i64::MIN, Equal),
            ("-1e300", i64::MIN, Less),
            ("-0.0", 0, Equal),
        ] {
            assert_eq!(order(document, with), Some(expected), "{document} {with}");
        }
        assert_eq!(
            order("9007199254740993", 9_007_199_254_740_992.0),
            Some(Equal)
        );
        assert_eq!(order("1", 0.5), Some(Greater));
    }

    #[test]
    fn other_types_are_neither() {
        for document in ["\"1\"", "true", "null", "[1]", "{}", ""] {
            assert_eq!(order(document, 1), None, "{document}");
        }
        assert_eq!(order("1", "1"), None);
        assert_eq!(order("1", true), None);
        assert_eq!(order("\"b\"", "a"), Some(Ordering::Greater));
        assert_eq!(order("false", true), Some(Ordering::Less));
    }
}
