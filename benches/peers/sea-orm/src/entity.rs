//! The entities and the queries, written once per engine, because the two keep times differently.

#![allow(dead_code, reason = "the derives write more than is used here")]

use sea_orm::entity::prelude::*;

/// Who may see a post; stored as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum PostStatus {
    #[sea_orm(string_value = "draft")]
    Draft,
    #[sea_orm(string_value = "published")]
    Published,
    #[sea_orm(string_value = "archived")]
    Archived,
}

macro_rules! entities {
    // `$time` is an identifier, for the derive looks at the name of the type.
    ($engine:ident, $time:ident, $chunk:literal, $to_time:expr) => {
        pub mod $engine {
            use peers_common::{NewUser, Result, Seen};
            use sea_orm::entity::prelude::*;
            use sea_orm::{DatabaseConnection, QueryOrder, QuerySelect, Set, TransactionTrait};

            use super::PostStatus;

            /// Rows of one statement: with four values each, below the database's limit.
            const CHUNK: usize = $chunk;

            pub mod user {
                use sea_orm::entity::prelude::*;

                #[sea_orm::model]
                #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
                #[sea_orm(table_name = "users")]
                pub struct Model {
                    #[sea_orm(primary_key)]
                    pub id: i64,
                    #[sea_orm(unique)]
                    pub email: String,
                    pub name: String,
                    pub is_active: bool,
                    pub bio: Option<String>,
                    pub password_hash: Option<String>,
                    pub created_at: $time,
                    pub updated_at: Option<$time>,
                    #[sea_orm(has_many)]
                    pub posts: HasMany<super::post::Entity>,
                }

                impl ActiveModelBehavior for ActiveModel {}
            }

            pub mod post {
                use sea_orm::entity::prelude::*;

                use super::super::PostStatus;

                #[sea_orm::model]
                #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
                #[sea_orm(table_name = "posts")]
                pub struct Model {
                    #[sea_orm(primary_key)]
                    pub id: i64,
                    pub author_id: i64,
                    #[sea_orm(unique)]
                    pub slug: String,
                    pub title: String,
                    pub content: String,
                    pub status: PostStatus,
                    pub created_at: $time,
                    pub updated_at: Option<$time>,
                    #[sea_orm(belongs_to, from = "author_id", to = "id")]
                    pub author: BelongsTo<super::user::Entity>,
                    #[sea_orm(has_many)]
                    pub comments: HasMany<super::comment::Entity>,
                }

                impl ActiveModelBehavior for ActiveModel {}
            }

            pub mod comment {
                use sea_orm::entity::prelude::*;

                #[sea_orm::model]
                #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
                #[sea_orm(table_name = "comments")]
                pub struct Model {
                    #[sea_orm(primary_key)]
                    pub id: i64,
                    pub post_id: i64,
                    pub author_id: i64,
                    pub content: String,
                    pub created_at: $time,
                    #[sea_orm(belongs_to, from = "post_id", to = "id")]
                    pub post: BelongsTo<super::post::Entity>,
                }

                impl ActiveModelBehavior for ActiveModel {}
            }

            pub async fn users(db: &DatabaseConnection, count: i64) -> Result<Seen> {
                let users = user::Entity::find()
                    .order_by_asc(user::Column::Id)
                    .limit(count.unsigned_abs())
                    .all(db)
                    .await?;
                let mut seen = Seen::default();
                for user in &users {
                    seen.row(user.id, user.name.len());
                }
                Ok(seen)
            }

            pub async fn one_user(db: &DatabaseConnection, id: i64) -> Result<Seen> {
                let user = user::Entity::find_by_id(id).one(db).await?;
                let mut seen = Seen::default();
                if let Some(user) = &user {
                    seen.row(user.id, user.name.len());
                }
                Ok(seen)
            }

            pub async fn newest(db: &DatabaseConnection, count: i64) -> Result<Seen> {
                let posts = post::Entity::find()
                    .find_also_related(user::Entity)
                    .filter(post::Column::Status.eq(PostStatus::Published))
                    .filter(user::Column::IsActive.eq(true))
                    .order_by_desc(post::Column::CreatedAt)
                    .order_by_desc(post::Column::Id)
                    .limit(count.unsigned_abs())
                    .all(db)
                    .await?;
                let mut seen = Seen::default();
                for (post, author) in &posts {
                    seen.row(post.id, post.title.len());
                    if let Some(author) = author {
                        seen.row(author.id, author.name.len());
                    }
                }
                Ok(seen)
            }

            pub async fn authors(db: &DatabaseConnection, count: i64) -> Result<Seen> {
                // The loader has no limit; the keys of the first users are 1, 2, ..
                let users = user::Entity::load()
                    .filter(user::Column::Id.lte(count))
                    .order_by_asc(user::Column::Id)
                    .with((post::Entity, comment::Entity))
                    .all(db)
                    .await?;
                let mut seen = Seen::default();
                for user in &users {
                    seen.row(user.id, user.name.len());
                    for post in &user.posts {
                        seen.row(post.id, post.title.len());
                        for comment in &post.comments {
                            seen.row(comment.id, comment.content.len());
                        }
                    }
                }
                Ok(seen)
            }

            pub async fn comments(db: &DatabaseConnection) -> Result<Seen> {
                let comments = comment::Entity::find().all(db).await?;
                let mut seen = Seen::default();
                for comment in &comments {
                    seen.row(comment.id, comment.content.len());
                }
                Ok(seen)
            }

            pub async fn insert(db: &DatabaseConnection, user: NewUser) -> Result<Seen> {
                std::hint::black_box(active(user).insert(db).await?);
                Ok(Seen::written(1))
            }

            pub async fn insert_all(db: &DatabaseConnection, users: Vec<NewUser>) -> Result<Seen> {
                let mut users: Vec<_> = users.into_iter().map(active).collect();
                let count = users.len();
                if count <= CHUNK {
                    let insert = user::Entity::insert_many(users);
                    insert.exec_without_returning(db).await?;
                    return Ok(Seen::written(count));
                }
                let transaction = db.begin().await?;
                while !users.is_empty() {
                    let rest = users.split_off(users.len().min(CHUNK));
                    let insert = user::Entity::insert_many(users);
                    insert.exec_without_returning(&transaction).await?;
                    users = rest;
                }
                transaction.commit().await?;
                Ok(Seen::written(count))
            }

            fn active(user: NewUser) -> user::ActiveModel {
                let time: fn(i64) -> $time = $to_time;
                user::ActiveModel {
                    email: Set(user.email),
                    name: Set(user.name),
                    bio: Set(user.bio),
                    created_at: Set(time(user.created_at)),
                    ..Default::default()
                }
            }
        }
    };
}

entities!(sqlite, i64, 5_000, |micros| micros);
entities!(postgres, DateTimeUtc, 10_000, |micros| {
    chrono::DateTime::from_timestamp_micros(micros).expect("a made-up time in range")
});
