//! The data: fixed sizes, a fixed seed, so that every run measures the same.

/// The users of the filled database.
pub const USERS: i64 = 10_000;
/// The users who have posts: the first ones.
pub const AUTHORS: i64 = 2_000;
/// The posts of each author.
pub const POSTS_EACH: i64 = 5;
/// The comments on each post.
pub const COMMENTS_EACH: i64 = 4;
/// All posts.
pub const POSTS: i64 = AUTHORS * POSTS_EACH;
/// All comments.
pub const COMMENTS: i64 = POSTS * COMMENTS_EACH;
/// The users whose posts and comments are loaded together.
pub const LOADED: i64 = 100;
/// The posts that the query with a join returns.
pub const NEWEST: i64 = 50;
/// The rows of the bulk insert.
pub const BULK: u64 = 10_000;
/// The tasks that read or write at the same time.
pub const TASKS: u64 = 64;
/// The threads that they share.
pub const THREADS: usize = 2;

/// Seconds since the epoch of the row before the first; rows are a second apart.
pub const CREATED: i64 = 1_700_000_000;

/// A user to be inserted.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique.
    pub email: String,
    /// Some 18 characters.
    pub name: String,
    /// Every second user has one.
    pub bio: Option<String>,
    /// Microseconds since the epoch; for the libraries that do not take the time themselves.
    pub created_at: i64,
}

impl NewUser {
    /// The user with this number.
    pub fn new(number: i64) -> Self {
        let text = "Writes about databases, gardens and the sea, mostly in the evening.";
        Self {
            email: format!("user{number}@example.com"),
            name: format!("User Number {number}"),
            bio: (number % 2 == 0).then(|| format!("{text} {number}")),
            created_at: (CREATED + number) * 1_000_000,
        }
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
            state: 0x1a4d_e400_0000_0001 ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15),
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
