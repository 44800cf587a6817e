//! The derives of Larder: [`Entity`], [`Insert`], [`Patch`], [`Load`], [`SqlRow`], [`TextEnum`],
//! [`Newtype`].
//!
//! Use them through the crate you depend on (`larder`, `larder-sqlite`, ..), which re-exports
//! them; that crate may be renamed in `Cargo.toml`. The models in `larder_core::models` are
//! examples of everything below.
//!
//! Each derive reports all the mistakes of a struct at once, each at the attribute or field it is
//! about, and says what to write instead. Where a macro cannot find the crate, name it with
//! `crate = ".."` in the struct's attribute.

mod attr;
mod cached;
mod entity;
mod insert;
mod load;
mod newtype;
mod patch;
mod root;
mod sql_row;
mod text_enum;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Runs one derive; its errors become compile errors.
fn expand(
    input: DeriveInput,
    derive: fn(DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    derive(input)
        .unwrap_or_else(|errors| errors.to_compile_error())
        .into()
}

/// Makes a struct a model: one row of a table, a field per column.
///
/// Writes `Entity` and `Insert`, a constant per column (`Post::TITLE`), `Post::KEY`, `Post::SEARCH`
/// if texts are searched, and a constant per unique constraint over several columns
/// (`Post::UNIQUE_AUTHOR_ID_SLUG`). The constants are as visible as the struct.
///
/// On the struct, `#[entity(..)]`:
///
/// | write | meaning |
/// |---|---|
/// | `table = "posts"` | the table's name; required |
/// | `index(author_id, status)` | an index over these fields, in this order |
/// | `unique(author_id, slug)` | a unique constraint over these fields |
/// | `index(name = "..", ..)`, `unique(name = "..", ..)` | the same under a name of your own |
/// | `search(title, content)` | a full-text index over these text fields; the model's `SEARCH` |
/// | `crate = ".."` | the path of the Larder crate, where it cannot be found |
///
/// On a field:
///
/// | write | meaning |
/// |---|---|
/// | `#[key]` | part of the primary key; several make a composite key of up to four columns |
/// | `#[key(auto)]` | the single integer key, made by the store |
/// | `#[unique]`, `#[unique(name = "..")]` | a unique constraint |
/// | `#[index]`, `#[index(name = "..")]` | an index |
/// | `#[references(User)]` | holds the key of a `User`; deleting that is refused meanwhile |
/// | `#[references(User, on_delete = cascade)]` | or `restrict`, or `set_null` on an `Option` |
/// | `#[column(name = "..")]` | another name in the database |
/// | `#[column(max_len = 200)]` | the longest text allowed, in characters |
/// | `#[column(default = true)]` | the value of new rows: a bool, number, text or enum variant |
/// | `#[created_at]`, `#[updated_at]` | kept by the layer; a `Timestamp`, or an `Option` of one |
/// | `#[version]` | counted up by every update, for optimistic locking; an integer |
///
/// Indexes are named `{table}_{columns}_idx` and unique constraints `{table}_{columns}_key`
/// unless you name them; the full-text index `{table}_search`.
///
/// Clippy's `duplicated_attributes` takes a field in two indexes for a slip. It does not look into
/// brackets, so `index[author_id, status], index[status, created_at]` means the same and is left
/// alone.
#[proc_macro_derive(
    Entity,
    attributes(
        entity, key, unique, index, references, column, created_at, updated_at, version
    )
)]
pub fn entity(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), entity::derive)
}

/// Makes a struct insertable: `#[insert(Post)]`, each field named after a field of the model.
///
/// A field has exactly the type of the model's field. A field of the model may be left out if it
/// is an `Option`, an auto key, kept by the layer or has a default; leaving out another one does
/// not compile.
///
/// On a field: `#[insert(into)]` converts the value with `Into`; `#[insert(column = Post::TITLE)]`
/// sets the column of another name.
#[proc_macro_derive(Insert, attributes(insert))]
pub fn insert(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), insert::derive)
}

/// Makes a struct of optional changes: `#[patch(Post)]`, each field an `Option` of the type of
/// the model's field of the same name.
///
/// `None` leaves the column as it is. A nullable column's field is an `Option<Option<T>>`.
///
/// On a field: `#[patch(column = Post::TITLE)]` changes the column of another name.
#[proc_macro_derive(Patch, attributes(patch))]
pub fn patch(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), patch::derive)
}

/// Makes a struct a loading plan of a model, `#[load(User)]`: one query per relation, whatever
/// the number of rows.
///
/// | field | loads |
/// |---|---|
/// | `name: String` | the column `User::NAME` |
/// | `#[load(column = User::NAME)] who: String` | a column by another name |
/// | `#[load(via = Post::AUTHOR_ID)] posts: Vec<P>` | the posts that refer to the user |
/// | `#[load(via = Profile::USER_ID)] profile: Option<P>` | the one row that refers to the user (the first by `order`) |
/// | `#[load(via = PostTag::POST_ID, to = PostTag::TAG_ID)] tags: Vec<T>` | the tags that a join model pairs with the post |
/// | `#[load(via = Post::AUTHOR_ID)] author: A` in a plan of `Post` | the row that the post refers to; `Option<A>` if the column may be NULL |
/// | `#[load(count, via = Post::AUTHOR_ID)] posts: u64` | the number of posts that refer to the user |
/// | `#[load(flatten)] user: User` | the model itself, or another plan of it; one such field |
///
/// `P`, `T` and `A` are models or plans themselves; those that several rows share (`A`) must be
/// `Clone`. Relations take `filter = ..` (several must all hold); those to many rows also
/// `order = ..` (several, or a tuple; ties come by key) and `limit = ..`, the most rows for each
/// parent. `has_one` says that an `Option` via a column of the plan's own model is the row that
/// refers to this one, not the row referred to.
#[proc_macro_derive(Load, attributes(load))]
pub fn load(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), load::derive)
}

/// Makes a struct what a row of a statement in SQL is read as: each field from the column of its
/// name, wherever it stands; other columns are left alone.
///
/// On a field: `#[sql(name = "count(*)")]` reads the column of another name.
#[proc_macro_derive(SqlRow, attributes(sql))]
pub fn sql_row(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), sql_row::derive)
}

/// Stores an enum without data as text: each variant by its name in `snake_case`.
///
/// Writes `ColumnType`, a constant `as_str`, `Display` and `FromStr`. A stored text that is no
/// variant is a `Decode` error that carries it.
///
/// On the enum: `#[text_enum(rename_all = "..")]` with `snake_case`, `kebab-case`,
/// `SCREAMING_SNAKE_CASE`, `lowercase`, `camelCase` or `PascalCase`. On a variant: `#[text("..")]`.
#[proc_macro_derive(TextEnum, attributes(text_enum, text))]
pub fn text_enum(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), text_enum::derive)
}

/// Stores a struct of one unnamed field as that field: `struct Slug(String);`.
///
/// Writes `ColumnType`, the conversion out and, without `validate`, `From` the inner type.
/// `#[newtype(validate = path)]` writes `TryFrom` instead, which calls
/// `fn path(&Inner) -> Result<(), E>`; `E` is an `Error` or a message. Values read from the store
/// are not validated again.
#[proc_macro_derive(Newtype, attributes(newtype))]
pub fn newtype(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), newtype::derive)
}

/// Caches what an async function answers, under a key made of its arguments.
///
/// ```text
/// #[cached(ttl = "30m", prefix = "user", absent = "5s", tags("users"), skip(db))]
/// async fn find_user(cache: &Cache, db: &Db, id: Id<User>) -> Result<Option<User>> {
///     db.get(id).await
/// }
///
/// let ada = find_user(&cache, &db, id).await?;
/// db.update(id, patch).await?;
/// find_user::invalidate(&cache, id).await?; // after the commit
/// ```
///
/// | write | meaning |
/// |---|---|
/// | `ttl = "30m"` | how long an answer is fresh; required. Units: `ms`, `s`, `m`, `h`, `d`; `"1h 30m"` |
/// | `prefix = "user"` | what keys begin with; else the function's path, which changes when it moves |
/// | `skip(db, log)` | arguments that are not part of the key |
/// | `cache = self.cache` | where the cache is, if no argument is called `cache` |
/// | `tags("users", "org:{org}")` | tags; arguments stand in braces, as for `format!` |
/// | `stale = "1m"` | how much longer an answer is served while one caller loads |
/// | `stale_on_error` | and if loading fails |
/// | `absent = "5s"` | the function answers an `Option`, and `None` is kept for so long; without it, `None` is an answer like any other |
/// | `infallible` | the function answers a value and no `Result` |
/// | `crate = ".."` | the path of the Larder crate, where it cannot be found |
///
/// Errors are not kept, whatever the `Result` is called. All other arguments must be serde's
/// `Serialize`; `self` is no part of the key. The function's future, its arguments and its answer
/// are `Send`.
///
/// Beside a function `find_user` there are `find_user::key(id)` and
/// `find_user::invalidate(&cache, id)`; beside a method, `Self::find_user_key(id)` and
/// `self.invalidate_find_user(id)`. They take the arguments of the key.
#[proc_macro_attribute]
pub fn cached(arguments: TokenStream, item: TokenStream) -> TokenStream {
    cached::expand(arguments.into(), item.into())
        .unwrap_or_else(|errors| errors.to_compile_error())
        .into()
}
