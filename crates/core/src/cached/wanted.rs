//! [`Wanted`]: which rows a read is about, if it names them by a unique key.

use crate::eval;
use crate::filter::{Comparison, Filter};
use crate::schema::{Index, Table};
use crate::select::{Expr, LinkPath, Select};
use crate::value::Value;

/// More rows at once are read from the store.
const KEYS_MAX: usize = 500;

/// The rows a read is about; it may leave some of them out.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Those with these primary keys.
    Keys(Vec<Vec<Value>>),
    /// The one with these values of a unique constraint.
    Unique(&'static Index, Vec<Value>),
}

impl Wanted {
    /// Looks at a read; `None` if only the store can tell which rows it is about, or is to be asked
    /// because rows are to be locked.
    pub(super) fn of(select: &Select) -> Option<Self> {
        if select.lock.is_some() || select.ranks() || eval::tables(select).len() > 1 {
            return None;
        }
        let table = select.table;
        let Some(link) = &select.link else {
            return match keys(table, &select.filter) {
                Some(keys) => Some(Self::Keys(keys)),
                None => unique(table, &select.filter),
            };
        };
        let by_key = matches!(link.path, LinkPath::Column(at) if table.single_key() == Some(at));
        (by_key && link.parents.len() <= KEYS_MAX)
            .then(|| Self::Keys(link.parents.iter().map(|key| vec![key.clone()]).collect()))
    }
}

/// The primary keys that rows must have to be taken by a filter, if it says so.
pub(super) fn keys(table: &Table, filter: &Filter) -> Option<Vec<Vec<Value>>> {
    if let Some(key) = pins(table.key, filter) {
        return Some(vec![key]);
    }
    let single = table.single_key()?;
    filter.conjuncts().iter().find_map(|filter| match filter {
        Filter::In { column, values } if *column == single && values.len() <= KEYS_MAX => {
            Some(values.iter().map(|value| vec![value.clone()]).collect())
        }
        _ => None,
    })
}

fn unique(table: &Table, filter: &Filter) -> Option<Wanted> {
    let mut uniques = table.uniques.iter();
    uniques.find_map(|unique| Some(Wanted::Unique(unique, pins(unique.columns, filter)?)))
}

/// The values that a filter demands of all these columns.
fn pins(columns: &[usize], filter: &Filter) -> Option<Vec<Value>> {
    let pin = |&wanted: &usize| {
        filter.conjuncts().iter().find_map(|filter| match filter {
            Filter::Compare {
                left: Expr::Column(at),
                op: Comparison::Eq,
                value,
            } if *at == wanted && !value.is_null() => Some(value.clone()),
            _ => None,
        })
    };
    columns.iter().map(pin).collect()
}

/// The filter that takes the rows with these keys.
pub(super) fn having(columns: &[usize], keys: &[Vec<Value>]) -> Filter {
    if let &[at] = columns {
        return Filter::in_values(at, keys.iter().flatten().cloned().collect());
    }
    let one = |key: &Vec<Value>| {
        let pins = columns.iter().zip(key).map(|(&at, value)| Filter::Compare {
            left: Expr::Column(at),
            op: Comparison::Eq,
            value: value.clone(),
        });
        Filter::And(pins.collect())
    };
    match keys {
        [key] => one(key),
        keys => Filter::Or(keys.iter().map(one).collect()),
    }
}
