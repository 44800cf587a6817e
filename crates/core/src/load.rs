//! Loading plans: a struct with `#[derive(Load)]` says which columns and relations it wants.
//!
//! ```text
//!   users            1 query   SELECT id, name FROM users ..
//!     posts          1 query   SELECT author_id, .. FROM posts WHERE author_id IN (all users)
//!       comments     1 query   SELECT post_id, .. FROM comments WHERE post_id IN (all posts)
//! ```
//!
//! One query per relation and level, whatever the number of parents; the relations of one level
//! go out together, in one round trip where the engine can. A relation that was not asked for
//! does not exist in the struct, so it can neither panic nor read as empty.
//!
//! The derive writes [`Load`]; the rest of this file is what the written code calls.

use std::collections::hash_map::Entry;
use std::iter::repeat_n;
use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::check;
use crate::column::Column;
use crate::db::Db;
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Predicate;
use crate::rows::{BoxFuture, Flow, Row, Rows, Sink, get};
use crate::select::{Aggregate, Expr, Link, LinkPath, Nulls, Order, OrderBy, Output, Select};
use crate::types::ColumnType;
use crate::value::{Kind, Value, ValueRef};

/// A struct that can be loaded: an entity, or a plan made by `#[derive(Load)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a model nor a loading plan",
    note = "add #[derive(Load)] and #[load(Model)] to it"
)]
pub trait Load: Sized + Send + 'static {
    /// The model it loads from.
    type Entity: Entity;
    /// A row of it before its relations are there.
    type Row: Send + 'static;

    /// The positions of the columns it reads, those that link relations included.
    fn columns() -> Vec<usize>;

    /// Reads a row whose first column stands at position `at`.
    fn decode(row: &dyn Row, at: usize) -> Result<Self::Row>;

    /// Loads the relations of all rows together and completes them, in order.
    fn finish(loader: Loader<'_>, rows: Vec<Self::Row>) -> BoxFuture<'_, Result<Vec<Self>>>;
}

impl<E: Entity> Load for E {
    type Entity = E;
    type Row = E;

    fn columns() -> Vec<usize> {
        (0..E::TABLE.columns.len()).collect()
    }

    fn decode(row: &dyn Row, at: usize) -> Result<E> {
        if at == 0 {
            E::from_row(row)
        } else {
            E::from_row(&Shifted { row, by: at })
        }
    }

    fn finish(_: Loader<'_>, rows: Vec<E>) -> BoxFuture<'_, Result<Vec<E>>> {
        Box::pin(std::future::ready(Ok(rows)))
    }
}

/// A row seen from a later position on.
struct Shifted<'a> {
    row: &'a dyn Row,
    by: usize,
}

impl Row for Shifted<'_> {
    fn value(&self, at: usize, kind: Kind) -> Result<ValueRef<'_>> {
        self.row.value(at + self.by, kind)
    }

    fn name(&self, at: usize) -> String {
        self.row.name(at + self.by)
    }
}

/// What a plan is loaded with: the database handle and the place that asked.
#[derive(Clone, Copy, Debug)]
pub struct Loader<'a> {
    pub(crate) db: &'a Db,
    /// The query's own deadline.
    pub(crate) timeout: Option<Duration>,
    pub(crate) site: &'static Location<'static>,
}

impl<'a> Loader<'a> {
    /// An empty batch of relations.
    pub fn batch(self) -> Batch<'a> {
        Batch {
            loader: self,
            queries: Vec::new(),
            error: None,
        }
    }
}

/// The position of the key that children of `E` refer to.
pub fn own_key<E: Entity>() -> usize {
    E::TABLE.key[0]
}

/// Reads the values of the linking columns, which stand from position `at` on.
pub fn links<E: Entity, const N: usize>(
    row: &dyn Row,
    at: usize,
    columns: [usize; N],
) -> Result<[Value; N]> {
    let mut values = [const { Value::Null }; N];
    for (i, &column) in columns.iter().enumerate() {
        values[i] = row.value(at + i, E::TABLE.columns[column].kind)?.to_value();
    }
    Ok(values)
}

/// One relation of a plan, as the attributes on its field say.
#[derive(Debug)]
pub struct Relation<C: Load> {
    path: Result<LinkPath>,
    filter: Predicate<C::Entity>,
    order: Vec<Order<C::Entity>>,
    limit: Option<u64>,
    /// Whether several rows may refer to the same related row and get a clone of it.
    shared: bool,
    marker: PhantomData<fn() -> C>,
}

impl<C: Load> Relation<C> {
    fn new(path: Result<LinkPath>) -> Self {
        Self {
            path,
            shared: false,
            filter: Predicate::all(),
            order: Vec::new(),
            limit: None,
            marker: PhantomData,
        }
    }

    /// The rows that refer to a `P` by this column.
    pub fn children<P: Entity, T: ColumnType>(via: Column<C::Entity, T>) -> Self {
        Self::new(via.parent_key::<P>().map(|_| LinkPath::Column(via.index())))
    }

    /// The row that this column of the loaded entity refers to.
    pub fn parent<E: Entity, T: ColumnType>(via: Column<E, T>) -> Self {
        let path = via.parent_key::<C::Entity>().map(LinkPath::Column);
        Self {
            shared: true,
            ..Self::new(path)
        }
    }

    /// The rows that a join entity pairs with a `P`: `from` holds the `P`, `to` the row.
    pub fn through<P: Entity, J: Entity, A: ColumnType, B: ColumnType>(
        from: Column<J, A>,
        to: Column<J, B>,
    ) -> Self {
        Self::new(from.parent_key::<P>().and_then(|_| {
            Ok(LinkPath::Through {
                table: J::TABLE,
                parent: from.index(),
                child: to.index(),
                to: to.parent_key::<C::Entity>()?,
            })
        }))
    }

    /// Takes only the rows that satisfy the predicate.
    #[must_use]
    pub fn filter(mut self, predicate: Predicate<C::Entity>) -> Self {
        self.filter = self.filter.and(predicate);
        self
    }

    /// Orders each parent's rows; several calls order by one after the other. Ties, and rows
    /// without an order, come by key.
    #[must_use]
    pub fn order(mut self, order: Order<C::Entity>) -> Self {
        self.order.push(order);
        self
    }

    /// At most this many rows for each parent.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The read, and the kind of its parents' values.
    fn into_select(self, parents: Vec<Value>, output: Vec<Expr>) -> Result<(Select, Kind)> {
        let table = C::Entity::TABLE;
        let mut select = Select::new(table);
        let aggregates = output
            .iter()
            .any(|expr| matches!(expr, Expr::Aggregate(..)));
        select.output = Output::Exprs(output);
        select.filter = self.filter.into_filter()?;
        let link = Link {
            path: self.path?,
            parents,
            limit: self.limit,
        };
        let kind = link.kind(table);
        select.link = Some(link);
        select.order = self.order.into_iter().map(Order::into_order_by).collect();
        if !aggregates {
            crate::query::break_ties(&mut select);
            group_by_parent(&mut select);
        }
        check::select(&select)?;
        Ok((select, kind))
    }
}

/// Brings each parent's rows together, where the parent's value is a column of theirs: an index on
/// it then yields the rows in order, and nothing has to be sorted.
fn group_by_parent(select: &mut Select) {
    if let Some(Link {
        path: LinkPath::Column(at),
        limit: None,
        ..
    }) = select.link
    {
        let expr = Expr::Column(at);
        let (descending, nulls) = (false, Nulls::Last);
        select.order.insert(
            0,
            OrderBy {
                expr,
                descending,
                nulls,
            },
        );
    }
}

/// The parents' values without NULLs and duplicates, and how often those stand there that do so
/// more than once: a row that belongs to several parents is a parent itself several times.
fn distinct<'v>(parents: impl Iterator<Item = &'v Value>) -> (Vec<Value>, FxHashMap<Value, usize>) {
    let mut all: Vec<&Value> = parents.filter(|value| !value.is_null()).collect();
    all.sort_unstable();
    let mut copies = FxHashMap::default();
    let mut values = Vec::with_capacity(all.len());
    for same in all.chunk_by(|a, b| a == b) {
        if same.len() > 1 {
            copies.insert(same[0].clone(), same.len());
        }
        values.push(same[0].clone());
    }
    (values, copies)
}

/// The relations of one level, to be loaded together.
#[derive(Debug)]
pub struct Batch<'a> {
    loader: Loader<'a>,
    queries: Vec<(Select, Rows)>,
    error: Option<Error>,
}

/// Where a relation's rows are found in the [`Loaded`] batch.
#[derive(Debug)]
pub struct Slot<T>(Option<usize>, PhantomData<fn() -> T>);

impl<'a> Batch<'a> {
    /// Adds a relation of the parents with these linking values.
    pub fn add<'v, C: Load>(
        &mut self,
        relation: Relation<C>,
        parents: impl Iterator<Item = &'v Value>,
    ) -> Slot<C> {
        let mut columns = C::columns();
        // Every row brings its parent's value. Where that is one of its columns, once will do.
        let parent = match relation.path {
            Ok(LinkPath::Column(at)) if columns.len() > 1 => {
                columns.iter().position(|&column| column == at)
            }
            _ => None,
        };
        if let Some(at) = parent {
            columns.remove(at);
        }
        let output = columns.into_iter().map(Expr::Column).collect();
        let linked = |kind, copies| Linked::<C::Row> {
            parent,
            ..Linked::new(kind, copies, |row| C::decode(row, 0))
        };
        let sink = |kind, copies| Rows::new(linked(kind, copies));
        Slot(self.push(relation, parents, output, sink), PhantomData)
    }

    /// Adds a count of the related rows of each parent.
    pub fn add_count<'v, C: Load>(
        &mut self,
        relation: Relation<C>,
        parents: impl Iterator<Item = &'v Value>,
    ) -> Slot<u64> {
        let output = vec![Expr::Aggregate(Aggregate::Count, None)];
        let relation = Relation {
            shared: true,
            ..relation
        };
        let count = |row: &dyn Row| get::<i64>(row, 0).map(i64::unsigned_abs);
        let sink = |kind, copies| Rows::new(Linked::new(kind, copies, count));
        Slot(self.push(relation, parents, output, sink), PhantomData)
    }

    fn push<'v, C: Load>(
        &mut self,
        relation: Relation<C>,
        parents: impl Iterator<Item = &'v Value>,
        output: Vec<Expr>,
        sink: impl FnOnce(Kind, FxHashMap<Value, usize>) -> Rows,
    ) -> Option<usize> {
        let (parents, copies) = distinct(parents);
        if parents.is_empty() {
            self.error = self.error.take().or(relation.path.err());
            return None; // nobody to load for: no query
        }
        let copies = if relation.shared {
            FxHashMap::default()
        } else {
            copies
        };
        match relation.into_select(parents, output) {
            Ok((select, kind)) => {
                self.queries.push((select, sink(kind, copies)));
                Some(self.queries.len() - 1)
            }
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }

    /// Runs the queries, together where the engine can.
    ///
    /// # Errors
    /// `Misuse` for a relation that does not exist between the models; whatever a read can say.
    pub async fn run(self) -> Result<Loaded<'a>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Loader { db, timeout, site } = self.loader;
        for (select, _) in &self.queries {
            check::engine(db.capabilities(), select)?;
        }
        let answers = db.read_all(timeout, self.queries, site).await?;
        Ok(Loaded {
            loader: self.loader,
            answers: answers.into_iter().map(Some).collect(),
        })
    }
}

/// The rows of one level's relations.
#[derive(Debug)]
pub struct Loaded<'a> {
    loader: Loader<'a>,
    answers: Vec<Option<Rows>>,
}

impl Loaded<'_> {
    fn linked<T: Send + 'static>(&mut self, slot: Option<usize>) -> Result<(Vec<T>, Vec<Run>)> {
        match slot.and_then(|at| self.answers.get_mut(at)?.take()) {
            Some(rows) => {
                let linked = rows.into_sink::<Linked<T>>()?;
                Ok((linked.rows, linked.runs))
            }
            None => Ok((Vec::new(), Vec::new())),
        }
    }

    /// The relation's rows by parent, with their own relations loaded.
    pub async fn take<C: Load>(&mut self, slot: Slot<C>) -> Result<Children<C>> {
        let (rows, runs) = self.linked::<C::Row>(slot.0)?;
        let mut rows = C::finish(self.loader, rows).await?.into_iter();
        let mut children = Children {
            by_parent: FxHashMap::with_capacity_and_hasher(runs.len(), FxBuildHasher),
        };
        for Run {
            parent,
            copies,
            rows: length,
        } in runs
        {
            children.extend(parent, copies, rows.by_ref().take(length * copies));
        }
        Ok(children)
    }

    /// The relation's counts by parent.
    pub fn take_count(&mut self, slot: Slot<u64>) -> Result<Counts> {
        let (counts, runs) = self.linked::<u64>(slot.0)?;
        let parents = (runs.into_iter()).flat_map(|run| repeat_n(run.parent, run.rows));
        Ok(Counts {
            by_parent: parents.zip(counts).collect(),
        })
    }
}

/// The rows of one relation, by the parents' linking values: a set of them for each parent with
/// that value.
#[derive(Debug)]
pub struct Children<C> {
    by_parent: FxHashMap<Value, Sets<C>>,
}

/// The rows of a value's parents: of the first, and of the others, who have the same ones.
#[derive(Debug)]
struct Sets<C> {
    first: Vec<C>,
    others: Vec<Vec<C>>,
}

impl<C> Children<C> {
    /// Adds rows of a value: each of them so many times, for so many parents.
    fn extend(&mut self, parent: Value, copies: usize, mut rows: impl ExactSizeIterator<Item = C>) {
        if copies == 1 {
            match self.by_parent.entry(parent) {
                Entry::Vacant(place) => {
                    let (first, others) = (rows.collect(), Vec::new());
                    place.insert(Sets { first, others });
                }
                Entry::Occupied(place) => place.into_mut().first.extend(rows),
            }
            return;
        }
        let empty = || Sets {
            first: Vec::new(),
            others: Vec::new(),
        };
        let sets = self.by_parent.entry(parent).or_insert_with(empty);
        sets.others.resize_with(copies - 1, Vec::new);
        while let Some(row) = rows.next() {
            sets.first.push(row);
            for (other, row) in sets.others.iter_mut().zip(&mut rows) {
                other.push(row);
            }
        }
    }

    /// All rows of the next parent with this value, in order.
    pub fn many(&mut self, parent: &Value) -> Vec<C> {
        let Some(sets) = self.by_parent.get_mut(parent) else {
            return Vec::new();
        };
        let other = sets.others.pop();
        other.unwrap_or_else(|| std::mem::take(&mut sets.first))
    }

    /// The first row of the next parent with this value.
    pub fn one(&mut self, parent: &Value) -> Option<C> {
        self.many(parent).into_iter().next()
    }
}

impl<C: Clone> Children<C> {
    /// The row that several others may refer to.
    pub fn shared(&self, parent: &Value) -> Option<C> {
        self.by_parent.get(parent)?.first.first().cloned()
    }

    /// The row that must exist because a reference says so.
    ///
    /// # Errors
    /// `NotFound` if it does not: deleted between the two reads (load inside a transaction to
    /// see one state), or taken out by the relation's filter (make the field an `Option`).
    pub fn required(&self, parent: &Value, field: &'static str) -> Result<C> {
        self.shared(parent).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!(
                    "the row that `{field}` refers to is not there: make the field an Option, \
                     or load inside a transaction if rows are deleted meanwhile"
                ),
            )
        })
    }
}

/// The counts of one relation, by the parents' linking values.
#[derive(Debug)]
pub struct Counts {
    by_parent: FxHashMap<Value, u64>,
}

impl Counts {
    /// The count of this parent.
    pub fn get(&self, parent: &Value) -> u64 {
        self.by_parent.get(parent).copied().unwrap_or(0)
    }
}

/// Collects rows with the value of the parent they belong to, once for each parent with that value:
/// the row is decoded anew, so that nothing has to be `Clone`.
struct Linked<T> {
    kind: Kind,
    /// Where the parent's value stands among the row's columns, if it does.
    parent: Option<usize>,
    /// How many parents have a value, where it is more than one.
    copies: FxHashMap<Value, usize>,
    rows: Vec<T>,
    /// Whose the rows are, in order.
    runs: Vec<Run>,
    decode: fn(&dyn Row) -> Result<T>,
}

/// Rows of one parent that come one after the other; mostly all it has.
#[derive(Debug)]
struct Run {
    parent: Value,
    /// How many parents have this value; each row stands there so many times.
    copies: usize,
    rows: usize,
}

impl<T> Linked<T> {
    fn new(kind: Kind, copies: FxHashMap<Value, usize>, decode: fn(&dyn Row) -> Result<T>) -> Self {
        Self {
            kind,
            parent: None,
            copies,
            rows: Vec::new(),
            runs: Vec::new(),
            decode,
        }
    }
}

/// A row without its parent's value in front, which it has among its columns where it belongs.
struct Child<'a> {
    row: &'a dyn Row,
    parent: Option<usize>,
}

impl Child<'_> {
    fn position(&self, at: usize) -> usize {
        match self.parent {
            Some(parent) if at == parent => 0,
            Some(parent) if at > parent => at,
            _ => at + 1,
        }
    }
}

impl Row for Child<'_> {
    #[inline]
    fn value(&self, at: usize, kind: Kind) -> Result<ValueRef<'_>> {
        self.row.value(self.position(at), kind)
    }

    fn name(&self, at: usize) -> String {
        self.row.name(self.position(at))
    }
}

/// Whether two values are equal, without a copy for the kinds that keys mostly have.
fn is_same(value: &Value, other: ValueRef<'_>) -> bool {
    match (value, other) {
        (Value::Int(a), ValueRef::Int(b)) => *a == b,
        (Value::Text(a), ValueRef::Text(b)) => a == b,
        (Value::Uuid(a), ValueRef::Uuid(b)) => *a == b,
        (value, other) => *value == other.to_value(),
    }
}

impl<T: Send + 'static> Sink for Linked<T> {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        let parent = row.value(0, self.kind)?;
        let copies = match self.runs.last_mut() {
            Some(run) if is_same(&run.parent, parent) => {
                run.rows += 1;
                run.copies
            }
            _ => {
                let parent = parent.to_value();
                let copies = self.copies.get(&parent).copied().unwrap_or(1);
                self.runs.push(Run {
                    parent,
                    copies,
                    rows: 1,
                });
                copies
            }
        };
        let child = Child {
            row,
            parent: self.parent,
        };
        for _ in 0..copies {
            self.rows.push((self.decode)(&child)?);
        }
        Ok(Flow::More)
    }

    fn restart(&mut self) -> bool {
        self.rows.clear();
        self.runs.clear();
        true
    }
}
