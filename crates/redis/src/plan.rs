//! Which rows to fetch for a condition: [`candidates`].
//!
//! At least the rows that satisfy it, by the narrowest way that the keys and indexes offer. The
//! evaluator of the core decides about each.

use bytes::Bytes;
use larder_core::select::{Expr, Nulls, OrderBy};
use larder_core::{Comparison, Filter, TextMatch, Value};

use crate::encode;
use crate::layout::{IndexKind, Layout};

/// The most ranges that one condition is split into.
const RANGES_MAX: usize = 1_000;

/// Some rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The row with this encoded key.
    Row(Bytes),
    /// The members of an index from here on, up to but without the end.
    Range(Range),
}

/// Members of an index that lie together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    /// The position in [`Layout::indexes`].
    pub(crate) index: usize,
    /// The first bytes; empty for the first member.
    pub(crate) from: Bytes,
    /// The first bytes beyond; `None` behind the last member.
    pub(crate) to: Option<Bytes>,
}

impl Range {
    /// All rows, in the order of their keys.
    pub(crate) fn all() -> Self {
        Self {
            index: 0,
            from: Bytes::new(),
            to: None,
        }
    }

    /// The members that begin with these bytes.
    pub(crate) fn prefix(index: usize, prefix: Vec<u8>) -> Self {
        Self {
            index,
            to: encode::successor(prefix.clone()).map(Bytes::from),
            from: prefix.into(),
        }
    }

    /// The bounds as Redis writes them.
    pub(crate) fn bounds(&self) -> (Bytes, Bytes) {
        let low = match &self.from {
            from if from.is_empty() => Bytes::from_static(b"-"),
            from => [b"[", &from[..]].concat().into(),
        };
        let high = match &self.to {
            None => Bytes::from_static(b"+"),
            Some(to) => [b"(", &to[..]].concat().into(),
        };
        (low, high)
    }
}

/// How rows are walked in the order that a read asks for.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) range: Range,
    pub(crate) reverse: bool,
}

/// The parts that hold every row for which the filter can be true. None of them overlap.
pub(crate) fn candidates(layout: &Layout, filter: &Filter) -> Vec<Part> {
    let pins = Pins { layout, filter };
    if let Some(parts) = by_unique_key(&pins) {
        return parts;
    }
    match best(&pins) {
        Some(offer) => offer.ranges.into_iter().map(Part::Range).collect(),
        None => vec![Part::Range(Range::all())],
    }
}

/// The index that is used most.
fn best(pins: &Pins<'_>) -> Option<Offer> {
    (0..pins.layout.indexes.len())
        .filter_map(|index| by_index(pins, index))
        .max_by_key(|found| found.depth)
}

/// The parts that hold every row whose column has the value.
pub(crate) fn equal(layout: &Layout, column: usize, value: &Value) -> Vec<Part> {
    candidates(
        layout,
        &Filter::Compare {
            left: Expr::Column(column),
            op: Comparison::Eq,
            value: value.clone(),
        },
    )
}

/// A way to find the rows in the order asked for, if an index has it that is as narrow as any.
/// Without an order the rows come by the narrowest range, or by their keys.
pub(crate) fn walk(layout: &Layout, filter: &Filter, order: &[OrderBy]) -> Option<Walk> {
    let pins = Pins { layout, filter };
    if by_unique_key(&pins).is_some() {
        return None;
    }
    let narrowest = best(&pins).map_or(0, |offer| offer.depth);
    let served = (0..layout.indexes.len())
        .filter_map(|index| {
            let reverse = direction(&pins, index, order)?;
            let found = by_index(&pins, index).filter(|found| found.ranges.len() == 1);
            let (range, depth) = match found {
                Some(mut found) => (found.ranges.pop()?, found.depth),
                None => (
                    Range {
                        index,
                        ..Range::all()
                    },
                    0,
                ),
            };
            Some((depth, Walk { range, reverse }))
        })
        // of equals the first: the key before others
        .rev()
        .max_by_key(|(depth, _)| *depth);
    served
        .filter(|(depth, _)| *depth >= narrowest)
        .map(|(_, walk)| walk)
}

/// Whether the index has the order asked for, and if so whether from its end.
fn direction(pins: &Pins<'_>, index: usize, order: &[OrderBy]) -> Option<bool> {
    let index = &pins.layout.indexes[index];
    let key = pins.layout.table.key.iter();
    let key = key.filter(|at| !index.columns.contains(at));
    let mut columns = index.columns.iter().chain(key).copied().peekable();
    let mut reverse = None;
    for step in order {
        let Expr::Column(at) = step.expr else {
            return None;
        };
        if pins.one(at).is_some() {
            continue; // the same for all rows
        }
        while columns
            .next_if(|&next| next != at && pins.one(next).is_some())
            .is_some()
        {}
        if columns.next() != Some(at) {
            return None;
        }
        // NULL lies behind all values.
        let last = if step.descending {
            Nulls::First
        } else {
            Nulls::Last
        };
        if pins.layout.table.columns[at].nullable && step.nulls != last {
            return None;
        }
        if *reverse.get_or_insert(step.descending) != step.descending {
            return None;
        }
    }
    Some(reverse.unwrap_or(false))
}

/// What the conditions that must all hold say about columns.
struct Pins<'a> {
    layout: &'a Layout,
    filter: &'a Filter,
}

impl<'a> Pins<'a> {
    /// The only values that the column can have, if that is said.
    fn values(&self, column: usize) -> Option<&'a [Value]> {
        let conjuncts = self.filter.conjuncts().iter();
        conjuncts
            .filter_map(|filter| match filter {
                Filter::Compare {
                    left: Expr::Column(at),
                    op: Comparison::Eq,
                    value,
                } if *at == column => Some(std::slice::from_ref(value)),
                Filter::In { column: at, values } if *at == column => Some(values.as_slice()),
                _ => None,
            })
            .filter(|values| values.iter().all(|value| self.is_of(column, value)))
            .min_by_key(|values| values.len())
    }

    /// The encoding of the only value that the column can have, NULL included.
    fn one(&self, column: usize) -> Option<Vec<u8>> {
        if let Some([value]) = self.values(column) {
            return Some(encode::values([value]));
        }
        let null =
            |filter: &Filter| matches!(filter, Filter::IsNull { column: at } if *at == column);
        let is_null = self.filter.conjuncts().iter().any(null);
        is_null.then(|| vec![encode::NULL])
    }

    /// Bounds of the column's encodings: at least, and less than.
    fn bounds(&self, column: usize) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let mut low: Option<Vec<u8>> = None;
        let mut high: Option<Vec<u8>> = None;
        for filter in self.filter.conjuncts() {
            let (from, to) = self.bound(column, filter);
            if let Some(from) = from {
                low = Some(low.map_or(from.clone(), |low| low.max(from)));
            }
            if let Some(to) = to {
                high = Some(high.map_or(to.clone(), |high| high.min(to)));
            }
        }
        if low.is_none() && high.is_none() {
            return None;
        }
        Some((
            low.unwrap_or_else(|| vec![encode::VALUE]),
            Some(high.unwrap_or_else(|| vec![encode::BEYOND_VALUES])),
        ))
    }

    fn bound(&self, column: usize, filter: &Filter) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        match filter {
            Filter::Compare {
                left: Expr::Column(at),
                op,
                value,
            } if *at == column && self.is_of(column, value) => {
                let here = encode::values([value]);
                let beyond = || encode::successor(here.clone());
                match op {
                    Comparison::Lt => (None, Some(here)),
                    Comparison::Le => (None, beyond()),
                    Comparison::Ge => (Some(here), None),
                    Comparison::Gt => (beyond(), None),
                    Comparison::Eq | Comparison::Ne => (None, None),
                }
            }
            Filter::Text {
                column: at,
                op: TextMatch::StartsWith,
                fold: false,
                pattern,
            } if *at == column && !pattern.is_empty() => {
                let mut prefix = Vec::new();
                encode::text_prefix(&mut prefix, pattern);
                let beyond = encode::successor(prefix.clone());
                (Some(prefix), beyond)
            }
            _ => (None, None),
        }
    }

    fn is_of(&self, column: usize, value: &Value) -> bool {
        encode::is_of(self.layout.table.columns[column].kind, value)
    }
}

/// All columns of a unique key have only some values: the rows, one by one.
fn by_unique_key(pins: &Pins<'_>) -> Option<Vec<Part>> {
    let indexes = pins.layout.indexes.iter().enumerate();
    indexes
        .filter(|(_, index)| index.kind != IndexKind::Plain)
        .filter_map(|(at, index)| {
            let lists: Option<Vec<_>> = index.columns.iter().map(|&at| pins.values(at)).collect();
            let keys = combinations(&lists?)?;
            Some((at, index.kind, keys))
        })
        .min_by_key(|(_, _, keys)| keys.len())
        .map(|(at, kind, keys)| {
            let part = |key: Vec<u8>| match kind {
                IndexKind::Key => Part::Row(key.into()),
                _ => Part::Range(Range::prefix(at, key)),
            };
            keys.into_iter().map(part).collect()
        })
}

/// What an index offers.
struct Offer {
    ranges: Vec<Range>,
    /// How much of it is used: two for each column that has one value, one for less.
    depth: usize,
}

/// The columns at the beginning of the index that have one value each, then one that is bounded
/// or has some values.
fn by_index(pins: &Pins<'_>, index: usize) -> Option<Offer> {
    let columns = &pins.layout.indexes[index].columns;
    let mut prefix = Vec::new();
    let mut depth = 0;
    let mut columns = columns.iter().peekable();
    while let Some(one) = columns.peek().and_then(|&&at| pins.one(at)) {
        prefix.extend_from_slice(&one);
        depth += 2;
        columns.next();
    }
    let with = |rest: &[u8]| [&prefix[..], rest].concat();
    if let Some(&&at) = columns.peek() {
        let many = pins.values(at).filter(|values| values.len() <= RANGES_MAX);
        if let Some(values) = many {
            let ranges = values.iter();
            let ranges = ranges.map(|value| Range::prefix(index, with(&encode::values([value]))));
            return Some(Offer {
                ranges: ranges.collect(),
                depth: depth + 1,
            });
        }
        if let Some((low, high)) = pins.bounds(at) {
            let range = Range {
                index,
                from: with(&low).into(),
                to: high.map(|high| with(&high).into()),
            };
            return Some(Offer {
                ranges: vec![range],
                depth: depth + 1,
            });
        }
    }
    (depth > 0).then(|| Offer {
        ranges: vec![Range::prefix(index, prefix)],
        depth,
    })
}

/// The encodings of every way to take one value of each list; `None` if there are too many.
fn combinations(lists: &[&[Value]]) -> Option<Vec<Vec<u8>>> {
    let many = lists
        .iter()
        .try_fold(1_usize, |many, list| many.checked_mul(list.len()))?;
    if many > RANGES_MAX {
        return None;
    }
    let mut all = vec![Vec::new()];
    for list in lists {
        let longer = |start: Vec<u8>| {
            list.iter().map(move |value| {
                let mut next = start.clone();
                encode::value(&mut next, value);
                next
            })
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    Some(all)
}
