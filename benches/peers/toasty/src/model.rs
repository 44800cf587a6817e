//! The models and the queries, written once per engine, because the two keep times differently.
//! Keys are `u64`, as in the guide; with `i64` on SQLite, 0.11.0 panics when it follows a relation.

#![allow(dead_code, reason = "rows are read in full")]

macro_rules! models {
    ($engine:ident, $time:ty, $chunk:literal, $to_time:expr) => {
        pub mod $engine {
            use peers_common::{NewUser, Result, Seen};
            use toasty::schema::app::ModelSet;
            use toasty::{Db, Deferred};

            /// Rows of one statement: with seven values each, below the database's limit.
            const CHUNK: usize = $chunk;

            #[derive(Debug, toasty::Model)]
            #[table = "users"]
            pub struct User {
                #[key]
                #[auto]
                id: u64,
                #[unique]
                email: String,
                name: String,
                #[default(true)]
                is_active: bool,
                bio: Option<String>,
                password_hash: Option<String>,
                created_at: $time,
                updated_at: Option<$time>,
                #[has_many]
                posts: Deferred<Vec<Post>>,
            }

            #[derive(Debug, toasty::Model)]
            #[table = "posts"]
            pub struct Post {
                #[key]
                #[auto]
                id: u64,
                #[index]
                author_id: u64,
                #[belongs_to(key = author_id, references = id)]
                user: Deferred<User>,
                #[unique]
                slug: String,
                title: String,
                content: String,
                status: String,
                created_at: $time,
                updated_at: Option<$time>,
                #[has_many]
                comments: Deferred<Vec<Comment>>,
            }

            #[derive(Debug, toasty::Model)]
            #[table = "comments"]
            pub struct Comment {
                #[key]
                #[auto]
                id: u64,
                #[index]
                post_id: u64,
                #[belongs_to(key = post_id, references = id)]
                post: Deferred<Post>,
                author_id: u64,
                content: String,
                created_at: $time,
            }

            pub fn models() -> ModelSet {
                toasty::models!(User, Post, Comment)
            }

            pub async fn users(db: &mut Db, count: usize) -> Result<Seen> {
                let users = User::all()
                    .order_by(User::fields().id().asc())
                    .limit(count)
                    .exec(db)
                    .await?;
                let mut seen = Seen::default();
                for user in &users {
                    seen.row(user.id.cast_signed(), user.name.len());
                }
                Ok(seen)
            }

            pub async fn one_user(db: &mut Db, id: u64) -> Result<Seen> {
                let user = User::get_by_id(db, &id).await?;
                let mut seen = Seen::default();
                seen.row(user.id.cast_signed(), user.name.len());
                Ok(seen)
            }

            pub async fn newest(db: &mut Db, count: usize) -> Result<Seen> {
                let published = Post::fields().status().eq("published");
                let active = Post::fields().user().is_active().eq(true);
                let posts = Post::filter(published.and(active))
                    .include(Post::fields().user())
                    .order_by((
                        Post::fields().created_at().desc(),
                        Post::fields().id().desc(),
                    ))
                    .limit(count)
                    .exec(db)
                    .await?;
                let mut seen = Seen::default();
                for post in &posts {
                    seen.row(post.id.cast_signed(), post.title.len());
                    let author = post.user.get();
                    seen.row(author.id.cast_signed(), author.name.len());
                }
                Ok(seen)
            }

            pub async fn authors(db: &mut Db, count: u64) -> Result<Seen> {
                // As with SeaORM: the keys of the first users are 1, 2, ..
                let users = User::filter(User::fields().id().le(count))
                    .include(User::fields().posts().comments())
                    .order_by(User::fields().id().asc())
                    .exec(db)
                    .await?;
                let mut seen = Seen::default();
                for user in &users {
                    seen.row(user.id.cast_signed(), user.name.len());
                    for post in user.posts.get() {
                        seen.row(post.id.cast_signed(), post.title.len());
                        for comment in post.comments.get() {
                            seen.row(comment.id.cast_signed(), comment.content.len());
                        }
                    }
                }
                Ok(seen)
            }

            pub async fn comments(db: &mut Db) -> Result<Seen> {
                let comments = Comment::all().exec(db).await?;
                let mut seen = Seen::default();
                for comment in &comments {
                    seen.row(comment.id.cast_signed(), comment.content.len());
                }
                Ok(seen)
            }

            pub async fn insert(db: &mut Db, user: NewUser) -> Result<Seen> {
                let time: fn(i64) -> $time = $to_time;
                let stored = User::create()
                    .email(user.email)
                    .name(user.name)
                    .bio(user.bio)
                    .created_at(time(user.created_at))
                    .exec(db)
                    .await?;
                std::hint::black_box(stored);
                Ok(Seen::written(1))
            }

            pub async fn insert_all(db: &mut Db, users: Vec<NewUser>) -> Result<Seen> {
                if users.len() <= CHUNK {
                    return insert_chunk(db, users).await;
                }
                let mut users = users.into_iter();
                let mut seen = Seen::default();
                let mut transaction = db.transaction().await?;
                while users.len() > 0 {
                    let chunk = users.by_ref().take(CHUNK).collect();
                    seen.add(insert_chunk(&mut transaction, chunk).await?);
                }
                transaction.commit().await?;
                Ok(seen)
            }

            async fn insert_chunk(
                db: &mut dyn toasty::Executor,
                users: Vec<NewUser>,
            ) -> Result<Seen> {
                let time: fn(i64) -> $time = $to_time;
                let mut create = User::create_many();
                for user in users {
                    create = create.item(
                        User::create()
                            .email(user.email)
                            .name(user.name)
                            .bio(user.bio)
                            .created_at(time(user.created_at)),
                    );
                }
                Ok(Seen::written(create.exec(db).await?.len()))
            }
        }
    };
}

models!(sqlite, i64, 4_000, |micros| micros);
models!(postgres, jiff::Timestamp, 9_000, |micros| {
    jiff::Timestamp::from_microsecond(micros).expect("a made-up time in range")
});
