//! Larder, as its README and its guide recommend: `db.get`, `db.query`, `load`, `insert`,
//! `insert_all`, with the production profile of its options.

use std::process::ExitCode;

use larder_core::{Db, Id, Load};
use larder_sqlite::{Sqlite, SqliteOptions};
use peer_larder::models::{Comment, NewUser as LarderUser, Post, PostStatus, User};
use peers_common::{Engine, NewUser, Peer, Result, Seen, Target};

/// A post with its author.
#[derive(Load)]
#[load(Post)]
struct PostWithAuthor {
    #[load(flatten)]
    post: Post,
    #[load(via = Post::AUTHOR_ID)]
    author: User,
}

/// A user with posts.
#[derive(Load)]
#[load(User)]
struct UserWithPosts {
    #[load(flatten)]
    user: User,
    #[load(via = Post::AUTHOR_ID)]
    posts: Vec<PostWithComments>,
}

/// A post with comments.
#[derive(Load)]
#[load(Post)]
struct PostWithComments {
    #[load(flatten)]
    post: Post,
    #[load(via = Comment::POST_ID)]
    comments: Vec<Comment>,
}

#[derive(Clone)]
struct Larder {
    db: Db,
    engine: String,
}

impl Peer for Larder {
    type New = LarderUser;

    const NAME: &'static str = concat!("Larder ", env!("CARGO_PKG_VERSION"));

    async fn open(target: &Target) -> Result<Self> {
        let (db, engine) = match target.engine {
            Engine::Sqlite => {
                let options = SqliteOptions::new(target.path());
                let options = if target.durable {
                    options.durable()
                } else {
                    options
                };
                let engine = format!("SQLite {}", rusqlite::version());
                (Db::new(Sqlite::open_with(options).await?), engine)
            }
            Engine::Postgres => postgres(target).await?,
        };
        Ok(Self { db, engine })
    }

    async fn engine_version(&self) -> Result<String> {
        Ok(self.engine.clone())
    }

    async fn users(&self, count: i64) -> Result<Seen> {
        let query = self.db.query::<User>().order(User::ID.asc());
        let users = query.limit(count.unsigned_abs()).all().await?;
        let mut seen = Seen::default();
        for user in &users {
            seen.row(user.id.get(), user.name.len());
        }
        Ok(seen)
    }

    async fn newest(&self, count: i64) -> Result<Seen> {
        let active = Post::AUTHOR_ID.whose(User::IS_ACTIVE.eq(true));
        let posts = self
            .db
            .query::<Post>()
            .filter(Post::STATUS.eq(PostStatus::Published).and(active))
            .order(Post::CREATED_AT.desc())
            .order(Post::ID.desc())
            .limit(count.unsigned_abs())
            .load::<PostWithAuthor>()
            .await?;
        let mut seen = Seen::default();
        for both in &posts {
            seen.row(both.post.id.get(), both.post.title.len());
            seen.row(both.author.id.get(), both.author.name.len());
        }
        Ok(seen)
    }

    async fn authors(&self, count: i64) -> Result<Seen> {
        let query = self.db.query::<User>().order(User::ID.asc());
        let users = query
            .limit(count.unsigned_abs())
            .load::<UserWithPosts>()
            .await?;
        let mut seen = Seen::default();
        for UserWithPosts { user, posts } in &users {
            seen.row(user.id.get(), user.name.len());
            for PostWithComments { post, comments } in posts {
                seen.row(post.id.get(), post.title.len());
                for comment in comments {
                    seen.row(comment.id.get(), comment.content.len());
                }
            }
        }
        Ok(seen)
    }

    async fn comments(&self) -> Result<Seen> {
        let comments = self.db.query::<Comment>().all().await?;
        let mut seen = Seen::default();
        for comment in &comments {
            seen.row(comment.id.get(), comment.content.len());
        }
        Ok(seen)
    }

    async fn user(&self, id: i64) -> Result<Seen> {
        let user = self.db.get::<User>(Id::new(id)).await?;
        let mut seen = Seen::default();
        if let Some(user) = &user {
            seen.row(user.id.get(), user.name.len());
        }
        Ok(seen)
    }

    fn prepare(user: NewUser) -> LarderUser {
        LarderUser {
            email: user.email.parse().expect("the made-up address is valid"),
            name: user.name,
            bio: user.bio,
        }
    }

    async fn insert(&self, user: LarderUser) -> Result<Seen> {
        std::hint::black_box(self.db.insert(user).await?);
        Ok(Seen::written(1))
    }

    async fn insert_all(&self, users: Vec<LarderUser>) -> Result<Seen> {
        let written = self.db.insert_all(users).await?;
        Ok(Seen::written(usize::try_from(written)?))
    }
}

#[cfg(feature = "postgres")]
async fn postgres(target: &Target) -> Result<(Db, String)> {
    use larder_postgres::{Postgres, PostgresOptions};

    let (client, connection) = tokio_postgres::connect(&target.url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
    drop(client);
    connection.await??;
    let options = PostgresOptions::new(&target.url)?.max_size(target.pool as usize);
    let store = Postgres::connect_with(options).await?;
    Ok((Db::new(store), format!("PostgreSQL {version}")))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &Target) -> Result<(Db, String)> {
    Err("built without the feature `postgres`".into())
}

fn main() -> ExitCode {
    peers_common::main::<Larder>()
}
