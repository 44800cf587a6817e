//! The guide in `docs/`, whose samples are compiled and run with the documentation's.

#[doc = include_str!("../../../docs/modelling.md")]
struct Modelling;

#[doc = include_str!("../../../docs/queries.md")]
struct Queries;

#[doc = include_str!("../../../docs/writing.md")]
struct Writing;

#[doc = include_str!("../../../docs/migrations.md")]
struct Migrations;

#[doc = include_str!("../../../docs/sqlite.md")]
struct OnSqlite;

#[doc = include_str!("../../../docs/postgres.md")]
struct OnPostgres;

#[doc = include_str!("../../../docs/testing.md")]
struct Testing;

#[doc = include_str!("../../../docs/caching.md")]
struct Caching;
