//! Larder's queries, writes and schemas as SQL text, for the SQL engines.
//!
//! ```text
//!            ┌─ Shape ──────────> bytes that name the statement; look it up in the cache
//!   Select ──┼─ render_select ──> the SQL text, only on a miss
//!            └─ select_params ──> the values to bind, in the order of the placeholders
//! ```
//!
//! The three walk the same borrowed query: equal shapes mean equal text and the same parameters,
//! so a prepared statement found by its shape fits. A [`Write`](larder_core::Write) goes the same
//! way, once per range of rows that [`chunks`] gives; [`create_tables`] writes the schema.
//!
//! Values are never made into text. Identifiers are quoted in one function
//! ([`Dialect::quote`]), constant defaults are written in one.
//!
//! # What an engine must bring
//!
//! SQLite: `rarray` for lists (`IN rarray(?1)` takes one parameter, a list); the collation
//! `LARDER_DECIMAL`; the aggregates `larder_decimal_sum` and `larder_decimal_avg`; the functions
//! `larder_decimal_add(a, b)` and `larder_f32_add(a, b)`, NULL for NULL and an error on overflow;
//! `larder_json_look(document, step, ..)`, which is 1 for a `null`, 0 for anything else and NULL for
//! nothing; `larder_json_compare(document, value, step, ..)` and `larder_json_compare_bool(..)`, the
//! sign of the order or NULL; FTS5 for tables that are searched;
//! double-quoted strings switched off, so that a missing column is an error; the query-planner
//! stability guarantee, so that `LIMIT ?` does not prepare the statement anew.
//!
//! PostgreSQL: nothing; a list is bound as an array of the column's type. Before a write that gives
//! automatic keys, [`move_sequence`] is to be run.

mod aggregate;
mod ddl;
mod dialect;
mod feed;
mod filter;
mod insert;
mod json;
mod params;
mod rate_limit;
mod search;
mod select;
mod sequence;
mod shape;
mod text;
mod write;

#[cfg(test)]
mod tests;

pub use ddl::{create_missing_tables, create_table, create_tables};
pub use dialect::Dialect;
pub use feed::change_log;
pub use insert::copy_in;
pub use params::{Param, select_params, write_params};
pub use rate_limit::SqlRateLimiter;
pub use select::render_select;
pub use sequence::{asks_keys, largest_key, move_sequence};
pub use shape::Shape;
pub use write::{chunks, render_write};

/// A statement's text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement {
    /// The text, with numbered placeholders for all values.
    pub sql: String,
    /// How many parameters it takes; a list counts as one.
    pub parameters: usize,
    /// How many columns follow the output asked for. They are the table's key, in order, and the
    /// engine sorts the returned rows by them before it shows them. 0 where the database sorts.
    pub sort_keys: usize,
}
