//! The demo's data: the same on every machine, because the generator's seed and the times are
//! fixed.

use std::time::Duration;

use fastrand::Rng;
use larder::models::{Comment, Post, PostStatus, PostTag, Tag, User};
use larder::{Db, Id, Timestamp, TxOptions};

use crate::cli::failure::{Failure, Outcome};

const USERS: i64 = 1_000;
const POSTS: i64 = 5_000;
const COMMENTS: i64 = 20_000;
/// Where the generator starts.
const SEED: u64 = 0x001a_4de4;

const FIRST: [&str; 12] = [
    "Ada", "Grace", "Edsger", "Barbara", "Alan", "Hedy", "Donald", "Radia", "Niklaus", "Frances",
    "Leslie", "Karen",
];
const LAST: [&str; 10] = [
    "Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing", "Lamarr", "Knuth", "Perlman", "Wirth",
    "Allen",
];
const TAGS: [&str; 12] = [
    "rust",
    "databases",
    "sql",
    "performance",
    "testing",
    "design",
    "async",
    "indexes",
    "migrations",
    "caching",
    "types",
    "operations",
];
const OPENINGS: [&str; 6] = [
    "On",
    "Notes about",
    "A week with",
    "What I got wrong about",
    "The case for",
    "Against",
];
const TOPICS: [&str; 8] = [
    "write-ahead logs",
    "keyset pages",
    "foreign keys",
    "prepared statements",
    "snapshot isolation",
    "group commit",
    "covering indexes",
    "back-pressure",
];
const REMARKS: [&str; 6] = [
    "Thank you, this is what I was looking for.",
    "Have you measured it with more than one writer?",
    "We did the same last year and came to another conclusion.",
    "The second half deserves a post of its own.",
    "I would add that the order of the columns matters.",
    "It works the same on our side.",
];

/// Makes the data in one transaction, and says whether it had to. Refuses a database with other
/// users in it.
pub(super) async fn make(db: &Db) -> Outcome<bool> {
    match db.query::<User>().by_key(Id::new(1)).get().await? {
        Some(user) if user.email == email(1)? => return Ok(false),
        None if !db.query::<User>().exists().await? => {}
        _ => {
            return Err(
                Failure::operation("the database holds other data than the demo's")
                    .advice("name another file, or none: the demo then makes a temporary one"),
            );
        }
    }
    let mut rng = Rng::with_seed(SEED);
    let tx = db.begin(TxOptions::new()).await?;
    let users = (1..=USERS)
        .map(|id| user(&mut rng, id))
        .collect::<larder::Result<Vec<_>>>()?;
    tx.insert_all(users).await?;
    tx.insert_all((1..).zip(TAGS).map(|(id, name)| Tag {
        id: Id::new(id),
        name: name.to_owned(),
    }))
    .await?;
    let posts: Vec<Post> = (1..=POSTS).map(|id| post(&mut rng, id)).collect();
    tx.insert_all(posts).await?;
    let pairs: Vec<PostTag> = (1..=POSTS).flat_map(|id| tags_of(&mut rng, id)).collect();
    tx.insert_all(pairs).await?;
    let comments: Vec<Comment> = (1..=COMMENTS).map(|id| comment(&mut rng, id)).collect();
    tx.insert_all(comments).await?;
    tx.commit().await?;
    Ok(true)
}

fn email(id: i64) -> larder::Result<larder::Email> {
    format!("user{id}@larder.example").parse()
}

/// The start of 2024, and so many minutes.
fn minutes(count: u64) -> Timestamp {
    const START: u64 = 1_704_067_200;
    Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs(START + count * 60))
}

fn pick<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[rng.usize(..words.len())]
}

fn user(rng: &mut Rng, id: i64) -> larder::Result<User> {
    Ok(User {
        id: Id::new(id),
        email: email(id)?,
        name: format!("{} {}", pick(rng, &FIRST), pick(rng, &LAST)),
        username: Some(format!("user{id}")),
        is_active: rng.u8(..10) > 0,
        bio: (rng.u8(..3) == 0).then(|| format!("Interested in {}.", pick(rng, &TOPICS))),
        image: None,
        password_hash: None,
        created_at: minutes(id.unsigned_abs()),
        updated_at: None,
    })
}

fn post(rng: &mut Rng, id: i64) -> Post {
    let title = format!("{} {}", pick(rng, &OPENINGS), pick(rng, &TOPICS));
    let slug = format!("{}-{id}", title.to_lowercase().replace(' ', "-"));
    let status = match rng.u8(..10) {
        0 => PostStatus::Draft,
        1 => PostStatus::Archived,
        _ => PostStatus::Published,
    };
    Post {
        id: Id::new(id),
        author_id: Id::new(rng.i64(1..=USERS)),
        slug,
        content: format!(
            "{title}: {}",
            "a paragraph that says more. ".repeat(rng.usize(4..20))
        ),
        title,
        summary: String::new(),
        status,
        created_at: minutes(USERS.unsigned_abs() + id.unsigned_abs()),
        updated_at: None,
    }
}

/// One to three tags, each once.
fn tags_of(rng: &mut Rng, post: i64) -> Vec<PostTag> {
    let count = rng.usize(1..=3);
    let mut tags = rng.choose_multiple(1..=TAGS.len() as i64, count);
    tags.sort_unstable();
    (0..)
        .zip(tags)
        .map(|(position, tag)| PostTag {
            post_id: Id::new(post),
            tag_id: Id::new(tag),
            position,
        })
        .collect()
}

fn comment(rng: &mut Rng, id: i64) -> Comment {
    Comment {
        id: Id::new(id),
        post_id: Id::new(rng.i64(1..=POSTS)),
        author_id: Id::new(rng.i64(1..=USERS)),
        content: pick(rng, &REMARKS).to_owned(),
        created_at: minutes((USERS + POSTS).unsigned_abs() + id.unsigned_abs()),
    }
}
