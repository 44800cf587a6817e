//! A bookshop, as a user of Larder might write it: the dependency goes by another name in
//! `Cargo.toml`, everything public is documented, and every derive is used.
//!
//! That it compiles is the point: the derives find the renamed crate by themselves, and what they
//! write needs no documentation that a user could not have written.
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]

use pantry::{Email, Entity, Id, Insert, Load, Newtype, Patch, TextEnum};

/// Who writes books.
#[derive(Entity, Clone, Debug)]
#[entity(table = "authors", unique(email, name))]
pub struct Author {
    #[key(auto)]
    id: Id<Author>,
    name: Name,
    email: Option<Email>,
}

/// A book.
#[derive(Entity, Clone, Debug)]
#[entity(table = "books", index(state))]
pub struct Book {
    #[key(auto)]
    id: Id<Book>,
    title: String,
    #[references(Author)]
    author_id: Id<Author>,
    #[column(default = State::Announced)]
    state: State,
}

/// The name of a person.
#[derive(Newtype, Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// Where a book is in its life.
#[derive(TextEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not printed yet.
    Announced,
    /// To be had.
    Printed,
}

/// A new author.
#[derive(Insert, Debug)]
#[insert(Author)]
pub struct NewAuthor {
    name: Name,
}

/// A new book.
#[derive(Insert, Debug)]
#[insert(Book)]
pub struct NewBook {
    title: String,
    author_id: Id<Author>,
}

/// What changes about a book.
#[derive(Patch, Debug, Default)]
#[patch(Book)]
pub struct BookPatch {
    state: Option<State>,
}

/// A book as the shop window shows it.
#[derive(Load, Debug)]
#[load(Book)]
pub struct Shown {
    title: String,
    state: State,
    #[load(via = Book::AUTHOR_ID)]
    author: Author,
}

impl Shown {
    /// One line about the book, if it can be had.
    pub fn line(&self) -> Option<String> {
        let Name(author) = &self.author.name;
        (self.state == State::Printed).then(|| format!("{author}: {}", self.title))
    }
}

#[cfg(test)]
mod tests {
    use pantry::{Db, Memory, Result};

    use super::*;

    #[tokio::test]
    async fn a_renamed_larder_works() -> Result<()> {
        let db = Db::new(Memory::new());
        let name = Name::from("Ursula".to_owned());
        let author = db.insert(NewAuthor { name }).await?;
        let title = "The Dispossessed".to_owned();
        let author_id = author.id;
        let book = db.insert(NewBook { title, author_id }).await?;
        assert_eq!(book.state, State::Announced);
        let state = Some(State::Printed);
        db.update::<Book>(book.id, BookPatch { state }).await?;
        let printed = db.query::<Book>().filter(Book::STATE.eq(State::Printed));
        let shown: Vec<Shown> = printed.load().await?;
        let lines: Vec<_> = shown.iter().filter_map(Shown::line).collect();
        assert_eq!(lines, ["Ursula: The Dispossessed"]);
        Ok(())
    }
}
