//! Just enough of SQL's grammar to compare two texts without their layout.

use std::collections::BTreeSet;

/// A piece of SQL text.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A bare word or number, in lower case.
    Word(String),
    /// A quoted identifier without its quotes, in lower case.
    Quoted(String),
    /// A string literal with its quotes.
    Literal(String),
    /// Anything else: one character, or an operator of several.
    Symbol(String),
}

/// The text with one space between its tokens, in lower case where case does not count, without
/// quotes around identifiers and without comments.
pub(super) fn normalise(sql: &str) -> String {
    join(&tokens(sql))
}

/// The conditions of all CHECK constraints in a CREATE TABLE, normalised.
pub(super) fn checks(create_table: &str) -> BTreeSet<String> {
    let tokens = tokens(create_table);
    let starts = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.is_word("check"));
    starts
        .filter_map(|(at, _)| in_parentheses(&tokens[at + 1..]))
        .map(join)
        .collect()
}

/// What follows the first ON of a CREATE INDEX, normalised: table, parts and condition.
pub(super) fn after_on(create_index: &str) -> String {
    let tokens = tokens(create_index);
    let start = tokens
        .iter()
        .position(|token| token.is_word("on"))
        .map_or(0, |at| at + 1);
    join(&tokens[start..])
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Quoted(text) | Self::Literal(text) | Self::Symbol(text) => {
                text
            }
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }
}

fn in_parentheses(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0_u32;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol(symbol) if symbol == "(" => depth += 1,
            Token::Symbol(symbol) if symbol == ")" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return tokens.get(1..at);
        }
    }
    None
}

fn join(tokens: &[Token]) -> String {
    tokens.iter().map(Token::text).collect::<Vec<_>>().join(" ")
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = comment(rest) {
            length
        } else if let Some(close) = closing_quote(first) {
            let length = quoted(rest, close);
            let text = &rest[..length];
            tokens.push(match first {
                '\'' => Token::Literal(text.to_owned()),
                _ => Token::Quoted(text[1..].trim_end_matches(close).to_lowercase()),
            });
            length
        } else if is_word(first) {
            let length = rest.find(|next| !is_word(next)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_lowercase()));
            length
        } else {
            let operator = rest
                .find(|next| !"<>=!|".contains(next))
                .unwrap_or(rest.len());
            let length = operator.max(first.len_utf8());
            tokens.push(Token::Symbol(rest[..length].to_owned()));
            length
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Where the first token at or after byte `from` begins.
pub(crate) fn skip_blanks(sql: &str, from: usize) -> usize {
    let mut rest = sql.get(from..).unwrap_or_default().trim_start();
    while let Some(length) = comment(rest) {
        rest = rest[length..].trim_start();
    }
    sql.len() - rest.len()
}

/// The length of the comment at the start, if there is one.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        Some(text.find('\n').unwrap_or(text.len()))
    } else if text.starts_with("/*") {
        Some(text.find("*/").map_or(text.len(), |end| end + 2))
    } else {
        None
    }
}

fn is_word(next: char) -> bool {
    next.is_alphanumeric() || next == '_' || next == '$' || !next.is_ascii()
}

fn closing_quote(open: char) -> Option<char> {
    match open {
        '\'' | '"' | '`' => Some(open),
        '[' => Some(']'),
        _ => None,
    }
}

/// The length of the quoted text at the start, a doubled quote being part of it.
fn quoted(text: &str, close: char) -> usize {
    let mut at = 1;
    while let Some(found) = text[at..].find(close) {
        at += found + 1;
        if close == ']' || !text[at..].starts_with(close) {
            return at;
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_quotes_and_case_do_not_count() {
        let one = "length(\"Title\")   <= 200 -- characters\n AND title<>'It''s'";
        let two = "LENGTH ( title )<=200 /* ! */ and [title] <> 'It''s'";
        assert_eq!(normalise(one), normalise(two));
        assert_ne!(normalise("a = 'X'"), normalise("a = 'x'"));
    }

    #[test]
    fn checks_are_found_wherever_they_stand() {
        let sql = "CREATE TABLE t (\"check\" TEXT DEFAULT 'check (no)' CHECK (a IN (1, 2)),
            b INTEGER, CONSTRAINT c CHECK((b) > 0)) STRICT";
        let found: Vec<_> = checks(sql).into_iter().collect();
        assert_eq!(found, ["( b ) > 0", "a in ( 1 , 2 )"]);
    }

    #[test]
    fn unfinished_text_ends_quietly() {
        for sql in [
            "'abc", "\"a", "/* a", "-- a", "check (a", "check", "[a", "'a''",
        ] {
            let _ = (normalise(sql), checks(sql), after_on(sql));
        }
    }
}
