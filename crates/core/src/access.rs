//! How a read will find its rows, known before it runs: [`Access`].

use crate::filter::{Comparison, Filter, TextMatch};
use crate::schema::Table;
use crate::select::{Expr, Link, LinkPath, Select};

/// The class of a read. Engines send points through their fast lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Pins a unique key: at most this many rows, each found by key.
    Point {
        /// The number of keys asked for.
        keys: usize,
    },
    /// Bounded, on an index: reads about as many rows as it returns.
    Range {
        /// The most rows it can return, where known.
        rows: Option<u64>,
    },
    /// Anything else: may read the whole table.
    Scan,
}

impl Select {
    /// Classifies the read by the table's keys and indexes.
    ///
    /// A guess in one direction only: a `Point` is certain; a `Range` may read more than it
    /// returns (a filter beside the index), which is why engines run it with a budget.
    pub fn access(&self) -> Access {
        // How long a full-text index takes, nobody knows.
        if self.filter.has(|one| matches!(one, Filter::Matches { .. })) {
            return Access::Scan;
        }
        if let Some(keys) = self.pinned_keys() {
            return Access::Point { keys };
        }
        if self.aggregates() || self.distinct {
            return if self.leads_index(|column| self.pins(column).is_some()) && self.limit.is_none()
            {
                Access::Range { rows: None }
            } else {
                Access::Scan
            };
        }
        if let Some(link) = &self.link {
            return self.link_access(link);
        }
        let rows = self.limit.map(|limit| limit.saturating_add(self.offset));
        let bounded = self.leads_index(|column| self.pins(column).is_some() || self.bounds(column));
        match (rows, bounded) {
            (Some(rows), _) if self.filter_free() && self.ordered_by_index() => {
                Access::Range { rows: Some(rows) }
            }
            (rows, true) if self.order_served() || rows.is_none() => Access::Range { rows },
            _ => Access::Scan,
        }
    }

    fn filter_free(&self) -> bool {
        self.filter.conjuncts().is_empty()
    }

    /// Without an order the first rows will do; otherwise an index must bring them in order.
    fn order_served(&self) -> bool {
        self.order.is_empty() || self.ordered_by_index()
    }

    fn ordered_by_index(&self) -> bool {
        let Some(first) = self.order.first() else {
            return true;
        };
        let Expr::Column(first) = first.expr else {
            return false;
        };
        indexes(self.table).any(|columns| {
            let skipped = columns
                .iter()
                .take_while(|&&column| self.pins(column) == Some(1))
                .count();
            columns[..skipped].contains(&first) || columns.get(skipped) == Some(&first)
        })
    }

    fn link_access(&self, link: &Link) -> Access {
        let indexed = match link.path {
            LinkPath::Column(column) => indexes(self.table).any(|columns| columns[0] == column),
            LinkPath::Through { table, parent, .. } => {
                indexes(table).any(|columns| columns[0] == parent)
            }
        };
        if indexed {
            Access::Range {
                rows: (link.limit).map(|limit| limit.saturating_mul(link.parents.len() as u64)),
            }
        } else {
            Access::Scan
        }
    }

    fn pinned_keys(&self) -> Option<usize> {
        if self.link.is_some() || !self.group_by.is_empty() {
            return None;
        }
        self.table
            .unique_keys()
            .filter_map(|key| {
                key.iter().try_fold(1_usize, |keys, &at| {
                    Some(keys.saturating_mul(self.pins(at)?))
                })
            })
            .min()
    }

    fn leads_index(&self, bounded: impl Fn(usize) -> bool) -> bool {
        indexes(self.table).any(|columns| bounded(columns[0]))
    }

    /// How many values a column can have by the filter, if it is pinned at all.
    fn pins(&self, column: usize) -> Option<usize> {
        self.filter
            .conjuncts()
            .iter()
            .find_map(|filter| match filter {
                Filter::Compare {
                    left: Expr::Column(at),
                    op: Comparison::Eq,
                    ..
                } if *at == column => Some(1),
                Filter::In { column: at, values } if *at == column => Some(values.len()),
                _ => None,
            })
    }

    fn bounds(&self, column: usize) -> bool {
        self.filter.conjuncts().iter().any(|filter| match filter {
            Filter::Compare {
                left: Expr::Column(at),
                op,
                ..
            } => *at == column && *op != Comparison::Ne,
            Filter::Text {
                column: at,
                op: TextMatch::StartsWith,
                fold: false,
                pattern,
            } => *at == column && !pattern.is_empty(),
            _ => false,
        })
    }
}

/// The columns of every index of the table, keys included.
fn indexes(table: &Table) -> impl Iterator<Item = &'static [usize]> {
    table
        .unique_keys()
        .chain(table.indexes.iter().map(|index| index.columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::fixture::USERS;
    use crate::schema::Index;
    use crate::search::SearchQuery;
    use crate::value::Value;

    #[test]
    fn a_search_is_never_quick_for_certain() {
        let mut select = Select::new(&USERS);
        let key = |value| Filter::Compare {
            left: Expr::Column(0),
            op: Comparison::Eq,
            value: Value::Int(value),
        };
        select.filter = key(1);
        assert_eq!(select.access(), Access::Point { keys: 1 });
        static INDEX: Index = Index {
            name: "users_search",
            columns: &[1],
        };
        let search = Filter::Matches {
            index: &INDEX,
            query: SearchQuery::default(),
        };
        select.filter = key(1).and(Filter::Not(Box::new(search)));
        assert_eq!(select.access(), Access::Scan);
    }

    #[test]
    fn no_limit_is_too_large() {
        let mut select = Select::new(&USERS);
        select.offset = u64::MAX;
        select.limit = Some(u64::MAX);
        let rows = Some(u64::MAX);
        assert_eq!(select.access(), Access::Range { rows });
        select.link = Some(Link {
            path: LinkPath::Column(0),
            parents: vec![Value::Int(1), Value::Int(2)],
            limit: Some(u64::MAX),
        });
        assert_eq!(select.access(), Access::Range { rows });
    }
}
