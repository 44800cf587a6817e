//! Sample data for a service to be looked at.

use larder::models::{
    NewComment, NewFavorite, NewFollow, NewTag, NewUser, Post, PostStatus, PostTag, User,
};
use larder::{Db, Id, Insert, TxOptions};

use crate::cli::failure::Outcome;
use crate::cli::output::Output;

/// What everybody in it signs in with.
const PASSWORD: &str = "correct horse";

/// Name, and what they say about themselves.
const USERS: [(&str, &str); 3] = [
    ("ada", "Notes on engines."),
    ("grace", "Compilers, and the nanosecond."),
    ("edsger", "Considered harmful."),
];

/// Author, title, description, text, tags.
const ARTICLES: [(usize, &str, &str, &str, &[&str]); 4] = [
    (
        0,
        "Note G",
        "How an engine would work out the numbers of Bernoulli.",
        "The engine has no pretensions whatever to originate anything.",
        &["engines", "mathematics"],
    ),
    (
        1,
        "The first bug",
        "What was found in panel F, relay 70.",
        "It was taped into the log book.",
        &["debugging", "history"],
    ),
    (
        1,
        "A nanosecond is a foot long",
        "Why wires should be short.",
        "Light does not wait for anybody, and goes no further than this in a nanosecond.",
        &["performance"],
    ),
    (
        2,
        "Go to",
        "A case against a statement.",
        "The quality of programmers falls with the density of it in what they write.",
        &["style", "debugging"],
    ),
];

#[derive(Insert)]
#[insert(Post)]
struct NewArticle {
    author_id: Id<User>,
    slug: String,
    title: String,
    summary: String,
    content: String,
    status: PostStatus,
}

/// Fills a database in which there is nobody yet.
pub(super) async fn fill(db: &Db, output: &mut Output) -> Outcome {
    if db.query::<User>().exists().await? {
        output.note("the database is not empty; no sample data was added")?;
        return Ok(());
    }
    let users = tokio::task::spawn_blocking(new_users).await;
    let users = users.map_err(|_| larder::Error::misuse("hashing did not come to an end"))??;
    let tx = db.begin(TxOptions::new()).await?;
    let users = tx.insert_all_returning(users).await?;
    let posts = add_articles(&tx, &users).await?;
    add_ties(&tx, &users, &posts).await?;
    tx.commit().await?;
    let names = USERS.map(|(name, _)| format!("{name}@larder.example"));
    output.note(format!(
        "sample data is there; sign in as {} with \"{PASSWORD}\"",
        names.join(", ")
    ))?;
    Ok(())
}

fn new_users() -> larder::Result<Vec<NewUser>> {
    let new = |(name, bio): (&str, &str)| {
        let user = NewUser::new(&format!("{name}@larder.example"), name, PASSWORD)?;
        Ok(user.username(name)?.bio(bio))
    };
    USERS.into_iter().map(new).collect()
}

async fn add_articles(db: &Db, users: &[User]) -> larder::Result<Vec<Post>> {
    let new = ARTICLES.map(|(author, title, summary, content, _)| NewArticle {
        author_id: users[author].id,
        slug: title.to_lowercase().replace(' ', "-"),
        title: title.to_owned(),
        summary: summary.to_owned(),
        content: content.to_owned(),
        status: PostStatus::Published,
    });
    let posts = db.insert_all_returning(new).await?;
    let mut tags: Vec<&str> = ARTICLES
        .iter()
        .flat_map(|article| article.4)
        .copied()
        .collect();
    tags.sort_unstable();
    tags.dedup();
    let tags = db
        .insert_all_returning(tags.into_iter().map(NewTag::new))
        .await?;
    for (post, (_, _, _, _, names)) in posts.iter().zip(ARTICLES) {
        let pairs = (0..).zip(names).filter_map(|(position, name)| {
            let tag = tags.iter().find(|tag| tag.name == *name)?;
            Some(PostTag {
                post_id: post.id,
                tag_id: tag.id,
                position,
            })
        });
        db.insert_all(pairs).await?;
    }
    Ok(posts)
}

/// Everybody follows the next one, likes what they wrote, and says so.
async fn add_ties(db: &Db, users: &[User], posts: &[Post]) -> larder::Result<()> {
    let next = |id: Id<User>| {
        let at = users.iter().position(|user| user.id == id).unwrap_or(0);
        users[(at + 1) % users.len()].id
    };
    db.insert_all(users.iter().map(|user| NewFollow {
        follower_id: next(user.id),
        followed_id: user.id,
    }))
    .await?;
    db.insert_all(posts.iter().map(|post| NewFavorite {
        user_id: next(post.author_id),
        post_id: post.id,
    }))
    .await?;
    db.insert_all(posts.iter().map(|post| NewComment {
        post_id: post.id,
        author_id: next(post.author_id),
        content: format!("\"{}\" says it well.", post.title),
    }))
    .await?;
    Ok(())
}
