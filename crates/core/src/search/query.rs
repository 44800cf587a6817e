//! [`SearchQuery`]: what a search asks for, read from text, and looked for in texts.

use super::{is_separator, words};
use crate::error::{Error, ErrorKind, Result};

/// The most words of a search.
pub const WORDS_MAX: usize = 1_000;
/// The longest word that is found, in characters; of a longer one only the beginning is, by
/// `beginning*`.
pub const WORD_CHARS_MAX: usize = 250;

/// A search. Finds nothing if nothing is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchQuery {
    /// What a row must have, all of it.
    pub wanted: Vec<Phrase>,
    /// What it must not have, none of it.
    pub excluded: Vec<Phrase>,
}

/// Words one behind the other, at least one. `A` to `Z` are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phrase {
    /// The words, each of letters that are no separators.
    pub words: Vec<String>,
    /// Whether the last is only the beginning of a word.
    pub prefix: bool,
}

impl SearchQuery {
    /// Reads a search; the [module](super) says how.
    ///
    /// # Errors
    /// `Invalid` if it has more than [`WORDS_MAX`] words.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut query, mut possible, mut count) = (Self::default(), true, 0);
        for item in Items(text) {
            let Some(phrase) = Phrase::of(item) else {
                continue;
            };
            count += phrase.words.len();
            if count > WORDS_MAX {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("a search has at most {WORDS_MAX} words: leave some out"),
                ));
            }
            if phrase.is_possible() {
                let into = if item.excluded {
                    &mut query.excluded
                } else {
                    &mut query.wanted
                };
                if !into.contains(&phrase) {
                    into.push(phrase);
                }
            } else {
                possible &= item.excluded;
            }
        }
        if possible {
            Ok(query)
        } else {
            Ok(Self::default())
        }
    }

    /// Whether a row with these texts is found.
    pub fn finds(&self, texts: &[&str]) -> bool {
        let texts = split(texts);
        let has = |phrase: &Phrase| texts.iter().any(|words| phrase.count(words) > 0);
        !self.wanted.is_empty() && self.wanted.iter().all(has) && !self.excluded.iter().any(has)
    }

    /// How well a row with these texts fits; more is better.
    ///
    /// Okapi BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) with its
    /// usual constants, as if every text had 100 words and every word were equally rare.
    pub fn rank(&self, texts: &[&str]) -> f64 {
        const SATURATION: f64 = 1.2;
        const LENGTH: f64 = 0.75;
        let texts = split(texts);
        let length: usize = texts.iter().map(Vec::len).sum();
        let relative = 1.0 - LENGTH + LENGTH * length as f64 / 100.0;
        let weigh = |phrase: &Phrase| {
            let count: usize = texts.iter().map(|words| phrase.count(words)).sum();
            count as f64 * (SATURATION + 1.0) / (count as f64 + SATURATION * relative)
        };
        self.wanted.iter().map(weigh).sum()
    }
}

fn split<'t>(texts: &[&'t str]) -> Vec<Vec<&'t str>> {
    texts.iter().map(|text| words(text).collect()).collect()
}

impl Phrase {
    fn of(item: Item<'_>) -> Option<Self> {
        let words: Vec<String> = words(item.text).map(str::to_ascii_lowercase).collect();
        (!words.is_empty()).then_some(Self {
            words,
            prefix: item.prefix,
        })
    }

    /// Whether no word is too long to be found.
    fn is_possible(&self) -> bool {
        let fits = |word: &String| word.chars().nth(WORD_CHARS_MAX).is_none();
        self.words.iter().all(fits)
    }

    /// How often it stands in these words.
    fn count(&self, words: &[&str]) -> usize {
        let Some((last, firsts)) = self.words.split_last() else {
            return 0;
        };
        let is_last = |word: &str| match word.as_bytes().get(..last.len()) {
            Some(start) if self.prefix => start.eq_ignore_ascii_case(last.as_bytes()),
            _ => word.eq_ignore_ascii_case(last),
        };
        let is_here = |window: &&[&str]| {
            is_last(window[firsts.len()])
                && (firsts.iter().zip(*window)).all(|(own, word)| word.eq_ignore_ascii_case(own))
        };
        words.windows(self.words.len()).filter(is_here).count()
    }
}

/// One item of a search as written, without what is around it.
#[derive(Clone, Copy)]
struct Item<'t> {
    text: &'t str,
    excluded: bool,
    prefix: bool,
}

/// The items of the rest of a search.
struct Items<'t>(&'t str);

impl<'t> Iterator for Items<'t> {
    type Item = Item<'t>;

    fn next(&mut self) -> Option<Item<'t>> {
        let rest = self.0.trim_start_matches(is_space);
        if rest.is_empty() {
            return None;
        }
        let (rest, excluded) = match rest.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (text, prefix) = match rest.strip_prefix('"') {
            Some(quoted) => self.quoted(quoted),
            None => self.bare(rest),
        };
        Some(Item {
            text,
            excluded,
            prefix,
        })
    }
}

impl<'t> Items<'t> {
    /// What stands in quotes, to the end if they are not closed.
    fn quoted(&mut self, quoted: &'t str) -> (&'t str, bool) {
        let (text, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
        let after = rest.trim_start_matches('*');
        self.0 = after;
        (text, after.len() < rest.len() && ends_a_word(text))
    }

    /// What stands up to a space or a quote.
    fn bare(&mut self, rest: &'t str) -> (&'t str, bool) {
        let end = rest.find(|c: char| is_space(c) || c == '"');
        let (item, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.0 = rest;
        let text = item.trim_end_matches('*');
        (text, text.len() < item.len() && ends_a_word(text))
    }
}

/// Whether items end here: at what words may hold, they go on.
fn is_space(c: char) -> bool {
    c.is_whitespace() && is_separator(c)
}

/// Whether a word ends where the text does.
fn ends_a_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(|c| !is_separator(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(search: &str) -> String {
        let query = SearchQuery::parse(search).expect("short enough");
        let show = |sign: &str, phrases: &[Phrase]| {
            let one = |phrase: &Phrase| {
                let star = if phrase.prefix { "*" } else { "" };
                format!("{sign}[{}]{star}", phrase.words.join(" "))
            };
            phrases.iter().map(one).collect::<String>()
        };
        show("", &query.wanted) + &show("-", &query.excluded)
    }

    #[test]
    fn searches_are_read_as_documented() {
        for (search, expected) in [
            ("quick FOX", "[quick][fox]"),
            ("\"Quick fox\" brown", "[quick fox][brown]"),
            ("qui* \"quick fo\"*", "[qui]*[quick fo]*"),
            ("fox -quick -\"a b\" -b*", "[fox]-[quick]-[a b]-[b]*"),
            ("don't user@example.com", "[don t][user example com]"),
            ("fox fox", "[fox]"),
            ("NOT fox OR NEAR(x y)", "[not][fox][or][near x][y]"),
            ("a\"b c\"d", "[a][b c][d]"),
            ("\"open end", "[open end]"),
            ("fox** x*y z*, *", "[fox]*[x y][z]"),
            ("- -- -\"\" \"\" ** \"*", ""),
            ("--fox", "-[fox]"),
            ("“quick” l’été–là Été", "[quick][l été là][Été]"),
        ] {
            assert_eq!(shown(search), expected, "{search}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_found_and_too_many_are_refused() {
        let long = "é".repeat(WORD_CHARS_MAX + 1);
        assert_eq!(shown(&format!("fox {long}")), "");
        assert_eq!(shown(&format!("fox -{long}")), "[fox]");
        assert_eq!(shown(&long[2..]), format!("[{}]", &long[2..]));
        let many = |count: usize| SearchQuery::parse(&"a.b ".repeat(count / 2));
        assert!(many(WORDS_MAX).is_ok());
        let error = many(WORDS_MAX + 2).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn beginnings_are_bytes_and_case_is_folded_for_ascii() {
        let query = SearchQuery::parse("caf*").expect("short");
        assert!(query.finds(&["café"]));
        assert!(query.finds(&["", "a CAFETERIA"]));
        assert!(!query.finds(&["ca", "f"]));
        let query = SearchQuery::parse("été").expect("short");
        assert!(query.finds(&["l’été"]) && !query.finds(&["Été"]));
    }
}
