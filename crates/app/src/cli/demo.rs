//! `larder demo`: Larder on a database of its own, step by step.

mod data;
mod timing;

use std::path::PathBuf;

use clap::Args;
use larder::models::{Comment, NewUser, Post, PostStatus, User};
use larder::{Db, ErrorKind, Id, Load, TxOptions};

use super::Store;
use super::failure::{Failure, Outcome};
use super::output::{Output, thousands};

/// See what Larder does, on a database made for it
///
/// Makes 1,000 users, 5,000 posts and 20,000 comments, the same every time, and shows what one
/// would do with them. The database is temporary unless you name one; a second run on the same
/// database finds the data there and adds nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder demo
  larder demo --keep demo.db && larder show posts --database-url sqlite://demo.db")]
pub(super) struct Demo {
    /// Work on this database, which must be empty or the demo's own
    #[arg(long, value_name = "URL", conflicts_with = "keep")]
    database_url: Option<String>,
    /// Keep the database in this SQLite file
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
}

/// A user's page: a plan says what to load, and every relation costs one query.
#[derive(Load, Debug)]
#[load(User)]
struct UserPage {
    name: String,
    #[load(via = Post::AUTHOR_ID, filter = Post::STATUS.eq(PostStatus::Published), order = Post::CREATED_AT.desc(), limit = 3)]
    posts: Vec<PostWithComments>,
    #[load(count, via = Post::AUTHOR_ID)]
    post_count: u64,
}

#[derive(Load, Debug)]
#[load(Post)]
struct PostWithComments {
    title: String,
    #[load(via = Comment::POST_ID, order = Comment::CREATED_AT.asc())]
    comments: Vec<Comment>,
}

impl Demo {
    pub(super) async fn run(&self, output: &mut Output) -> Outcome {
        // Dropped last, so that the store is closed before its directory goes.
        let temporary = tempfile::tempdir().map_err(|cause| {
            Failure::operation("no temporary directory can be made").because(cause)
        })?;
        let url = match (&self.database_url, &self.keep) {
            (Some(url), _) => url.clone(),
            (None, Some(file)) => url_of(file)?,
            (None, None) => url_of(&temporary.path().join("demo.db"))?,
        };
        let store = super::open(&url).await?;
        let shown = self.show(&store, output).await;
        store.db().close().await?;
        shown
    }

    async fn show(&self, store: &Store, output: &mut Output) -> Outcome {
        let db = store.db();
        step(
            output,
            1,
            "A schema, by migrations, and data, in one transaction",
        )?;
        prepare(store, output).await?;
        step(
            output,
            2,
            "A duplicate email is refused, and the error says by what",
        )?;
        show_duplicate(db, output).await?;
        step(output, 3, "Pages found by position, not by counting")?;
        show_pages(db, output).await?;
        step(
            output,
            4,
            "A struct is a loading plan: one query per relation, never one per row",
        )?;
        show_plan(db, output).await?;
        step(
            output,
            5,
            "A transaction that is not committed leaves nothing",
        )?;
        show_rollback(db, output).await?;
        step(output, 6, "How long things take here")?;
        timing::show(db, output).await?;
        match &self.keep {
            Some(file) => output.note(format!(
                "\nThe database is kept in {0}; look around with:\n  larder show posts --database-url sqlite://{0}",
                file.display()
            ))?,
            None => output.note("\nNow on your own data: larder import --help")?,
        }
        Ok(())
    }
}

fn url_of(file: &std::path::Path) -> Outcome<String> {
    match file.to_str() {
        Some(path) => Ok(format!("sqlite://{path}")),
        None => Err(Failure::usage("the path of the file is not UTF-8 text")),
    }
}

fn step(output: &mut Output, number: u8, title: &str) -> Outcome {
    let gap = if number > 1 { "\n" } else { "" };
    Ok(output.note(format!("{gap}{number}. {title}"))?)
}

async fn prepare(store: &Store, output: &mut Output) -> Outcome {
    let db = store.db();
    let applied = store.migrate_up(None).await?;
    let engine = db.capabilities().engine;
    match applied.len() {
        0 => output.line(format!("   {engine}: the tables are there already"))?,
        steps => output.line(format!("   {engine}: {steps} migrations applied"))?,
    }
    let made = data::make(db).await?;
    if !made {
        output.line("   the data is there already; nothing was added")?;
    }
    let users = db.query::<User>().count().await?;
    let posts = db.query::<Post>().count().await?;
    let comments = db.query::<Comment>().count().await?;
    output.line(format!(
        "   {} users, {} posts, {} comments",
        thousands(users),
        thousands(posts),
        thousands(comments)
    ))?;
    Ok(())
}

async fn show_duplicate(db: &Db, output: &mut Output) -> Outcome {
    let taken = db.find::<User>(Id::new(1)).await?.email;
    output.note(format!(
        "   db.insert(NewUser::without_password(\"{taken}\", \"Imposter\")?)"
    ))?;
    match db
        .insert(NewUser::without_password(taken.as_str(), "Imposter")?)
        .await
    {
        Err(error) if error.violates(User::EMAIL) => {
            output.line(format!("   -> {:?}: {error}", error.kind()))?;
            output.line(format!(
                "   -> error.violates(User::EMAIL) is true; the constraint is `{}`",
                error.constraint().unwrap_or("unknown")
            ))?;
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::operation("the database took the same email twice")),
    }
}

async fn show_pages(db: &Db, output: &mut Output) -> Outcome {
    output.note("   db.query::<Post>().filter(Post::STATUS.eq(PostStatus::Published))\n     .order(Post::CREATED_AT.desc()).page(3), then page.next(&db)")?;
    let first = db
        .query::<Post>()
        .filter(Post::STATUS.eq(PostStatus::Published))
        .order(Post::CREATED_AT.desc())
        .with_total()
        .page(3)
        .await?;
    let next = first.next(db).await?;
    for (name, page) in [("first", &first), ("next", &next)] {
        for post in &page.items {
            output.line(format!(
                "   {name:<5}  {:>4}  {}  {}",
                post.id, post.created_at, post.title
            ))?;
        }
    }
    output.line(format!(
        "   {} posts in all",
        thousands(first.total.unwrap_or(0))
    ))?;
    Ok(())
}

async fn show_plan(db: &Db, output: &mut Output) -> Outcome {
    output.note(
        "   100 users, the 3 newest published posts of each with all comments, and post counts",
    )?;
    let loading = db
        .query::<User>()
        .order(User::ID.asc())
        .limit(100)
        .load::<UserPage>();
    let (users, report) = db.observe(loading).await;
    let users = users?;
    let posts: usize = users.iter().map(|user| user.posts.len()).sum();
    let comments: usize = users
        .iter()
        .flat_map(|user| &user.posts)
        .map(|post| post.comments.len())
        .sum();
    output.line(format!(
        "   {} users, {posts} posts, {} comments in {} queries and {} round trips:",
        users.len(),
        thousands(comments as u64),
        report.count(),
        report.round_trips()
    ))?;
    for statement in report.statements() {
        output.line(format!("     {}", statement.shape))?;
    }
    if let Some((user, post)) = users
        .iter()
        .find_map(|user| Some((user, user.posts.first()?)))
    {
        output.line(format!(
            "   for example {}: {} posts; comments on the newest, \"{}\": {}",
            user.name,
            user.post_count,
            post.title,
            post.comments.len()
        ))?;
    }
    Ok(())
}

async fn show_rollback(db: &Db, output: &mut Output) -> Outcome {
    let before = db.query::<Comment>().count().await?;
    let tx = db.begin(TxOptions::new()).await?;
    let deleted = tx
        .query::<Comment>()
        .filter(Comment::AUTHOR_ID.le(Id::new(500)))
        .delete()
        .await?;
    let inside = tx.query::<Comment>().count().await?;
    tx.rollback().await?;
    let after = db.query::<Comment>().count().await?;
    output.line(format!(
        "   {} comments before; {} deleted, {} left inside; {} after the rollback",
        thousands(before),
        thousands(deleted),
        thousands(inside),
        thousands(after)
    ))?;
    if before == after {
        return Ok(());
    }
    Err(larder::Error::new(
        ErrorKind::Engine,
        "the rollback did not bring everything back",
    )
    .into())
}
