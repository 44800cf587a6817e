//! Splits a file into its statements, by PostgreSQL's own rules for quotes and comments.
//!
//! A semicolon ends a statement unless it stands in a string, a quoted name, dollar quotes, a
//! comment, parentheses (as in `CREATE RULE`) or the body of a routine (`BEGIN ATOMIC .. END`).

/// One statement of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    /// Its text, from its first word to before its semicolon.
    pub(super) text: &'a str,
    /// The line of the file, from 1, on which it begins.
    pub(super) line: usize,
}

/// A piece of SQL text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// White space or a comment.
    Blank,
    /// A bare word, as written.
    Word(&'a str),
    /// A quoted name with its quotes.
    Quoted(&'a str),
    /// A string, whatever its quotes, or a number.
    Literal,
    /// Any other character.
    Symbol(char),
}

/// The statements of a file; those that hold nothing are left out.
pub(super) fn statements(sql: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut begun: Option<(usize, Nesting)> = None;
    let mut end = 0;
    for (at, token, length) in tokens(sql) {
        match (token, &mut begun) {
            (Token::Blank, _) | (Token::Symbol(';'), None) => continue,
            (Token::Symbol(';'), Some((start, nesting))) if nesting.is_outside() => {
                statements.push(statement(sql, *start, end));
                begun = None;
                continue;
            }
            (_, Some((_, nesting))) => nesting.see(token),
            (_, None) => {
                let mut nesting = Nesting::default();
                nesting.see(token);
                begun = Some((at, nesting));
            }
        }
        end = at + length;
    }
    if let Some((start, _)) = begun {
        statements.push(statement(sql, start, end));
    }
    statements
}

/// The tokens that are not blank, each with where it begins in bytes.
pub(super) fn words(sql: &str) -> impl Iterator<Item = (usize, Token<'_>)> {
    tokens(sql).filter_map(|(at, token, _)| (token != Token::Blank).then_some((at, token)))
}

impl Token<'_> {
    /// Whether this is the bare word, which is given in lower case.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word))
    }
}

fn statement(sql: &str, start: usize, end: usize) -> Statement<'_> {
    Statement {
        text: &sql[start..end],
        line: 1 + sql[..start].matches('\n').count(),
    }
}

/// How deep in parentheses and in the body of a routine a statement is.
#[derive(Default)]
struct Nesting {
    parentheses: usize,
    body: usize,
    after_begin: bool,
}

impl Nesting {
    fn is_outside(&self) -> bool {
        self.parentheses == 0 && self.body == 0
    }

    fn see(&mut self, token: Token<'_>) {
        match token {
            Token::Symbol('(') => self.parentheses += 1,
            Token::Symbol(')') => self.parentheses = self.parentheses.saturating_sub(1),
            _ if self.after_begin && token.is("atomic") => self.body += 1,
            _ if self.body > 0 && token.is("case") => self.body += 1,
            _ if self.body > 0 && token.is("end") => self.body -= 1,
            _ => {}
        }
        self.after_begin = token.is("begin");
    }
}

/// Every token: where it begins, what it is, how many bytes it has.
fn tokens(sql: &str) -> impl Iterator<Item = (usize, Token<'_>, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (token, length) = token(&sql[at..])?;
        let start = at;
        at += length;
        Some((start, token, length))
    })
}

/// The token at the start of the text, and its length in bytes.
fn token(text: &str) -> Option<(Token<'_>, usize)> {
    let first = text.chars().next()?;
    Some(match first {
        _ if first.is_ascii_whitespace() || first == '\u{b}' => (Token::Blank, first.len_utf8()),
        '-' if text.starts_with("--") => (Token::Blank, line_comment(text)),
        '/' if text.starts_with("/*") => (Token::Blank, block_comment(text)),
        '\'' => (Token::Literal, quoted(text, '\'')),
        '"' => {
            let length = quoted(text, '"');
            (Token::Quoted(&text[..length]), length)
        }
        'e' | 'E' if text[1..].starts_with('\'') => (Token::Literal, 1 + escaped(&text[1..])),
        '$' => match dollar_quoted(text) {
            Some(length) => (Token::Literal, length),
            None => (Token::Symbol('$'), 1),
        },
        '0'..='9' => (
            Token::Literal,
            run(text, |next| next.is_ascii_alphanumeric()),
        ),
        _ if begins_word(first) => {
            let length = run(text, |next| {
                begins_word(next) || next.is_ascii_digit() || next == '$'
            });
            (Token::Word(&text[..length]), length)
        }
        _ => (Token::Symbol(first), first.len_utf8()),
    })
}

fn begins_word(first: char) -> bool {
    first.is_ascii_alphabetic() || first == '_' || !first.is_ascii()
}

fn run(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|next| !fits(next)).unwrap_or(text.len())
}

fn line_comment(text: &str) -> usize {
    text.find(['\n', '\r']).unwrap_or(text.len())
}

/// PostgreSQL's block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (2, 1_usize);
    while depth > 0 {
        let (open, close) = (text[at..].find("/*"), text[at..].find("*/"));
        match (open, close) {
            (Some(open), Some(close)) if open < close => {
                depth += 1;
                at += open + 2;
            }
            (_, Some(close)) => {
                depth -= 1;
                at += close + 2;
            }
            (_, None) => return text.len(),
        }
    }
    at
}

/// The length of what is quoted, a doubled quote being part of it.
fn quoted(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(found) = text[at..].find(quote) {
        at += found + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

/// The length of a string in which a backslash escapes. One that goes on after a line end is
/// one string.
fn escaped(text: &str) -> usize {
    let mut at = 1;
    while let Some(found) = text[at..].find(['\'', '\\']) {
        at += found + 1;
        if text[..at].ends_with('\\') {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        } else if text[at..].starts_with('\'') {
            at += 1;
        } else if let Some(gap) = continuation(&text[at..]) {
            at += gap + 1;
        } else {
            return at;
        }
    }
    text.len()
}

/// The length of the gap to the next part of a string, if there is one: white space with a line
/// end in it, and line comments.
fn continuation(text: &str) -> Option<usize> {
    let (mut at, mut line_end) = (0, false);
    loop {
        let rest = &text[at..];
        match rest.chars().next()? {
            '\'' if line_end => return Some(at),
            '\n' | '\r' => {
                line_end = true;
                at += 1;
            }
            blank if blank.is_ascii_whitespace() => at += 1,
            '-' if rest.starts_with("--") => at += line_comment(rest),
            _ => return None,
        }
    }
}

/// The length of a string in dollar quotes, if one begins here.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag = run(&text[1..], |next| {
        begins_word(next) || next.is_ascii_digit()
    });
    let opening = text.get(..tag + 2).filter(|found| found.ends_with('$'))?;
    if opening[1..].starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let inside = &text[opening.len()..];
    let length = inside.find(opening).map(|end| 2 * opening.len() + end);
    Some(length.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        statements(sql).iter().map(|one| one.text).collect()
    }

    /// Each of these is one statement though it holds semicolons; a second one follows.
    const HARD: &[&str] = &[
        "SELECT 'a;''b;'",
        r"SELECT 'a\'",
        r"SELECT E'a\';b'",
        r"SELECT E'a\\'",
        r"SELECT e'it''s;\';'",
        "SELECT E'a'\n  'b\\';c'",
        "SELECT E'a' -- more\n '\\';'",
        r"SELECT typee'a\'",
        "SELECT U&'d\\0061t;', B'1', N';'",
        "SELECT \"a;\"\"b;\" FROM \"c;\"",
        "SELECT $$a;b$$, $x$ ; $$ ; $y$ ; $x$",
        "DO $do$ BEGIN EXECUTE $q$ SELECT ';' $q$; END $do$",
        "SELECT a$b$c, $1, 1 AS \"$$;\"",
        "SELECT 1 /* ; /* ; */ ; ' */ + 2",
        "SELECT 1 -- ; ' $$ /*\n + 2",
        "SELECT 5*/* ; */3, 4--;\n-1",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (UPDATE a SET b = 1; DELETE FROM c)",
        "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql\nBEGIN ATOMIC\n  SELECT 1;\n  \
         SELECT CASE WHEN a > 1 THEN 2 END;\nEND",
        "SELECT größe, \"naïve;\" FROM tàble",
        "SELECT $ä$;$ä$",
    ];

    #[test]
    fn hard_cases_stay_whole() {
        for one in HARD {
            let file = format!("{one};\nSELECT 2;");
            assert_eq!(texts(&file), [*one, "SELECT 2"], "{one}");
        }
        let all = HARD.join(";\n");
        assert_eq!(texts(&all), HARD);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        for sql in ["", ";", " ;; -- ;\n ; /* ; */", "\u{b}\t\r\n"] {
            assert_eq!(statements(sql), [], "{sql}");
        }
        assert_eq!(texts("BEGIN; COMMIT ;END"), ["BEGIN", "COMMIT", "END"]);
    }

    #[test]
    fn lines_are_those_of_the_first_word() {
        let found = statements("-- why\n\nSELECT\n 1;\n\n/* two\n */ SELECT 2");
        let lines: Vec<_> = found.iter().map(|one| (one.line, one.text)).collect();
        assert_eq!(lines, [(3, "SELECT\n 1"), (7, "SELECT 2")]);
    }

    #[test]
    fn unfinished_text_ends_quietly() {
        for sql in [
            "'a;",
            "\"a;",
            "$$a;",
            "$a$;$a",
            "/* a; /* */",
            "E'a;\\",
            "E'a'\n",
            "$",
            "$a",
            "(;",
            "E'",
            "$1$;",
        ] {
            assert!(statements(sql).len() <= 1 || sql == "$1$;", "{sql}");
        }
    }
}
