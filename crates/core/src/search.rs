//! Full-text search: `Post::SEARCH.matches("quick fox")`.
//!
//! A model declares what is searched, `#[entity(.., search(title, content))]`, and gets the
//! constant `SEARCH`. What words are and what a search means is said here once, and every engine
//! that declares [`Capabilities::full_text`](crate::Capabilities) answers the same.
//!
//! # Words
//!
//! A word is what stands between separators. Separators are all ASCII characters but letters and
//! digits, and the typographic quotes, dashes and spaces of [`SEPARATORS`]. So `don't` is `don`
//! and `t`, and `naïve` is one word. `A` to `Z` count as `a` to `z`, as everywhere in Larder; `É`
//! and `é` differ. There is no stemming: `fox` does not find `foxes`, `fox*` does. Writing without
//! spaces is not taken apart.
//!
//! # Searches
//!
//! | written | found is a row that has |
//! |---|---|
//! | `quick fox` | both words, in whichever of the columns |
//! | `"quick fox"` | the words one behind the other, in one column |
//! | `fox*` | a word that begins so |
//! | `"quick fo"*` | `quick`, and behind it a word that begins so |
//! | `-fox`, `-"quick fox"` | otherwise all that is asked for, and not this |
//! | `don't`, `user@example.com` | its words one behind the other, as if quoted |
//!
//! Everything else is text: there are no other operators, nothing has to be escaped, and a quote
//! that is not closed ends with the search. A search without a word to look for (blank, or only
//! exclusions) finds nothing.

mod query;

use std::marker::PhantomData;

pub use query::{Phrase, SearchQuery, WORD_CHARS_MAX, WORDS_MAX};

use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::filter::{Filter, Predicate};
use crate::query::break_ties;
use crate::schema::Index;
use crate::select::{Expr, Nulls, Order, Select};

/// The separators beyond ASCII: typographic spaces, quotes, dashes and marks. Part of the schema:
/// databases that exist have an index made with them.
pub const SEPARATORS: [char; 29] = [
    '\u{a0}', '¡', '«', '·', '»', '¿', '\u{2002}', '\u{2003}', '\u{2009}', '\u{200b}', '‐', '‑',
    '‒', '–', '—', '―', '‘', '’', '‚', '“', '”', '„', '•', '…', '\u{202f}', '\u{3000}', '、', '。',
    '\u{feff}',
];

/// Whether the character stands between words.
pub fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        !c.is_ascii_alphanumeric()
    } else {
        SEPARATORS.contains(&c)
    }
}

/// The words of a text, as they are written.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_separator).filter(|word| !word.is_empty())
}

/// The full-text index of a model: `Post::SEARCH`.
///
/// ```
/// # use larder_core::{Db, Entity, Id, Memory};
/// #[derive(Entity)]
/// #[entity(table = "notes", search(title, text))]
/// struct Note {
///     #[key]
///     id: Id<Note>,
///     title: String,
///     text: Option<String>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// # let db = Db::new(Memory::new());
/// let note = |id, title: &str, text: &str| Note {
///     id: Id::new(id),
///     title: title.into(),
///     text: Some(text.into()),
/// };
/// db.insert(note(1, "Foxes", "The quick brown fox.")).await?;
/// db.insert(note(2, "Quick!", "A slow fox; a fox asleep.")).await?;
///
/// let found = |search| db.query::<Note>().filter(Note::SEARCH.matches(search)).count();
/// assert_eq!(found("quick fox").await?, 2);
/// assert_eq!(found("\"quick brown\"").await?, 1);
/// assert_eq!(found("fox -asleep").await?, 1);
/// assert_eq!(found("qui*").await?, 2);
///
/// let best = db.query::<Note>().filter(Note::SEARCH.matches("fox"));
/// assert_eq!(best.order(Note::SEARCH.best_first()).first().await?.unwrap().id, Id::new(2));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Search<E>(PhantomData<fn() -> E>);

impl<E> Clone for Search<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Search<E> {}

impl<E: Entity> Search<E> {
    /// The index that `E` declares. Written by `#[derive(Entity)]`.
    #[doc(hidden)]
    #[allow(
        clippy::new_without_default,
        reason = "there is one for a model that declares it"
    )]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Rows that the search finds, as this module's documentation says. Never neither true nor
    /// false: NULL has no words.
    ///
    /// Any text is a search; one of more than [`WORDS_MAX`] words is an `Invalid` error when the
    /// query runs.
    pub fn matches(self, search: &str) -> Predicate<E> {
        let filter = SearchQuery::parse(search).and_then(|query| {
            let index = index::<E>()?;
            Ok(Filter::Matches { index, query })
        });
        Predicate::from_result(filter.map_err(|error| error.with_table(E::TABLE.name)))
    }

    /// The rows that fit the search best first; ties by key.
    ///
    /// The query must filter by one [`matches`](Self::matches), joined to the rest by `and`, which
    /// is the search meant. Promised is: of two rows with as many words, the one with more of what
    /// was searched comes first; of two with the same of it, the one with fewer words. How several
    /// words weigh against each other is the engine's own (SQLite's BM25, PostgreSQL's `ts_rank` of
    /// the first 200,000 characters), so that the order may differ between engines. Every row found is read and weighed, whatever
    /// the limit.
    ///
    /// # Errors
    /// `Misuse` without such a filter, and with pages, relations, groups or `distinct`: a rank is
    /// no place in a list that stays, for each row's depends on all others.
    pub fn best_first(self) -> Order<E> {
        Order::new(Expr::Rank, true, Nulls::Last)
    }
}

fn index<E: Entity>() -> Result<&'static Index> {
    (E::TABLE.search.as_ref()).ok_or_else(|| Error::misuse("the model declares no `search(..)`"))
}

impl Select {
    /// Whether the rows are ordered by how well they fit a search.
    pub fn ranks(&self) -> bool {
        self.order.iter().any(|by| by.expr == Expr::Rank)
    }

    /// The search that rows are ranked by, if they are: the first condition of the filter.
    pub fn ranked(&self) -> Option<(&'static Index, &SearchQuery)> {
        match self.filter.conjuncts().first() {
            Some(Filter::Matches { index, query }) if self.ranks() => Some((index, query)),
            _ => None,
        }
    }
}

/// Puts the search that rows are ranked by first, and breaks ties.
///
/// # Errors
/// `Misuse` if there is none, or several.
pub(crate) fn lead(select: &mut Select) -> Result<()> {
    if !select.ranks() {
        return Ok(());
    }
    if let Filter::And(all) = &mut select.filter {
        all.sort_by_key(|one| !matches!(one, Filter::Matches { .. })); // keeps the others' order
    }
    let is_search = |one: &&Filter| matches!(one, Filter::Matches { .. });
    if select.filter.conjuncts().iter().filter(is_search).count() != 1 {
        return Err(Error::misuse(
            "`best_first` ranks by one search: filter by one `matches`, joined by `and`",
        )
        .with_table(select.table.name));
    }
    let last = select.order.len();
    break_ties(select);
    for by in &mut select.order[last..] {
        (by.descending, by.nulls) = (false, Nulls::Last);
    }
    Ok(())
}
