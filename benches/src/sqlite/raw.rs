//! The baseline: rusqlite as its careful user writes it. Prepared statements are cached, rows are
//! decoded into the models' structs, and nothing is checked twice.

use std::path::Path;
use std::rc::Rc;

use larder_core::models::{Comment, PasswordHash, Post, PostStatus, User};
use larder_core::{ColumnType, Email, Id, Timestamp, ValueRef};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::Durability;
use crate::data::{PAGE, RawNewUser};
use crate::plan::{Article, Author, Remark};

const USERS: &str = "SELECT id, email, name, is_active, bio, password_hash, created_at, \
     updated_at, username, image FROM users";
const USER_BY_KEY: &str = "SELECT id, email, name, is_active, bio, password_hash, created_at, \
     updated_at, username, image FROM users WHERE id = ?1";
const USER_BY_EMAIL: &str = "SELECT id, email, name, is_active, bio, password_hash, created_at, \
     updated_at, username, image FROM users WHERE email = ?1";
const INSERT: &str = "INSERT INTO users (email, name, bio, password_hash, is_active, created_at, \
     updated_at, username, image) VALUES (?1, ?2, ?3, NULL, TRUE, ?4, NULL, NULL, NULL)";

/// One connection of the driver.
#[derive(Debug)]
pub struct Raw {
    connection: Connection,
}

impl Raw {
    /// Opens the file with the pragmas of Larder's production profile.
    pub fn open(path: &Path, durability: Durability) -> Result<Self> {
        let connection = Connection::open(path)?;
        let synchronous = match durability {
            Durability::Normal => "NORMAL",
            Durability::Full => "FULL",
        };
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -20000;
             PRAGMA mmap_size = {}; PRAGMA journal_size_limit = {};
             PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
            128 << 20,
            64 << 20,
        ))?;
        rusqlite::vtab::array::load_module(&connection)?;
        connection.set_prepared_statement_cache_capacity(256);
        Ok(Self { connection })
    }

    /// The connection, for set-up.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A point read by key.
    pub fn user_by_key(&self, id: i64) -> Result<Option<User>> {
        self.connection
            .prepare_cached(USER_BY_KEY)?
            .query_row([id], user)
            .optional()
    }

    /// A point read by a unique column.
    pub fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        self.connection
            .prepare_cached(USER_BY_EMAIL)?
            .query_row([email], user)
            .optional()
    }

    /// The page of published posts after a place, newest first, and whether more follow.
    pub fn page_after(&self, created_at: i64, id: i64) -> Result<(Vec<Post>, bool)> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, author_id, slug, title, content, status, created_at, updated_at, \
             summary FROM posts \
             WHERE status = 'published' AND (created_at, id) < (?1, ?2) \
             ORDER BY created_at DESC, id DESC LIMIT ?3",
        )?;
        let wanted = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
        let mut posts = Vec::with_capacity(PAGE as usize + 1);
        let mut rows = statement.query(params![created_at, id, wanted])?;
        while let Some(row) = rows.next()? {
            posts.push(post(row)?);
        }
        let more = posts.len() > PAGE as usize;
        posts.truncate(PAGE as usize);
        Ok((posts, more))
    }

    /// Every user.
    pub fn all_users(&self) -> Result<Vec<User>> {
        let mut statement = self.connection.prepare_cached(USERS)?;
        let mut rows = statement.query([])?;
        let mut users = Vec::new();
        while let Some(row) = rows.next()? {
            users.push(user(row)?);
        }
        Ok(users)
    }

    /// The first users with their posts and the posts' comments, in three queries.
    pub fn authors(&self, count: i64) -> Result<Vec<Author>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, name FROM users WHERE id <= ?1 ORDER BY id")?;
        let mut authors = Vec::new();
        let mut rows = statement.query([count])?;
        while let Some(row) = rows.next()? {
            let id = Id::new(row.get(0)?);
            authors.push(Author {
                id,
                name: row.get(1)?,
                posts: Vec::new(),
            });
        }
        let mut posts = self.articles(authors.iter().map(|author| author.id.get()))?;
        self.add_comments(&mut posts)?;
        // Both are in the order of the authors' keys.
        let mut posts = posts.into_iter().peekable();
        for author in &mut authors {
            while let Some((_, article)) = posts.next_if(|(id, _)| *id == author.id.get()) {
                author.posts.push(article);
            }
        }
        Ok(authors)
    }

    fn articles(&self, authors: impl Iterator<Item = i64>) -> Result<Vec<(i64, Article)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT author_id, id, title FROM posts WHERE author_id IN rarray(?1) \
             ORDER BY author_id, id",
        )?;
        let mut rows = statement.query([list(authors)])?;
        let mut articles = Vec::new();
        while let Some(row) = rows.next()? {
            let id = Id::new(row.get(1)?);
            articles.push((
                row.get(0)?,
                Article {
                    id,
                    title: row.get(2)?,
                    comments: Vec::new(),
                },
            ));
        }
        Ok(articles)
    }

    fn add_comments(&self, articles: &mut [(i64, Article)]) -> Result<()> {
        let mut places = rustc_hash::FxHashMap::default();
        for (at, (_, article)) in articles.iter().enumerate() {
            places.insert(article.id.get(), at);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT post_id, id, content FROM comments WHERE post_id IN rarray(?1) \
             ORDER BY post_id, id",
        )?;
        let ids = articles.iter().map(|(_, article)| article.id.get());
        let mut rows = statement.query([list(ids)])?;
        while let Some(row) = rows.next()? {
            let remark = Remark {
                id: Id::new(row.get(1)?),
                content: row.get(2)?,
            };
            if let Some(&at) = places.get(&row.get::<_, i64>(0)?) {
                articles[at].1.comments.push(remark);
            }
        }
        Ok(())
    }

    /// Inserts one user; outside of a transaction that is a commit of its own.
    pub fn insert_user(&self, user: &RawNewUser) -> Result<i64> {
        self.connection.prepare_cached(INSERT)?.execute(params![
            user.email,
            user.name,
            user.bio,
            Timestamp::now().as_micros()
        ])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Inserts users row by row in one transaction.
    pub fn insert_users(&mut self, users: &[RawNewUser]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        let now = Timestamp::now().as_micros();
        {
            let mut statement = transaction.prepare_cached(INSERT)?;
            for user in users {
                statement.execute(params![user.email, user.name, user.bio, now])?;
            }
        }
        transaction.commit()
    }

    /// Inserts comments row by row in one transaction.
    pub fn insert_comments(&mut self, comments: &[Comment]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        let now = Timestamp::now().as_micros();
        {
            let mut statement = transaction.prepare_cached(
                "INSERT INTO comments (post_id, author_id, content, created_at) \
                 VALUES (?1, ?2, ?3, ?4)",
            )?;
            for comment in comments {
                let (post, author) = (comment.post_id.get(), comment.author_id.get());
                statement.execute(params![post, author, comment.content, now])?;
            }
        }
        transaction.commit()
    }

    /// Writes users back row by row in one transaction.
    pub fn update_users(&mut self, users: &[User]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        let now = Timestamp::now().as_micros();
        {
            let mut statement = transaction.prepare_cached(
                "UPDATE users SET email = ?2, name = ?3, is_active = ?4, bio = ?5, \
                 password_hash = ?6, updated_at = ?7, username = ?8, image = ?9 WHERE id = ?1",
            )?;
            for user in users {
                statement.execute(params![
                    user.id.get(),
                    user.email.as_str(),
                    user.name,
                    user.is_active,
                    user.bio,
                    None::<String>,
                    now,
                    user.username,
                    user.image
                ])?;
            }
        }
        transaction.commit()
    }
}

fn list(ids: impl Iterator<Item = i64>) -> Rc<Vec<Value>> {
    Rc::new(ids.map(Value::Integer).collect())
}

/// The column as a type that the driver does not know. The stored text is trusted: it is not
/// checked again to be an address or a hash.
fn text<T: ColumnType>(row: &Row<'_>, at: usize) -> Result<T> {
    let text = row.get_ref(at)?.as_str()?;
    T::from_value(ValueRef::Text(text)).map_err(|error| unreadable(at, error))
}

fn unreadable(at: usize, error: larder_core::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(error))
}

fn timestamp(micros: i64) -> Result<Timestamp> {
    Timestamp::from_micros(micros).map_err(|error| unreadable(6, error))
}

fn user(row: &Row<'_>) -> Result<User> {
    let hash = match row.get_ref(5)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(text::<PasswordHash>(row, 5)?),
    };
    Ok(User {
        id: Id::new(row.get(0)?),
        email: text::<Email>(row, 1)?,
        name: row.get(2)?,
        is_active: row.get(3)?,
        bio: row.get(4)?,
        password_hash: hash,
        created_at: timestamp(row.get(6)?)?,
        updated_at: row.get::<_, Option<i64>>(7)?.map(timestamp).transpose()?,
        username: row.get(8)?,
        image: row.get(9)?,
    })
}

fn post(row: &Row<'_>) -> Result<Post> {
    Ok(Post {
        id: Id::new(row.get(0)?),
        author_id: Id::new(row.get(1)?),
        slug: row.get(2)?,
        title: row.get(3)?,
        content: row.get(4)?,
        status: text::<PostStatus>(row, 5)?,
        created_at: timestamp(row.get(6)?)?,
        updated_at: row.get::<_, Option<i64>>(7)?.map(timestamp).transpose()?,
        summary: row.get(8)?,
    })
}
