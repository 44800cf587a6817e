//! [`Reader`]: answers reads of single rows from the cache.
//!
//! ```text
//!   unique:users_email:..  ──> the primary key, or that there is none
//!   row:users:..           ──> the whole row, or that there is none
//! ```
//!
//! A row is kept once, by its primary key. Who looks for it by a unique constraint finds its key, then
//! the row, and checks that the row still has the values looked for. So a row that changes, or loses
//! these values to another, is forgotten by its key alone, and the other name only if it said that
//! there is none.

use std::collections::HashMap;

use super::table::{CachedTable, Sealed, row_name, tag, unique_name};
use super::tables::Tables;
use super::wanted::{Wanted, having};
use crate::cache::many::find_many;
use crate::cache::{Cache, CacheEntry};
use crate::error::Result;
use crate::eval::{Names, RowIter, Source, Stored, WholeRows, deliver, evaluate};
use crate::filter::Filter;
use crate::rows::Rows;
use crate::schema::{Index, Table};
use crate::select::Select;
use crate::storage::Storage;
use crate::value::Value;

/// What rows are read with.
pub(super) struct Reader<'a> {
    pub(super) store: &'a dyn Storage,
    pub(super) cache: &'a Cache,
    pub(super) tables: &'a Tables,
}

/// The rows at hand, for the evaluator.
struct Candidates {
    table: &'static Table,
    rows: Vec<Stored>,
}

impl Source for Candidates {
    fn rows(&self, table: &'static Table) -> RowIter<'_> {
        let rows = if self.table.is(table) {
            &*self.rows
        } else {
            &[]
        };
        Box::new(rows.iter())
    }
}

impl Reader<'_> {
    /// Whether the cache is asked for this read.
    pub(super) fn takes(&self, select: &Select) -> bool {
        self.tables.get(select.table).is_some() && Wanted::of(select).is_some()
    }

    /// Answers a read, from the cache if it can.
    pub(super) async fn read(&self, select: Select, mut rows: Rows) -> Result<Rows> {
        let Some(candidates) = self.candidates(&select).await? else {
            return self.store.read(select, rows).await;
        };
        let source = Candidates {
            table: select.table,
            rows: candidates,
        };
        let names = Names::of_select(&select);
        let answer = evaluate(select, &source)?;
        deliver(names, answer, &mut rows).await?;
        Ok(rows)
    }

    /// The rows that may satisfy the read; `None` if the store has to be asked.
    async fn candidates(&self, select: &Select) -> Result<Option<Vec<Stored>>> {
        let (Some(cached), Some(wanted)) = (self.tables.get(select.table), Wanted::of(select))
        else {
            return Ok(None);
        };
        let found = match wanted {
            Wanted::Keys(keys) => self.by_keys(cached, keys).await,
            Wanted::Unique(index, values) => self.by_unique(cached, index, values).await,
        };
        match found {
            // A column that the read may not even want: let it see for itself.
            Err(error) if error.is_decode() => Ok(None),
            found => found,
        }
    }

    async fn by_keys(
        &self,
        cached: &CachedTable,
        keys: Vec<Vec<Value>>,
    ) -> Result<Option<Vec<Stored>>> {
        let table = cached.table;
        let entry = |key: &Vec<Value>| {
            let entry = self.entry(cached, &row_name(table, key));
            entry.absent(cached.absent_by_key())
        };
        let found = if let [key] = &*keys {
            let load = || async {
                let rows = self.load(table, having(table.key, &keys)).await?;
                Ok(rows.first().map(|row| seal_row(cached, row)))
            };
            vec![entry(key).get_or_find(load).await?]
        } else {
            let entries = keys.iter().map(entry).collect();
            find_many(entries, |missing| self.load_rows(cached, &keys, missing)).await?
        };
        let open = |sealed: &Sealed| cached.open(0..table.columns.len(), sealed);
        Ok(found.iter().flatten().map(open).collect())
    }

    async fn load_rows(
        &self,
        cached: &CachedTable,
        keys: &[Vec<Value>],
        missing: Vec<usize>,
    ) -> Result<Vec<Option<Sealed>>> {
        let table = cached.table;
        let missing: Vec<Vec<Value>> = missing.into_iter().map(|at| keys[at].clone()).collect();
        let rows = self.load(table, having(table.key, &missing)).await?;
        let key_of = |row: &Stored| table.key.iter().map(|&at| row[at].clone()).collect();
        let found: HashMap<Vec<Value>, &Stored> =
            rows.iter().map(|row| (key_of(row), row)).collect();
        let sealed = |key| found.get(key).map(|row| seal_row(cached, row));
        Ok(missing.iter().map(sealed).collect())
    }

    async fn by_unique(
        &self,
        cached: &CachedTable,
        unique: &'static Index,
        values: Vec<Value>,
    ) -> Result<Option<Vec<Stored>>> {
        let table = cached.table;
        let entry = self.entry(cached, &unique_name(unique, &values));
        let wanted = [values];
        let load = || async {
            let rows = self.load(table, having(unique.columns, &wanted)).await?;
            let key = |row: &Stored| cached.seal(table.key.iter().copied(), row);
            Ok(rows.first().map(key))
        };
        let Some(key) = entry.absent(cached.absent).get_or_find(load).await? else {
            return Ok(Some(Vec::new()));
        };
        let Some(key) = cached.open(table.key.iter().copied(), &key) else {
            return Ok(None);
        };
        let rows = self.by_keys(cached, vec![key.to_vec()]).await?;
        let [values] = &wanted;
        let has = |row: &Stored| unique.columns.iter().map(|&at| &row[at]).eq(values);
        // A row that is gone, or has other values by now: somebody else may have them.
        Ok(rows.filter(|rows| rows.first().is_some_and(has)))
    }

    fn entry(&self, cached: &CachedTable, name: &str) -> CacheEntry<Sealed> {
        let entry = self.cache.entry(name).ttl(cached.ttl);
        entry.tags([tag(cached.table.name)]).version(cached.shape)
    }

    /// Whole rows from the store.
    async fn load(&self, table: &'static Table, filter: Filter) -> Result<Vec<Stored>> {
        let mut select = Select::new(table);
        select.filter = filter;
        let rows = Rows::new(WholeRows::of(table));
        let rows = self.store.read(select, rows).await?;
        Ok(rows.into_sink::<WholeRows>()?.rows)
    }
}

fn seal_row(cached: &CachedTable, row: &Stored) -> Sealed {
    cached.seal(0..cached.table.columns.len(), row)
}
