//! [`Ties`]: what ties the viewer of a list to what is in it, in two queries however long it is.

use std::collections::HashSet;

use larder_core::models::{Favorite, Follow, Post, User};
use larder_core::{Db, Id, Result};

/// The posts of a list that its viewer likes, and its authors whom they follow.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    liked: HashSet<Id<Post>>,
    followed: HashSet<Id<User>>,
}

impl Ties {
    /// Reads them, together; nothing for a viewer who is not signed in.
    pub(crate) async fn of(
        db: &Db,
        viewer: Option<Id<User>>,
        posts: impl IntoIterator<Item = Id<Post>>,
        authors: impl IntoIterator<Item = Id<User>>,
    ) -> Result<Self> {
        let Some(viewer) = viewer else {
            return Ok(Self::default());
        };
        let (posts, authors): (HashSet<_>, HashSet<_>) =
            (posts.into_iter().collect(), authors.into_iter().collect());
        let (liked, followed) =
            tokio::try_join!(liked(db, viewer, posts), followed(db, viewer, authors))?;
        Ok(Self { liked, followed })
    }

    /// Whether the viewer likes the post.
    pub(crate) fn likes(&self, post: Id<Post>) -> bool {
        self.liked.contains(&post)
    }

    /// Whether the viewer follows the user.
    pub(crate) fn follows(&self, user: Id<User>) -> bool {
        self.followed.contains(&user)
    }
}

async fn liked(db: &Db, viewer: Id<User>, posts: HashSet<Id<Post>>) -> Result<HashSet<Id<Post>>> {
    if posts.is_empty() {
        return Ok(HashSet::new());
    }
    let of_viewer = Favorite::USER_ID
        .eq(viewer)
        .and(Favorite::POST_ID.in_(posts));
    let liked = db.query::<Favorite>().filter(of_viewer);
    Ok(liked
        .select(Favorite::POST_ID)
        .all()
        .await?
        .into_iter()
        .collect())
}

async fn followed(
    db: &Db,
    viewer: Id<User>,
    authors: HashSet<Id<User>>,
) -> Result<HashSet<Id<User>>> {
    if authors.is_empty() {
        return Ok(HashSet::new());
    }
    let of_viewer = Follow::FOLLOWER_ID
        .eq(viewer)
        .and(Follow::FOLLOWED_ID.in_(authors));
    let followed = db.query::<Follow>().filter(of_viewer);
    Ok(followed
        .select(Follow::FOLLOWED_ID)
        .all()
        .await?
        .into_iter()
        .collect())
}
