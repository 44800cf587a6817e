//! The baseline: tokio-postgres as its careful user writes it. Statements are prepared once, rows
//! are decoded into the models' structs, and nothing is checked twice.

use std::error::Error;
use std::pin::pin;

use futures_util::TryStreamExt;
use larder_core::models::{Comment, PasswordHash, Post, PostStatus, User};
use larder_core::{ColumnType, Email, Id, Timestamp, ValueRef, models};
use larder_sql::{Dialect, create_tables};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};

use super::at::At;
use crate::data::{FIRST_CREATED, PAGE, RawNewUser, USERS, filled_posts};
use crate::plan::{Article, Author, Remark};

/// What the driver answers.
pub type Result<T> = std::result::Result<T, tokio_postgres::Error>;

const ALL_USERS: &str = "SELECT id, email, name, is_active, bio, password_hash, created_at, \
     updated_at, username, image FROM users";
const USER_BY_KEY: &str = "SELECT id, email, name, is_active, bio, password_hash, created_at, \
     updated_at, username, image FROM users WHERE id = $1";
const USER_BY_EMAIL: &str = "SELECT id, email, name, is_active, bio, password_hash, created_at, \
     updated_at, username, image FROM users WHERE email = $1";
const POSTS_AFTER: &str = "SELECT id, author_id, slug, title, content, status, created_at, \
     updated_at, summary FROM posts WHERE status = 'published' AND (created_at, id) < ($1, $2) \
     ORDER BY created_at DESC, id DESC LIMIT $3";
const AUTHORS: &str = "SELECT id, name FROM users WHERE id <= $1 ORDER BY id";
const ARTICLES: &str = "SELECT author_id, id, title FROM posts WHERE author_id = ANY($1) \
     ORDER BY author_id, id";
const REMARKS: &str = "SELECT post_id, id, content FROM comments WHERE post_id = ANY($1) \
     ORDER BY post_id, id";
const UPDATE: &str = "UPDATE users SET email = given.email, name = given.name, \
     is_active = given.is_active, bio = given.bio, password_hash = given.password_hash, \
     username = given.username, image = given.image, updated_at = $9 \
     FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::text[], \
     $7::text[], $8::text[]) \
     AS given (id, email, name, is_active, bio, password_hash, username, image) WHERE users.id = given.id";

/// Inserts a user and returns the stored row.
pub const INSERT: &str = "INSERT INTO users (email, name, bio, password_hash, is_active, \
     created_at, updated_at, username, image) \
     VALUES ($1, $2, $3, NULL, TRUE, $4, NULL, NULL, NULL) \
     RETURNING id, email, name, is_active, bio, password_hash, created_at, updated_at, username, \
     image";

/// One connection of the driver, with its statements.
#[derive(Debug)]
pub struct Raw {
    client: Client,
    all_users: Statement,
    user_by_key: Statement,
    user_by_email: Statement,
    posts_after: Statement,
    authors: Statement,
    articles: Statement,
    remarks: Statement,
    insert: Statement,
    update: Statement,
}

impl Raw {
    /// Connects and prepares the statements.
    pub async fn connect(url: &str) -> Result<Self> {
        let client = connect(url).await?;
        Ok(Self {
            all_users: client.prepare(ALL_USERS).await?,
            user_by_key: client.prepare(USER_BY_KEY).await?,
            user_by_email: client.prepare(USER_BY_EMAIL).await?,
            posts_after: client.prepare(POSTS_AFTER).await?,
            authors: client.prepare(AUTHORS).await?,
            articles: client.prepare(ARTICLES).await?,
            remarks: client.prepare(REMARKS).await?,
            insert: client.prepare(INSERT).await?,
            update: client.prepare(UPDATE).await?,
            client,
        })
    }

    /// A point read by key.
    pub async fn user_by_key(&self, id: i64) -> Result<Option<User>> {
        let row = self.client.query_opt(&self.user_by_key, &[&id]).await?;
        row.as_ref().map(user).transpose()
    }

    /// A point read by a unique column.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        let row = self
            .client
            .query_opt(&self.user_by_email, &[&email])
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// The page of published posts after a place, newest first, and whether more follow.
    pub async fn page_after(&self, created_at: i64, id: i64) -> Result<(Vec<Post>, bool)> {
        let wanted = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
        let created_at = At::of_micros(created_at);
        let rows = self
            .client
            .query(&self.posts_after, &[&created_at, &id, &wanted])
            .await?;
        let mut posts = rows.iter().map(post).collect::<Result<Vec<_>>>()?;
        let more = posts.len() > PAGE as usize;
        posts.truncate(PAGE as usize);
        Ok((posts, more))
    }

    /// Every user.
    pub async fn all_users(&self) -> Result<Vec<User>> {
        let none: [i64; 0] = [];
        let mut rows = pin!(self.client.query_raw(&self.all_users, none).await?);
        let mut users = Vec::new();
        while let Some(row) = rows.try_next().await? {
            users.push(user(&row)?);
        }
        Ok(users)
    }

    /// The first users with their posts and the posts' comments, in three queries.
    pub async fn authors(&self, count: i64) -> Result<Vec<Author>> {
        let mut authors = Vec::new();
        for row in self.client.query(&self.authors, &[&count]).await? {
            authors.push(Author {
                id: Id::new(row.try_get(0)?),
                name: row.try_get(1)?,
                posts: Vec::new(),
            });
        }
        let ids: Vec<i64> = authors.iter().map(|author| author.id.get()).collect();
        let mut posts = self.articles(&ids).await?;
        self.add_comments(&mut posts).await?;
        // Both are in the order of the authors' keys.
        let mut posts = posts.into_iter().peekable();
        for author in &mut authors {
            while let Some((_, article)) = posts.next_if(|(id, _)| *id == author.id.get()) {
                author.posts.push(article);
            }
        }
        Ok(authors)
    }

    async fn articles(&self, authors: &[i64]) -> Result<Vec<(i64, Article)>> {
        let mut articles = Vec::new();
        for row in self.client.query(&self.articles, &[&authors]).await? {
            let article = Article {
                id: Id::new(row.try_get(1)?),
                title: row.try_get(2)?,
                comments: Vec::new(),
            };
            articles.push((row.try_get(0)?, article));
        }
        Ok(articles)
    }

    async fn add_comments(&self, articles: &mut [(i64, Article)]) -> Result<()> {
        let mut places = rustc_hash::FxHashMap::default();
        for (at, (_, article)) in articles.iter().enumerate() {
            places.insert(article.id.get(), at);
        }
        let ids: Vec<i64> = articles.iter().map(|(_, post)| post.id.get()).collect();
        for row in self.client.query(&self.remarks, &[&ids]).await? {
            let remark = Remark {
                id: Id::new(row.try_get(1)?),
                content: row.try_get(2)?,
            };
            if let Some(&at) = places.get(&row.try_get::<_, i64>(0)?) {
                articles[at].1.comments.push(remark);
            }
        }
        Ok(())
    }

    /// Inserts one user, which is a commit of its own, and returns the row.
    pub async fn insert_user(&self, user: &RawNewUser) -> Result<User> {
        insert_user(&self.client, &self.insert, user).await
    }

    /// Removes the users that were inserted into the filled database.
    pub async fn remove_inserted(&self) -> Result<()> {
        let delete = "DELETE FROM users WHERE id > $1";
        self.client.execute(delete, &[&USERS]).await.map(drop)
    }

    /// Inserts users by COPY.
    pub async fn insert_users(&self, users: &[RawNewUser]) -> Result<u64> {
        copy(
            &self.client,
            "users (email, name, username, bio, password_hash, is_active, created_at, updated_at)",
            [
                Type::TEXT,
                Type::TEXT,
                Type::TEXT,
                Type::TEXT,
                Type::TEXT,
                Type::BOOL,
                Type::TIMESTAMPTZ,
                Type::TIMESTAMPTZ,
            ],
            users,
            |user, now| {
                let (none, updated) = (&None::<&str>, &None::<At>);
                [
                    &user.email,
                    &user.name,
                    none,
                    &user.bio,
                    none,
                    &true,
                    now,
                    updated,
                ]
            },
        )
        .await
    }

    /// Inserts comments by COPY.
    pub async fn insert_comments(&self, comments: &[(i64, i64, String)]) -> Result<u64> {
        copy(
            &self.client,
            "comments (post_id, author_id, content, created_at)",
            [Type::INT8, Type::INT8, Type::TEXT, Type::TIMESTAMPTZ],
            comments,
            |(post, author, content), now| [post, author, content, now],
        )
        .await
    }

    /// Writes users back in one statement, a list for each column.
    pub async fn update_users(&self, users: &[User]) -> Result<u64> {
        let ids: Vec<i64> = users.iter().map(|user| user.id.get()).collect();
        let emails: Vec<&str> = users.iter().map(|user| user.email.as_str()).collect();
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        let active: Vec<bool> = users.iter().map(|user| user.is_active).collect();
        let bios: Vec<Option<&str>> = users.iter().map(|user| user.bio.as_deref()).collect();
        let hashes: Vec<Option<&str>> = vec![None; users.len()];
        let usernames: Vec<_> = users.iter().map(|user| user.username.as_deref()).collect();
        let images: Vec<_> = users.iter().map(|user| user.image.as_deref()).collect();
        let now = At::now();
        let given: [&(dyn ToSql + Sync); 9] = [
            &ids, &emails, &names, &active, &bios, &hashes, &usernames, &images, &now,
        ];
        self.client.execute(&self.update, &given).await
    }
}

/// The comments as [`Raw::insert_comments`] takes them.
pub fn raw_comments(comments: Vec<Comment>) -> Vec<(i64, i64, String)> {
    let raw = |comment: Comment| {
        let (post, author) = (comment.post_id.get(), comment.author_id.get());
        (post, author, comment.content)
    };
    comments.into_iter().map(raw).collect()
}

/// Inserts a user with the prepared [`INSERT`].
pub async fn insert_user(client: &Client, statement: &Statement, new: &RawNewUser) -> Result<User> {
    let given: [&(dyn ToSql + Sync); 4] = [&new.email, &new.name, &new.bio, &At::now()];
    let row = client.query_one(statement, &given).await?;
    user(&row)
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Its end shows at the client.
    tokio::spawn(connection);
    Ok(client)
}

/// Copies rows into a table; `values` shows those of a row that is created now.
async fn copy<R, const N: usize>(
    client: &Client,
    into: &str,
    types: [Type; N],
    rows: &[R],
    values: for<'r> fn(&'r R, &'r At) -> [&'r (dyn ToSql + Sync); N],
) -> Result<u64> {
    let copy = format!("COPY {into} FROM STDIN (FORMAT binary)");
    let sink = client.copy_in(&copy).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    let now = At::now();
    for row in rows {
        writer.as_mut().write(&values(row, &now)).await?;
    }
    writer.finish().await
}

/// Creates the tables of the database and fills them.
pub async fn fill(url: &str) -> Result<()> {
    let client = connect(url).await?;
    let tables = create_tables(Dialect::Postgres, &models::tables());
    client.batch_execute(&tables.join(";\n")).await?;
    fill_users(&client).await?;
    fill_posts(&client).await?;
    client.batch_execute("VACUUM ANALYZE").await
}

/// The first row's second.
const FIRST_SECOND: i64 = FIRST_CREATED / 1_000_000;

async fn fill_users(client: &Client) -> Result<()> {
    let users: Vec<RawNewUser> = (1..=USERS).map(RawNewUser::new).collect();
    let emails: Vec<&str> = users.iter().map(|user| user.email.as_str()).collect();
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    let bios: Vec<Option<&str>> = users.iter().map(|user| user.bio.as_deref()).collect();
    let insert = format!(
        "INSERT INTO users (email, name, bio, is_active, created_at) \
         SELECT email, name, bio, TRUE, to_timestamp({FIRST_SECOND} + number) \
         FROM UNNEST($1::text[], $2::text[], $3::text[]) \
         WITH ORDINALITY AS given (email, name, bio, number) ORDER BY number"
    );
    client.execute(&insert, &[&emails, &names, &bios]).await?;
    Ok(())
}

async fn fill_posts(client: &Client) -> Result<()> {
    let (mut ids, mut authors) = (Vec::new(), Vec::new());
    let (mut slugs, mut titles) = (Vec::new(), Vec::new());
    let (mut contents, mut statuses) = (Vec::new(), Vec::new());
    let (mut posts, mut writers, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for post in filled_posts() {
        ids.push(post.id);
        authors.push(post.author);
        slugs.push(post.slug);
        titles.push(post.title);
        contents.push(post.content);
        statuses.push(post.status.as_str());
        for (author, text) in post.comments {
            posts.push(post.id);
            writers.push(author);
            texts.push(text);
        }
    }
    let insert = format!(
        "INSERT INTO posts (id, author_id, slug, title, content, status, created_at) \
         SELECT *, to_timestamp({FIRST_SECOND} + id) FROM UNNEST($1::bigint[], $2::bigint[], \
         $3::text[], $4::text[], $5::text[], $6::text[]) AS given (id)"
    );
    let given: [&(dyn ToSql + Sync); 6] = [&ids, &authors, &slugs, &titles, &contents, &statuses];
    client.execute(&insert, &given).await?;
    let insert = format!(
        "INSERT INTO comments (post_id, author_id, content, created_at) \
         SELECT *, to_timestamp({FIRST_SECOND} + post) \
         FROM UNNEST($1::bigint[], $2::bigint[], $3::text[]) AS given (post)"
    );
    client.execute(&insert, &[&posts, &writers, &texts]).await?;
    Ok(())
}

/// A type that the driver does not know, kept as text. The stored text is trusted: it is not
/// checked again to be an address or a hash.
struct Text<T>(T);

impl<'a, T: ColumnType> FromSql<'a> for Text<T> {
    fn from_sql(
        ty: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        let text = <&str>::from_sql(ty, raw)?;
        Ok(Self(T::from_value(ValueRef::Text(text))?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT
    }
}

fn user(row: &Row) -> Result<User> {
    let hash: Option<Text<PasswordHash>> = row.try_get(5)?;
    Ok(User {
        id: Id::new(row.try_get(0)?),
        email: row.try_get::<_, Text<Email>>(1)?.0,
        name: row.try_get(2)?,
        is_active: row.try_get(3)?,
        bio: row.try_get(4)?,
        password_hash: hash.map(|hash| hash.0),
        created_at: timestamp(row, 6)?,
        updated_at: row.try_get::<_, Option<At>>(7)?.map(|at| at.0),
        username: row.try_get(8)?,
        image: row.try_get(9)?,
    })
}

fn post(row: &Row) -> Result<Post> {
    Ok(Post {
        id: Id::new(row.try_get(0)?),
        author_id: Id::new(row.try_get(1)?),
        slug: row.try_get(2)?,
        title: row.try_get(3)?,
        content: row.try_get(4)?,
        status: row.try_get::<_, Text<PostStatus>>(5)?.0,
        created_at: timestamp(row, 6)?,
        updated_at: row.try_get::<_, Option<At>>(7)?.map(|at| at.0),
        summary: row.try_get(8)?,
    })
}

fn timestamp(row: &Row, at: usize) -> Result<Timestamp> {
    Ok(row.try_get::<_, At>(at)?.0)
}
