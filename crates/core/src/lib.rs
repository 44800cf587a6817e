//! What a model is, what a query is, and what a store must do. Knows no engine.

extern crate self as larder_core;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
pub mod access;
mod breaker;
pub mod cache;
pub mod cached;
mod check;
pub mod clock;
mod codec;
pub mod column;
pub mod db;
mod describe;
pub mod entity;
pub mod error;
pub mod eval;
pub mod feed;
pub mod filter;
pub mod json_path;
pub mod load;
pub mod memory;
pub mod migration;
pub mod models;
pub mod observe;
pub mod page;
pub mod project;
pub mod query;
pub mod rate_limit;
pub mod raw;
pub mod rows;
pub mod schema;
pub mod search;
pub mod select;
pub mod session;
pub mod storage;
pub mod stream;
pub mod types;
pub mod value;
pub mod work;
pub mod write;

pub use access::Access;
pub use cached::{Cached, CachedTable};
pub use clock::{Clock, ManualClock, SystemClock};
pub use column::{Assign, Change, Column, ConstraintTarget, Operand, UniqueKey};
pub use db::lock::Lock;
pub use db::sql::RawSql;
pub use db::transaction::{Failure, Tx};
pub use db::write::Upsert;
pub use db::{Db, DbOptions};
pub use entity::{Changes, Entity, Insert, Key, Model, Patch};
pub use error::{Error, ErrorKind, Result};
pub use filter::{Comparison, Filter, Predicate, TextMatch};
pub use json_path::{JsonPath, JsonStep, JsonTest};
pub use load::Load;
pub use memory::Memory;
pub use observe::Report;
pub use page::{Cursor, Page};
pub use project::Projected;
pub use query::{ByKey, Query};
pub use rate_limit::{LocalRateLimiter, Quota, RateLimiter};
pub use raw::{Bind, RawStatement, SqlColumn, SqlRow, SqlText};
pub use rows::{Flow, Row, Rows, Sink};
pub use schema::{ColumnDef, DefaultValue, Index, OnDelete, Reference, Table};
pub use search::{Search, SearchQuery};
pub use select::{Aggregate, Expr, Nulls, Order, Output, RowLock, Select, Selection, count};
pub use session::{Session, SessionStore, Sessions, StoredSessions};
pub use storage::{Capabilities, Isolation, NamedLock, Storage, Transaction, TxOptions};
pub use stream::RowStream;
pub use types::{ColumnType, Email, Id, Json, Numeric, Timestamp};
pub use value::{Kind, Value, ValueRef};
pub use write::{Write, Written};

pub use larder_derive::{Entity, Insert, Load, Newtype, Patch, SqlRow, TextEnum};

/// A civil date, from jiff.
pub use jiff::civil::Date;
/// An exact decimal number, from rust_decimal.
pub use rust_decimal::Decimal;
/// A UUID, from uuid.
pub use uuid::Uuid;
