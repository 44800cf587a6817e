//! The journal: a file of each task beside the database, one line before and one after a write.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::TASKS;

/// What a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One tag.
    One,
    /// Twenty tags by one call.
    Many,
    /// A user, two posts and three comments in a transaction.
    Transaction,
    /// The same, rolled back.
    RolledBack,
    /// The task's user gets a new name.
    Update,
    /// The tag of an earlier write of this round goes; its number is the write's.
    Delete,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::One, "one"),
    (Kind::Many, "many"),
    (Kind::Transaction, "transaction"),
    (Kind::RolledBack, "rolled-back"),
    (Kind::Update, "update"),
    (Kind::Delete, "delete"),
];

/// A write in the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) number: usize,
    pub(crate) acknowledged: bool,
}

/// Writes lines at once, so that the kernel has them when the process dies.
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn create(directory: &Path, round: usize, task: usize) -> std::io::Result<Self> {
        let path = path(directory, round, task);
        Ok(Self(
            OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(path)?,
        ))
    }

    pub(crate) fn intend(&mut self, kind: Kind, number: usize) -> std::io::Result<()> {
        self.line("i", kind, number)
    }

    pub(crate) fn acknowledge(&mut self, kind: Kind, number: usize) -> std::io::Result<()> {
        self.line("a", kind, number)
    }

    fn line(&mut self, what: &str, kind: Kind, number: usize) -> std::io::Result<()> {
        let name = KINDS
            .iter()
            .find(|(one, _)| *one == kind)
            .map_or("", |(_, name)| name);
        self.0
            .write_all(format!("{what} {name} {number}\n").as_bytes())
    }
}

fn path(directory: &Path, round: usize, task: usize) -> PathBuf {
    directory.join(format!("journal-{round}-{task}"))
}

/// The entries of each task in this round. A torn last line does not count.
pub(crate) fn read(directory: &Path, round: usize) -> Vec<Vec<Entry>> {
    (0..TASKS)
        .map(|task| {
            let text = std::fs::read_to_string(path(directory, round, task)).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let mut entries: Vec<Entry> = Vec::new();
            for (what, kind, number) in whole.lines().filter_map(parse) {
                match entries.last_mut() {
                    Some(last) if what == "a" => last.acknowledged = true,
                    _ => entries.push(Entry {
                        kind,
                        number,
                        acknowledged: false,
                    }),
                }
            }
            entries
        })
        .collect()
}

fn parse(line: &str) -> Option<(&str, Kind, usize)> {
    let mut words = line.split(' ');
    let (what, name, number) = (words.next()?, words.next()?, words.next()?);
    let (kind, _) = KINDS.iter().find(|(_, one)| *one == name)?;
    Some((what, *kind, number.parse().ok()?))
}

/// What the rows of a write are called.
pub(crate) fn name(round: usize, task: usize, number: usize) -> String {
    format!("r{round:04}-{task}-{number:06}")
}

/// The address of a task's user.
pub(crate) fn counter(task: usize) -> String {
    format!("counter{task}@example.com")
}

/// The name that an update gives to the task's user; later ones are greater.
pub(crate) fn count(round: usize, number: usize) -> String {
    format!("{round:04}-{number:06}")
}
