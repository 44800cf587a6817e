//! The conditions of `--where`: `status = published and title ~ 'two qubits'`.
//!
//! ```text
//! condition = term { "and" term }
//! term      = column ( "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "^=" ) value
//!           | column "is" [ "not" ] "null"
//! value     = word | 'quoted' | "quoted"       a doubled quote stands for one
//! ```
//!
//! The result is a typed filter; values are bound, never made into text.

use larder::{ColumnDef, Comparison, Expr, Filter, Predicate, TextMatch, Value};

use crate::cli::exchange::{Exchange, fields, from_text, quoted};

/// Why a condition makes no sense, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The place, in bytes.
    at: usize,
    /// What is wrong.
    pub(super) sentence: String,
}

impl Mistake {
    fn new(at: usize, sentence: impl Into<String>) -> Self {
        Self {
            at,
            sentence: sentence.into(),
        }
    }

    /// The condition with a mark under the place.
    pub(super) fn pointing_at(&self, condition: &str) -> String {
        let before = condition.get(..self.at).unwrap_or(condition);
        let line: String = condition
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        format!("{line}\n{}^", " ".repeat(before.chars().count()))
    }
}

/// Reads a condition on rows of `E`.
pub(super) fn parse<E: Exchange>(text: &str) -> Result<Predicate<E>, Mistake> {
    let mut tokens = Tokens { text, at: 0 };
    let mut filter = Filter::All;
    loop {
        filter = filter.and(term::<E>(&mut tokens)?);
        match tokens.next()? {
            (_, Token::End) => return Ok(Predicate::from(filter)),
            (_, Token::Word(word)) if word.eq_ignore_ascii_case("and") => {}
            (at, Token::Word(word)) if word.eq_ignore_ascii_case("or") => {
                return Err(Mistake::new(at, "conditions are joined by `and` only"));
            }
            (at, _) => {
                return Err(Mistake::new(
                    at,
                    "`and` or the end is expected; put a value with spaces in quotes",
                ));
            }
        }
    }
}

/// The sentence for a name that is no column.
pub(super) fn no_column<E: Exchange>(name: &str) -> String {
    format!(
        "there is no column {}; {} has {}",
        quoted(name),
        E::TABLE.name,
        E::FIELDS.join(", ")
    )
}

fn term<E: Exchange>(tokens: &mut Tokens<'_>) -> Result<Filter, Mistake> {
    let (at, column) = column::<E>(tokens)?;
    match tokens.next()? {
        (_, Token::Operator(op)) => compare::<E>(at, column, op, tokens),
        (_, Token::Word(word)) if word.eq_ignore_ascii_case("is") => null_test(at, tokens),
        (place, _) => Err(Mistake::new(
            place,
            format!(
                "after `{}` one of = != < <= > >= ~ ^= or `is` is expected",
                column.name
            ),
        )),
    }
}

fn column<E: Exchange>(tokens: &mut Tokens<'_>) -> Result<(usize, &'static ColumnDef), Mistake> {
    match tokens.next()? {
        (place, Token::Word(name)) => fields::<E>()
            .find(|(_, column)| column.name == name)
            .ok_or_else(|| Mistake::new(place, no_column::<E>(name))),
        (place, _) => Err(Mistake::new(
            place,
            format!(
                "a column is expected; {} has {}",
                E::TABLE.name,
                E::FIELDS.join(", ")
            ),
        )),
    }
}

fn null_test(column: usize, tokens: &mut Tokens<'_>) -> Result<Filter, Mistake> {
    let is_null = Filter::IsNull { column };
    let expected = |place| Mistake::new(place, "`is` is followed by `null` or `not null`");
    match tokens.next()? {
        (_, Token::Word(word)) if word.eq_ignore_ascii_case("null") => Ok(is_null),
        (_, Token::Word(word)) if word.eq_ignore_ascii_case("not") => match tokens.next()? {
            (_, Token::Word(word)) if word.eq_ignore_ascii_case("null") => {
                Ok(Filter::Not(Box::new(is_null)))
            }
            (place, _) => Err(expected(place)),
        },
        (place, _) => Err(expected(place)),
    }
}

fn compare<E: Exchange>(
    at: usize,
    column: &'static ColumnDef,
    op: Operator,
    tokens: &mut Tokens<'_>,
) -> Result<Filter, Mistake> {
    let (place, text) = match tokens.next()? {
        (place, Token::Word(word)) if word.eq_ignore_ascii_case("null") => {
            return Err(Mistake::new(
                place,
                format!("write `{} is null` or `is not null`", column.name),
            ));
        }
        (place, Token::Word(word)) => (place, word.to_owned()),
        (place, Token::Quoted(text)) => (place, text),
        (place, _) => return Err(Mistake::new(place, "a value is expected")),
    };
    if text.contains('\0') {
        return Err(Mistake::new(place, "a value cannot hold a NUL character"));
    }
    match op {
        Operator::Text(op) if column.kind.is_text() => Ok(Filter::Text {
            column: at,
            op,
            fold: false,
            pattern: text,
        }),
        Operator::Text(_) => Err(Mistake::new(
            place,
            format!(
                "~ and ^= need a text column; `{}` holds a {}",
                column.name,
                column.kind.name()
            ),
        )),
        Operator::Compare(op) => {
            let refuse =
                |reason: String| Mistake::new(place, format!("`{}`: {reason}", column.name));
            let value = from_text(column, &text).map_err(refuse)?;
            let choices = E::choices(column.name);
            if let Value::Text(text) = &value
                && !choices.is_empty()
                && !choices.contains(&text.as_ref())
            {
                return Err(refuse(format!(
                    "{} is none of {}",
                    quoted(text),
                    choices.join(", ")
                )));
            }
            Ok(Filter::Compare {
                left: Expr::Column(at),
                op,
                value,
            })
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Compare(Comparison),
    Text(TextMatch),
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Quoted(String),
    Operator(Operator),
    End,
}

/// The longest operators first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 9] = [
    ("!=", Operator::Compare(Comparison::Ne)),
    ("<>", Operator::Compare(Comparison::Ne)),
    ("<=", Operator::Compare(Comparison::Le)),
    (">=", Operator::Compare(Comparison::Ge)),
    ("^=", Operator::Text(TextMatch::StartsWith)),
    ("=", Operator::Compare(Comparison::Eq)),
    ("<", Operator::Compare(Comparison::Lt)),
    (">", Operator::Compare(Comparison::Gt)),
    ("~", Operator::Text(TextMatch::Contains)),
];

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// The next token and its place.
    fn next(&mut self) -> Result<(usize, Token<'a>), Mistake> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[start..];
        self.at = start;
        let Some(first) = rest.chars().next() else {
            return Ok((start, Token::End));
        };
        if matches!(first, '\'' | '"') {
            return Ok((start, Token::Quoted(self.quoted(first)?)));
        }
        if let Some((symbol, operator)) = OPERATORS
            .iter()
            .find(|(symbol, _)| rest.starts_with(symbol))
        {
            self.at += symbol.len();
            return Ok((start, Token::Operator(*operator)));
        }
        let ends = |c: char| {
            c.is_whitespace() || matches!(c, '=' | '!' | '<' | '>' | '~' | '^' | '\'' | '"')
        };
        let length = rest.find(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(Mistake::new(
                start,
                format!("`{first}` is no operator here; they are = != < <= > >= ~ ^="),
            ));
        }
        self.at += length;
        Ok((start, Token::Word(&rest[..length])))
    }

    /// The text in quotes that begins here.
    fn quoted(&mut self, quote: char) -> Result<String, Mistake> {
        let start = self.at;
        let mut text = String::new();
        let mut rest = self.text[start + 1..].char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            if c != quote {
                text.push(c);
            } else if rest.next_if(|&(_, next)| next == quote).is_some() {
                text.push(quote);
            } else {
                self.at = start + 1 + at + 1;
                return Ok(text);
            }
        }
        Err(Mistake::new(
            start,
            format!("the quote is never closed: a {quote} is missing"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::models::{Post, User};

    fn filter(text: &str) -> String {
        format!(
            "{:?}",
            parse::<Post>(text)
                .and_then(|p| p.into_filter().map_err(|e| Mistake::new(0, e.to_string())))
        )
    }

    fn mistake(text: &str) -> (usize, String) {
        let mistake = parse::<Post>(text).expect_err(text);
        (mistake.at, mistake.sentence)
    }

    #[test]
    fn conditions_become_filters() {
        let typed =
            |predicate: Predicate<Post>| format!("{:?}", predicate.into_filter().map_err(|_| ()));
        assert_eq!(filter("id = 7"), typed(Post::ID.eq(larder::Id::new(7))));
        assert_eq!(
            filter("title~'it''s'and status != draft"),
            typed(
                Post::TITLE
                    .contains("it's")
                    .and(Post::STATUS.ne(larder::models::PostStatus::Draft))
            )
        );
        assert_eq!(
            filter("slug ^= \"a b\""),
            typed(Post::SLUG.starts_with("a b"))
        );
        assert_eq!(
            filter("updated_at IS NOT NULL"),
            typed(Post::UPDATED_AT.is_not_null())
        );
        assert_eq!(
            filter("title = '; drop table posts --'"),
            typed(Post::TITLE.eq("; drop table posts --"))
        );
        assert!(parse::<User>("created_at>=2018-03-09 and is_active=true").is_ok());
    }

    #[test]
    fn mistakes_point_at_their_place() {
        assert!(mistake("nam = x").1.contains("posts has id, slug, title"));
        assert_eq!(mistake("id = 1 or id = 2").0, 7);
        assert_eq!(mistake("id = 1 and ").0, 11);
        assert_eq!(mistake("title = two words").0, 12);
        assert_eq!(mistake("title = 'open").0, 8);
        assert_eq!(mistake("id ~ 4").0, 5);
        assert_eq!(mistake("id = four").0, 5);
        assert!(
            mistake("status = gone")
                .1
                .contains("draft, published, archived")
        );
        assert!(mistake("updated_at = null").1.contains("is null"));
        assert!(mistake("").1.contains("a column is expected"));
        assert!(mistake("id ! 4").1.contains("no operator"));
        let wrong = parse::<User>("näme = 1 or").expect_err("no such column");
        assert!(wrong.pointing_at("näme = 1").ends_with("\n^"));
    }
}
