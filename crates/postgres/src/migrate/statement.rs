//! What the runner has to know about a statement: by its first words, nothing deeper.

use super::split::{Statement, Token, words};

/// What a statement is to the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins or ends a transaction.
    TransactionControl,
    /// COPY from or to the client, which would wait for data that nobody sends.
    CopyStream,
    /// CREATE INDEX CONCURRENTLY; cut short, it leaves an invalid index behind.
    CreateIndex {
        /// The index's name, if it is given.
        name: Option<String>,
        /// The table, as written.
        table: String,
    },
    /// DROP INDEX CONCURRENTLY, which can be run again after it was cut short.
    DropIndex {
        /// The index, as written.
        index: String,
    },
    /// A setting, VACUUM or ANALYZE: may be run any number of times.
    Repeatable,
    /// Another one that works in several transactions: what a failure leaves is not known.
    InPieces,
    /// All or nothing.
    Whole,
}

impl Statement<'_> {
    /// What it is to the runner.
    pub(super) fn kind(&self) -> Kind {
        let tokens: Vec<Token<'_>> = words(self.text).map(|(_, token)| token).collect();
        let said = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
        let begins = |any: &[&str]| any.iter().any(|word| said(0, word));
        let has = |word: &str| tokens.iter().any(|token| token.is(word));
        if is_transaction_control(&tokens) {
            return Kind::TransactionControl;
        }
        if said(0, "copy") && (has("stdin") || has("stdout")) {
            return Kind::CopyStream;
        }
        // `CREATE UNIQUE INDEX` has one word more.
        let index = usize::from(said(1, "unique")) + 1;
        if begins(&["create"]) && said(index, "index") && said(index + 1, "concurrently") {
            return create_index(&tokens[index + 2..]);
        }
        if begins(&["drop"]) && said(1, "index") && said(2, "concurrently") {
            return drop_index(&tokens[3..]);
        }
        if begins(&["set", "reset", "vacuum", "analyze"]) {
            return Kind::Repeatable;
        }
        if begins(&["call", "do"]) || self.is_concurrent() {
            return Kind::InPieces;
        }
        Kind::Whole
    }

    /// Whether it says CONCURRENTLY: it waits long for others, but makes none wait.
    pub(super) fn is_concurrent(&self) -> bool {
        words(self.text).any(|(_, token)| token.is("concurrently"))
    }

    /// Whether it sets one of these settings by name.
    pub(super) fn sets(&self, any: &[&str]) -> bool {
        self.kind() == Kind::Repeatable
            && words(self.text).any(|(_, token)| any.iter().any(|setting| token.is(setting)))
    }
}

/// `ROLLBACK TO` a savepoint stays within the transaction.
fn is_transaction_control(tokens: &[Token<'_>]) -> bool {
    let said = |at: usize, any: &[&str]| {
        tokens
            .get(at)
            .is_some_and(|token| any.iter().any(|word| token.is(word)))
    };
    if said(0, &["rollback"]) {
        let next = 1 + usize::from(said(1, &["work", "transaction"]));
        return !said(next, &["to"]);
    }
    said(0, &["begin", "commit", "end", "abort"])
        || (said(0, &["start", "prepare"]) && said(1, &["transaction"]))
}

/// What follows `CREATE INDEX CONCURRENTLY`: `[IF NOT EXISTS] [name] ON [ONLY] table ..`.
fn create_index(tokens: &[Token<'_>]) -> Kind {
    let mut rest = tokens;
    if rest.first().is_some_and(|token| token.is("if")) {
        rest = rest.get(3..).unwrap_or_default();
    }
    let name = match rest.first() {
        Some(token) if !token.is("on") => {
            rest = &rest[1..];
            name(*token)
        }
        _ => None,
    };
    rest = rest.get(1..).unwrap_or_default();
    if rest.first().is_some_and(|token| token.is("only")) {
        rest = &rest[1..];
    }
    let end = rest
        .iter()
        .position(|token| token.is("using") || *token == Token::Symbol('('));
    Kind::CreateIndex {
        name,
        table: as_written(&rest[..end.unwrap_or(rest.len())]),
    }
}

/// What follows `DROP INDEX CONCURRENTLY`: `[IF EXISTS] name [CASCADE | RESTRICT]`.
fn drop_index(tokens: &[Token<'_>]) -> Kind {
    let mut rest = tokens;
    if rest.first().is_some_and(|token| token.is("if")) {
        rest = rest.get(2..).unwrap_or_default();
    }
    let end = rest
        .iter()
        .position(|token| token.is("cascade") || token.is("restrict"));
    Kind::DropIndex {
        index: as_written(&rest[..end.unwrap_or(rest.len())]),
    }
}

/// The name that PostgreSQL makes of a word or a quoted name.
fn name(token: Token<'_>) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.to_ascii_lowercase()),
        Token::Quoted(text) => {
            let inside = text.strip_prefix('"')?.strip_suffix('"')?;
            Some(inside.replace("\"\"", "\""))
        }
        _ => None,
    }
}

/// A name of one or more parts, without blanks and comments.
fn as_written(tokens: &[Token<'_>]) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Word(part) | Token::Quoted(part) => text.push_str(part),
            Token::Symbol(symbol) => text.push(*symbol),
            Token::Blank | Token::Literal => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        Statement { text, line: 1 }.kind()
    }

    #[test]
    fn transactions_are_recognised() {
        for text in [
            "begin",
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
            "Start /* a */ Transaction",
            "COMMIT",
            "END",
            "ABORT",
            "ROLLBACK",
            "ROLLBACK WORK AND CHAIN",
            "PREPARE TRANSACTION 'x'",
        ] {
            assert_eq!(kind(text), Kind::TransactionControl, "{text}");
        }
        for text in [
            "ROLLBACK TO a",
            "ROLLBACK WORK TO SAVEPOINT a",
            "SAVEPOINT a",
            "RELEASE a",
            "SELECT 'COMMIT'",
            "PREPARE a AS SELECT 1",
            "\"begin\"",
        ] {
            assert_eq!(kind(text), Kind::Whole, "{text}");
        }
    }

    #[test]
    fn indexes_are_read_with_their_tables() {
        for (text, name, table) in [
            (
                "CREATE INDEX CONCURRENTLY A_idx ON t (a)",
                Some("a_idx"),
                "t",
            ),
            (
                "create unique index concurrently if not exists \"A\"\"x\" -- why\n on only \"S\" . t \
                 USING btree (a)",
                Some("A\"x"),
                "\"S\".t",
            ),
            ("CREATE INDEX CONCURRENTLY ON t(a)", None, "t"),
        ] {
            let (name, table) = (name.map(str::to_owned), table.to_owned());
            assert_eq!(kind(text), Kind::CreateIndex { name, table }, "{text}");
        }
        let index = "\"S\".a".to_owned();
        let text = "DROP INDEX CONCURRENTLY IF EXISTS \"S\".a CASCADE";
        assert_eq!(kind(text), Kind::DropIndex { index });
        assert_eq!(kind("CREATE INDEX a ON t (a)"), Kind::Whole);
    }

    #[test]
    fn what_works_in_pieces_is_known() {
        for text in [
            "CALL backfill()",
            "DO $$ BEGIN COMMIT; END $$",
            "REINDEX TABLE CONCURRENTLY t",
            "ALTER TABLE t DETACH PARTITION u CONCURRENTLY",
        ] {
            assert_eq!(kind(text), Kind::InPieces, "{text}");
        }
        assert_eq!(kind("VACUUM (FULL) t"), Kind::Repeatable);
        let set = |text| Statement { text, line: 1 }.sets(&["search_path"]);
        assert!(set("SET LOCAL Search_Path = a") && !set("SELECT search_path FROM set"));
        assert_eq!(kind("COPY t FROM STDIN"), Kind::CopyStream);
        assert_eq!(kind("COPY t FROM PROGRAM 'true'"), Kind::Whole);
        assert_eq!(
            kind("CREATE INDEX CONCURRENTLY"),
            kind("create index concurrently ")
        );
    }
}
