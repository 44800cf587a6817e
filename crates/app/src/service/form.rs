//! [`Form`]: the fields of a JSON body, read one by one; all that is wrong with them is told at
//! once.
//!
//! | in the body | [`required`](Form::required) | [`optional`](Form::optional) | [`clearable`](Form::clearable) |
//! |---|---|---|---|
//! | no such field | can't be blank | `None` | `None` |
//! | `null`, `""` | can't be blank | can't be blank | `Some(None)` |
//! | `"text"` | the text | `Some` | `Some(Some)` |
//! | anything else | must be a text | must be a text | must be a text |
//!
//! Fields that nobody asks for are left alone: front ends send back what they were given.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::error::{ApiError, Outcome};

/// What the API says of a field that must hold something.
pub(crate) const BLANK: &str = "can't be blank";
/// What it says of a value that somebody else has.
pub(crate) const TAKEN: &str = "has already been taken";

/// What a text may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    /// The most characters.
    pub(crate) chars_max: usize,
    /// Whether it stands on one line, without control characters; blanks around it are cut off.
    pub(crate) one_line: bool,
}

impl Text {
    /// One line of at most so many characters.
    pub(crate) const fn line(chars_max: usize) -> Self {
        Self {
            chars_max,
            one_line: true,
        }
    }

    /// Lines of at most so many characters together.
    pub(crate) const fn lines(chars_max: usize) -> Self {
        Self {
            chars_max,
            one_line: false,
        }
    }

    /// The text as it is kept, or what is wrong with it.
    fn check(self, text: String) -> Result<String, Cow<'static, str>> {
        let text = match (self.one_line, text.trim()) {
            (_, "") => return Err(BLANK.into()),
            (true, trimmed) if trimmed.len() < text.len() => trimmed.to_owned(),
            _ => text,
        };
        if self.one_line && text.contains(char::is_control) {
            Err("must not hold control characters".into())
        } else if text.contains('\0') {
            Err("must not hold NUL characters".into())
        } else if text.chars().count() > self.chars_max {
            let most = self.chars_max;
            Err(format!("is too long (maximum is {most} characters)").into())
        } else {
            Ok(text)
        }
    }
}

/// The fields of the object that a body wraps under a name: `{"user":{..}}`.
///
/// End with [`finish`](Self::finish) before anything is done with what was read.
#[derive(Debug)]
pub(crate) struct Form {
    fields: Map<String, Value>,
    problems: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl Form {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 if it is not JSON in UTF-8, lone surrogates included, or holds no such object.
    pub(crate) fn parse(body: &[u8], name: &'static str) -> Outcome<Self> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid("body", format!("is not JSON: {error}")))?;
        let Value::Object(mut body) = body else {
            return Err(ApiError::invalid("body", "must be a JSON object"));
        };
        match body.remove(name) {
            Some(Value::Object(fields)) => Ok(Self {
                fields,
                problems: Vec::new(),
            }),
            None | Some(Value::Null) => Err(ApiError::invalid(name, BLANK)),
            Some(_) => Err(ApiError::invalid(name, "must be an object")),
        }
    }

    /// Whether any of these fields is there.
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.fields.contains_key(*name))
    }

    /// A text that must be there. What is returned of a bad one is of no use.
    pub(crate) fn required(&mut self, name: &'static str, rule: Text) -> String {
        let value = self.fields.remove(name).unwrap_or_default();
        self.checked(name, value, rule).unwrap_or_default()
    }

    /// A text that may be left out, but not be blank.
    pub(crate) fn optional(&mut self, name: &'static str, rule: Text) -> Option<String> {
        let value = self.fields.remove(name)?;
        self.checked(name, value, rule)
    }

    /// A text that may be left out, or emptied.
    pub(crate) fn clearable(&mut self, name: &'static str, rule: Text) -> Option<Option<String>> {
        match self.fields.remove(name)? {
            Value::Null => Some(None),
            Value::String(text) if text.trim().is_empty() => Some(None),
            value => self.checked(name, value, rule).map(Some),
        }
    }

    /// A list of texts that may be left out, in order, each once. `null` is no list.
    pub(crate) fn list(
        &mut self,
        name: &'static str,
        rule: Text,
        most: usize,
    ) -> Option<Vec<String>> {
        let Value::Array(values) = self.fields.remove(name)? else {
            self.refuse(name, "must be a list of texts");
            return None;
        };
        if values.len() > most {
            self.refuse(name, format!("has too many entries (maximum is {most})"));
            return None;
        }
        let mut list: Vec<String> = Vec::with_capacity(values.len());
        for value in values {
            let text = self.checked(name, value, rule)?;
            if !list.contains(&text) {
                list.push(text);
            }
        }
        Some(list)
    }

    /// Notes what is wrong with a field.
    pub(crate) fn refuse(&mut self, name: &'static str, problem: impl Into<Cow<'static, str>>) {
        self.problems.push((name.into(), problem.into()));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 422 with all that is wrong.
    pub(crate) fn finish(self) -> Outcome<()> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ApiError::fields(self.problems))
        }
    }

    fn checked(&mut self, name: &'static str, value: Value, rule: Text) -> Option<String> {
        let checked = match value {
            Value::String(text) => rule.check(text),
            Value::Null => Err(BLANK.into()),
            _ => Err("must be a text".into()),
        };
        checked.map_err(|problem| self.refuse(name, problem)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(json: &str) -> Form {
        Form::parse(json.as_bytes(), "user").expect(json)
    }

    #[test]
    fn absent_null_empty_and_text_are_told_apart() {
        let rule = Text::line(5);
        for (json, required, optional, clearable) in [
            (r#"{"user":{}}"#, false, Some(None), Some(None)),
            (r#"{"user":{"a":null}}"#, false, None, Some(Some(None))),
            (r#"{"user":{"a":" "}}"#, false, None, Some(Some(None))),
            (r#"{"user":{"a":7}}"#, false, None, None),
            (r#"{"user":{"a":"123456"}}"#, false, None, None),
            (r#"{"user":{"a":"1\u0000"}}"#, false, None, None),
            (
                r#"{"user":{"a":" x "}}"#,
                true,
                Some(Some("x")),
                Some(Some(Some("x"))),
            ),
        ] {
            let mut one = form(json);
            let text = one.required("a", rule);
            assert_eq!(one.finish().is_ok(), required, "{json}");
            assert!(!required || text == "x");
            let mut one = form(json);
            let text = one.optional("a", rule);
            let read = one.finish().ok().map(|()| text);
            assert_eq!(read, optional.map(|text| text.map(str::to_owned)), "{json}");
            let mut one = form(json);
            let text = one.clearable("a", rule);
            let read = one.finish().ok().map(|()| text);
            let clearable = clearable.map(|text| text.map(|text| text.map(str::to_owned)));
            assert_eq!(read, clearable, "{json}");
        }
    }

    #[test]
    fn a_list_keeps_its_order_and_nothing_twice() {
        let rule = Text::line(5);
        let list = |json: &str| {
            let mut form = form(json);
            let list = form.list("a", rule, 3);
            form.finish().ok().map(|()| list)
        };
        let read = list(r#"{"user":{"a":["b"," a","b"]}}"#).flatten();
        assert_eq!(read, Some(vec!["b".to_owned(), "a".to_owned()]));
        assert_eq!(list(r#"{"user":{"a":[]}}"#).flatten(), Some(Vec::new()));
        assert_eq!(list(r#"{"user":{}}"#), Some(None));
        for bad in [
            "null",
            "\"a\"",
            "[1]",
            "[\"\"]",
            "[\"1\",\"2\",\"3\",\"4\"]",
        ] {
            assert!(
                list(&format!(r#"{{"user":{{"a":{bad}}}}}"#)).is_none(),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bad in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"user":1}"#,
            r#"{"user":{"a":"\ud800"}}"#,
        ] {
            assert!(Form::parse(bad.as_bytes(), "user").is_err(), "{bad}");
        }
        assert!(Form::parse(b"{\"user\":{\"a\":\"\xff\"}}", "user").is_err());
    }
}
