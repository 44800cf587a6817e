//! Compares what a killed process has left with its journal.

use std::collections::{HashMap, HashSet};
use std::fmt;

use larder_core::models::{Comment, Post, Tag, User};
use larder_core::{Db, Email, Result};

use crate::TASKS;
use crate::child::MANY;
use crate::journal::{self, Entry, Kind};

/// How many writes there were.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) intended: usize,
    pub(crate) acknowledged: usize,
    /// Not acknowledged, and yet there, which is allowed.
    pub(crate) applied_unacknowledged: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.intended += other.intended;
        self.acknowledged += other.acknowledged;
        self.applied_unacknowledged += other.applied_unacknowledged;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            intended,
            acknowledged,
            applied_unacknowledged,
        } = self;
        write!(
            f,
            "{intended} writes intended, {acknowledged} acknowledged and found, \
             {applied_unacknowledged} applied without an answer"
        )
    }
}

/// What is there of this round, by the name of the write; each row once.
struct Left {
    tags: HashMap<String, usize>,
    /// Users, posts and comments.
    families: HashMap<String, usize>,
    counters: Vec<String>,
}

/// How many rows a transaction writes.
const FAMILY: usize = 6;

/// Judges a round; a broken promise is answered as text.
pub(crate) async fn judge(
    db: &Db,
    round: usize,
    journals: &[Vec<Entry>],
) -> Result<Result<Tally, String>> {
    let left = Left::of(db, round).await?;
    Ok(left.judge(round, journals))
}

impl Left {
    async fn of(db: &Db, round: usize) -> Result<Self> {
        let prefix = format!("r{round:04}-");
        let mut left = Self {
            tags: HashMap::new(),
            families: HashMap::new(),
            counters: Vec::new(),
        };
        for tag in db
            .query::<Tag>()
            .filter(Tag::NAME.starts_with(&prefix))
            .all()
            .await?
        {
            *left.tags.entry(base(&tag.name)).or_default() += 1;
        }
        let users = db
            .query::<User>()
            .filter(User::EMAIL.starts_with(&prefix))
            .all()
            .await?;
        let posts = db
            .query::<Post>()
            .filter(Post::SLUG.starts_with(&prefix))
            .all()
            .await?;
        let comments = db
            .query::<Comment>()
            .filter(Comment::CONTENT.starts_with(&prefix))
            .all()
            .await?;
        let names = (users.into_iter().map(|user| user.email.as_str().to_owned()))
            .chain(posts.into_iter().map(|post| post.slug))
            .chain(comments.into_iter().map(|comment| comment.content));
        for name in names {
            *left.families.entry(base(&name)).or_default() += 1;
        }
        for task in 0..TASKS {
            let email: Email = journal::counter(task).parse()?;
            let user = db
                .query::<User>()
                .filter(User::EMAIL.eq(email))
                .first()
                .await?;
            left.counters
                .push(user.map_or_else(String::new, |user| user.name));
        }
        Ok(left)
    }

    fn judge(mut self, round: usize, journals: &[Vec<Entry>]) -> Result<Tally, String> {
        let mut tally = Tally::default();
        for (task, entries) in journals.iter().enumerate() {
            let deleted: HashSet<(usize, bool)> = (entries.iter())
                .filter(|entry| entry.kind == Kind::Delete)
                .map(|entry| (entry.number, entry.acknowledged))
                .collect();
            for entry in entries {
                tally.intended += 1;
                tally.acknowledged += usize::from(entry.acknowledged);
                let name = journal::name(round, task, entry.number);
                let (rows, whole) = match entry.kind {
                    Kind::One => (self.tags.remove(&name), 1),
                    Kind::Many => (self.tags.remove(&name), MANY),
                    Kind::Transaction => (self.families.remove(&name), FAMILY),
                    Kind::RolledBack => (self.families.remove(&name), 0),
                    Kind::Update | Kind::Delete => continue,
                };
                let rows = rows.unwrap_or(0);
                let may_be_gone = deleted.contains(&(entry.number, false));
                let must_be_gone = deleted.contains(&(entry.number, true)) || whole == 0;
                let right = if must_be_gone {
                    rows == 0
                } else {
                    rows == whole || rows == 0 && (!entry.acknowledged || may_be_gone)
                };
                if !right {
                    return Err(format!("task {task}: {rows} of {whole} rows of {entry:?}"));
                }
                tally.applied_unacknowledged += usize::from(!entry.acknowledged && rows > 0);
            }
            self.judge_counter(round, task, entries)?;
        }
        match self.tags.keys().chain(self.families.keys()).next() {
            Some(name) => Err(format!("nobody intended to write {name}")),
            None => Ok(tally),
        }
    }

    /// The last acknowledged update is there, or one that was intended after it.
    fn judge_counter(&self, round: usize, task: usize, entries: &[Entry]) -> Result<(), String> {
        let updates = || entries.iter().filter(|entry| entry.kind == Kind::Update);
        let name = |entry: &Entry| journal::count(round, entry.number);
        let least = updates()
            .filter(|entry| entry.acknowledged)
            .map(name)
            .next_back();
        let intended: Vec<String> = updates().map(name).collect();
        let found = &self.counters[task];
        let old = *found < journal::count(round, 0);
        let right = match &least {
            Some(least) => found >= least && intended.contains(found),
            None => old || intended.contains(found),
        };
        if right {
            return Ok(());
        }
        Err(format!(
            "task {task}: the counter is {found}, and {least:?} was acknowledged"
        ))
    }
}

/// The name of the write that a row is of: `r0001-2-000003` of `r0001-2-000003-1`.
fn base(name: &str) -> String {
    name.split(['-', '@']).take(3).collect::<Vec<_>>().join("-")
}
