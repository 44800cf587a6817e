//! The process that is killed: writes until then.

use std::process::ExitCode;

use larder_core::models::{NewComment, NewPost, NewTag, NewUser, Post, PostStatus, Tag, User};
use larder_core::{Db, DbOptions, Email, Result, TxOptions};

use crate::journal::{self, Journal, Kind};
use crate::place::Place;
use crate::{TASKS, full};

pub(crate) const ROUND: &str = "LARDER_CRASH_ROUND";
/// What the child says before it begins to write.
pub(crate) const READY: &str = "ready";
/// How many tags a bulk insert has.
pub(crate) const MANY: usize = 20;

/// Whether this process is a child: then it writes until it is killed.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let place = Place::told()?;
    Some(match run(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn run(place: Place) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if std::env::var_os(full::FILL).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        return Ok(runtime.block_on(full::fill(&place))?);
    }
    let round: usize = std::env::var(ROUND)?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let db = Db::from_shared(place.open().await?, DbOptions::default());
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            let journal = Journal::create(&place.directory, round, task)?;
            let writer = Writer {
                db: db.clone(),
                journal,
                round,
                task,
            };
            tasks.push(tokio::spawn(writer.write_on()));
        }
        println!("{READY}");
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

struct Writer {
    db: Db,
    journal: Journal,
    round: usize,
    task: usize,
}

impl Writer {
    /// Writes one thing after the other, without end.
    async fn write_on(mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut random = fastrand::Rng::with_seed((self.round * TASKS + self.task) as u64);
        let mut tags = Vec::new();
        for number in 0.. {
            let (kind, number) = match (random.u8(..12), tags.pop()) {
                (0, Some(tag)) => (Kind::Delete, tag),
                (choice, tag) => {
                    tags.extend(tag);
                    (kind(choice), number)
                }
            };
            self.journal.intend(kind, number)?;
            self.write(kind, number).await?;
            self.journal.acknowledge(kind, number)?;
            if kind == Kind::One {
                tags.push(number);
            }
        }
        Ok(())
    }

    async fn write(&self, kind: Kind, number: usize) -> Result<()> {
        let name = journal::name(self.round, self.task, number);
        let db = &self.db;
        match kind {
            Kind::One => db.insert(NewTag::new(name)).await.map(drop),
            Kind::Many => {
                let rows = (0..MANY).map(|at| NewTag::new(format!("{name}-{at}")));
                db.insert_all(rows).await.map(drop)
            }
            Kind::Transaction => db.transaction(|tx| family(tx, name.clone())).await,
            Kind::RolledBack => {
                let tx = db.begin(TxOptions::default()).await?;
                family(tx.clone(), name).await?;
                tx.rollback().await
            }
            Kind::Update => {
                let email: Email = journal::counter(self.task).parse()?;
                let users = db.query::<User>().filter(User::EMAIL.eq(email));
                users
                    .update(User::NAME.set(journal::count(self.round, number)))
                    .await
                    .map(drop)
            }
            Kind::Delete => db
                .query::<Tag>()
                .filter(Tag::NAME.eq(name))
                .delete()
                .await
                .map(drop),
        }
    }
}

fn kind(choice: u8) -> Kind {
    match choice {
        0..6 => Kind::One,
        6 => Kind::Many,
        7 | 8 => Kind::Transaction,
        9 => Kind::RolledBack,
        _ => Kind::Update,
    }
}

/// A user, two posts and three comments.
async fn family(tx: larder_core::Tx, name: String) -> Result<()> {
    let user = tx
        .insert(NewUser::without_password(
            &format!("{name}@example.com"),
            "family",
        )?)
        .await?;
    let mut posts: Vec<Post> = Vec::new();
    for at in 0..2 {
        let post = NewPost {
            author_id: user.id,
            slug: format!("{name}-{at}"),
            title: "title".to_owned(),
            content: "content".to_owned(),
            status: PostStatus::Draft,
        };
        posts.push(tx.insert(post).await?);
    }
    let comments = (0..3).map(|at| NewComment {
        post_id: posts[at % 2].id,
        author_id: user.id,
        content: format!("{name}-{at}"),
    });
    tx.insert_all(comments).await.map(drop)
}
