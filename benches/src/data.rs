//! The data: fixed sizes, a fixed seed, so that every run measures the same.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use larder_core::models::{Comment, NewComment, NewUser, PostStatus};
use larder_core::{Email, Id, Timestamp};

/// The seed of everything that looks random.
pub const SEED: u64 = 0x1a4d_e400_0000_0001;

/// The users of the database that is read; a scan reads them all.
pub const USERS: i64 = 10_000;
/// The users who have posts: the first ones.
pub const AUTHORS: i64 = 2_000;
/// The posts of each author.
pub const POSTS_EACH: i64 = 5;
/// The comments on each post.
pub const COMMENTS_EACH: i64 = 4;
/// The users whose posts and comments are loaded together.
pub const LOADED: i64 = 100;
/// The rows of a page.
pub const PAGE: u64 = 20;
/// The rows of the bulk insert.
pub const BULK_INSERT: usize = 100_000;
/// The rows of the bulk update.
pub const BULK_UPDATE: usize = 10_000;
/// The tasks that read or write at the same time.
pub const TASKS: usize = 64;
/// The threads they share, and the bare threads they are compared with.
pub const THREADS: usize = 2;

/// Microseconds since the epoch of the first row; later rows are a second apart.
pub const FIRST_CREATED: i64 = 1_700_000_000_000_000;

/// The address of the user with this number.
pub fn email(number: i64) -> String {
    format!("user{number}@example.com")
}

static ADDRESSES: LazyLock<Vec<Email>> = LazyLock::new(|| {
    let checked = |number| email(number).parse().expect("the made-up address is valid");
    (1..=USERS).map(checked).collect()
});

/// The address of a user of the database that is read, as the application has it: checked.
pub fn address(number: i64) -> &'static Email {
    &ADDRESSES[number as usize - 1]
}

/// The name of the user with this number.
pub fn name(number: i64) -> String {
    format!("User Number {number}")
}

/// What every second user says about themselves.
pub fn bio(number: i64) -> Option<String> {
    let text = "Writes about databases, gardens and the sea, mostly in the evening.";
    (number % 2 == 0).then(|| format!("{text} {number}"))
}

/// The user with this number, to be inserted by Larder.
pub fn new_user(number: i64) -> NewUser {
    let user = NewUser::without_password(&email(number), &name(number))
        .expect("the made-up address and name are valid");
    match bio(number) {
        Some(bio) => user.bio(bio),
        None => user,
    }
}

/// The user with this number, to be inserted by the driver.
#[derive(Clone, Debug)]
pub struct RawNewUser {
    /// See [`email`].
    pub email: String,
    /// See [`name`].
    pub name: String,
    /// See [`bio`].
    pub bio: Option<String>,
}

impl RawNewUser {
    /// The same user as [`new_user`] makes.
    pub fn new(number: i64) -> Self {
        Self {
            email: email(number),
            name: name(number),
            bio: bio(number),
        }
    }
}

/// The numbers of the users of the bulk insert.
pub fn bulk_users() -> RangeInclusive<i64> {
    USERS + 1..=USERS + BULK_INSERT as i64
}

/// The comments of the bulk insert, on posts and by users picked at random.
pub fn bulk_comments() -> Vec<Comment> {
    let (mut posts, mut users) = (Picks::new(7, AUTHORS * POSTS_EACH), Picks::new(8, USERS));
    (0..BULK_INSERT as i64)
        .map(|number| Comment {
            id: Id::new(number),
            post_id: Id::new(posts.pick()),
            author_id: Id::new(users.pick()),
            content: format!("Comment number {number}, of middling length, as most of them are."),
            created_at: Timestamp::UNIX_EPOCH,
        })
        .collect()
}

/// The same comments, to be inserted by Larder.
pub fn new_comments(comments: &[Comment]) -> Vec<NewComment> {
    let new = |comment: &Comment| NewComment {
        post_id: comment.post_id,
        author_id: comment.author_id,
        content: comment.content.clone(),
    };
    comments.iter().map(new).collect()
}

/// A post of the database that is read, and the texts that belong to it.
#[derive(Clone, Debug)]
pub struct FilledPost {
    /// The key.
    pub id: i64,
    /// The key of its author.
    pub author: i64,
    /// Unique.
    pub slug: String,
    /// About as long as titles are.
    pub title: String,
    /// Some lines.
    pub content: String,
    /// See [`status`].
    pub status: PostStatus,
    /// Microseconds since the epoch; also of its comments.
    pub created_at: i64,
    /// The comments on it: the key of the author, and the text.
    pub comments: Vec<(i64, String)>,
}

/// All posts of the database that is read, with their comments.
pub fn filled_posts() -> impl Iterator<Item = FilledPost> {
    (1..=AUTHORS * POSTS_EACH).map(|id| {
        let author = 1 + (id - 1) / POSTS_EACH;
        let comment = |number| {
            let text = format!("Comment {number} on post {id}: well said.");
            (1 + (id * 7 + number) % USERS, text)
        };
        FilledPost {
            id,
            author,
            slug: format!("post-{id}"),
            title: format!("Post {id} of user {author}"),
            content: format!("What there is to say in post {id}. ").repeat(8),
            status: status(id),
            created_at: FIRST_CREATED + id * 1_000_000,
            comments: (1..=COMMENTS_EACH).map(comment).collect(),
        }
    })
}

/// Two of three posts are published.
pub fn status(post: i64) -> PostStatus {
    if post % 3 == 0 {
        PostStatus::Draft
    } else {
        PostStatus::Published
    }
}

/// An endless, repeatable sequence of numbers from 1 to `most`.
#[derive(Clone, Debug)]
pub struct Picks {
    state: u64,
    most: i64,
}

impl Picks {
    /// Begins a sequence; different streams differ.
    pub fn new(stream: u64, most: i64) -> Self {
        Self {
            state: SEED ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            most,
        }
    }

    /// The next number.
    pub fn pick(&mut self) -> i64 {
        // Steele, Lea and Flood's SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        1 + (mixed % self.most.unsigned_abs()).cast_signed()
    }
}
