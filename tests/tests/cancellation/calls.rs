//! [`Call`]: what is dropped, and the rows that it is about.

use larder_core::models::{NewPost, NewUser, PostStatus, User};
use larder_core::rows::BoxFuture;
use larder_core::{Db, Result};

/// How many users there are to read and to change, each with a post.
pub(crate) const USERS: usize = 40;

/// How much is done, and how much that can be.
pub(crate) type Done = Result<(u64, u64)>;

/// A call to be dropped. The number that each part gets is another one each time.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    /// Makes what the call is about.
    pub(crate) prepare: Part<()>,
    pub(crate) run: Part<()>,
    /// How much of the call's work is done: it must be nothing or all.
    pub(crate) done: Part<(u64, u64)>,
}

type Part<T> = Box<dyn Fn(Db, usize) -> BoxFuture<'static, Result<T>> + Send + Sync>;

impl Call {
    pub(crate) fn new<R, D>(
        name: &'static str,
        run: impl Fn(Db, usize) -> R + Send + Sync + 'static,
        done: impl Fn(Db, usize) -> D + Send + Sync + 'static,
    ) -> Self
    where
        R: Future<Output = Result<()>> + Send + 'static,
        D: Future<Output = Done> + Send + 'static,
    {
        Self {
            name,
            prepare: Box::new(|_, _| Box::pin(async { Ok(()) })),
            run: Box::new(move |db, number| Box::pin(run(db, number))),
            done: Box::new(move |db, number| Box::pin(done(db, number))),
        }
    }

    pub(crate) fn after<P>(
        mut self,
        prepare: impl Fn(Db, usize) -> P + Send + Sync + 'static,
    ) -> Self
    where
        P: Future<Output = Result<()>> + Send + 'static,
    {
        self.prepare = Box::new(move |db, number| Box::pin(prepare(db, number)));
        self
    }
}

pub(crate) fn new_user(number: usize, name: &str) -> Result<NewUser> {
    NewUser::without_password(&format!("user{number}@example.com"), name)
}

pub(crate) fn new_post(author: &User, slug: &str) -> NewPost {
    NewPost {
        author_id: author.id,
        slug: slug.to_owned(),
        title: "a title".to_owned(),
        content: "some content".to_owned(),
        status: PostStatus::Draft,
    }
}
