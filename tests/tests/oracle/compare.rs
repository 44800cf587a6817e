//! One store in a case, and what must be the same of two.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use larder_core::select::OrderBy;
use larder_core::write::WriteOp;
use larder_core::{
    Error, ErrorKind, Expr, Flow, Kind, Nulls, Output, Result, Row, Rows, Select, Sink, Storage,
    Table, Transaction, TxOptions, Value, Write,
};

use crate::keys::Keys;
use crate::operations::Op;
use crate::tables::Schema;

type Values = Vec<Value>;

/// A store and the transactions that are open on it, the innermost last.
pub(crate) struct Side {
    name: &'static str,
    store: Arc<dyn Storage>,
    open: Vec<Box<dyn Transaction>>,
    /// Those that are to be taken back by hand.
    keys: Option<Keys>,
    /// Whether two spellings of a JSON value are the same.
    by_meaning: bool,
}

/// What an operation answers.
pub(crate) enum Answer {
    Rows(Vec<Values>),
    Written(u64, Vec<Values>),
    Done,
    Failed {
        kind: ErrorKind,
        table: Option<String>,
        columns: Vec<String>,
        text: String,
    },
}

/// A difference, as text.
pub(crate) struct Mismatch(String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rows of every table by the table's name, in the order of their keys.
pub(crate) struct Dump(HashMap<&'static str, Vec<Values>>);

impl Dump {
    pub(crate) fn rows(&self, table: &Table) -> &[Values] {
        self.0.get(table.name).map_or(&[], Vec::as_slice)
    }
}

impl Side {
    pub(crate) fn new(name: &'static str, store: Arc<dyn Storage>) -> Self {
        Self {
            name,
            store,
            open: Vec::new(),
            keys: None,
            by_meaning: false,
        }
    }

    /// Has JSON values compared by what they mean.
    pub(crate) fn by_meaning(mut self) -> Self {
        self.by_meaning = true;
        self
    }

    /// Takes back the keys of writes that failed or were rolled back.
    pub(crate) fn taking_back(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// How many transactions are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    fn top(&self) -> &dyn Storage {
        self.open
            .last()
            .map_or(&*self.store, |open| &**open as &dyn Storage)
    }

    pub(crate) async fn run(&mut self, op: &Op) -> Result<Answer> {
        let Some(mut keys) = self.keys.take() else {
            return Ok(self.answer(op).await);
        };
        let before = keys.positions().await?;
        let answer = self.answer(op).await;
        match (op, &answer) {
            (_, Answer::Failed { .. }) => keys.go_back(&before).await?,
            (Op::Begin, _) => keys.begin().await?,
            (Op::Commit, _) => keys.end(true).await?,
            (Op::Rollback | Op::Abandon, _) => keys.end(false).await?,
            _ => {}
        }
        self.keys = Some(keys);
        Ok(answer)
    }

    async fn answer(&mut self, op: &Op) -> Answer {
        self.try_run(op)
            .await
            .unwrap_or_else(|error| Answer::of(&error))
    }

    async fn try_run(&mut self, op: &Op) -> Result<Answer> {
        match op {
            Op::Read(select) => {
                let rows = Rows::new(Collect::of_select(select));
                let rows = self.top().read(select.clone(), rows).await?;
                Ok(Answer::Rows(
                    rows.into_sink::<Collect>()?.rows(self.by_meaning),
                ))
            }
            Op::Write(write) => {
                let rows = Rows::new(Collect::of_write(write));
                let (written, rows) = self.top().write(write.clone(), rows).await?;
                Ok(Answer::Written(
                    written.rows,
                    rows.into_sink::<Collect>()?.rows(self.by_meaning),
                ))
            }
            Op::Begin => {
                let open = self.top().begin(TxOptions::new()).await?;
                self.open.push(open);
                Ok(Answer::Done)
            }
            Op::Commit => match self.open.pop() {
                Some(open) => open.commit().await.map(|()| Answer::Done),
                None => Ok(Answer::Done),
            },
            Op::Rollback => match self.open.pop() {
                Some(open) => open.rollback().await.map(|()| Answer::Done),
                None => Ok(Answer::Done),
            },
            Op::Abandon => {
                self.open.pop();
                Ok(Answer::Done)
            }
        }
    }

    pub(crate) async fn close(mut self) -> Result<()> {
        while self.open.pop().is_some() {}
        self.store.close().await
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows:?}"),
            Self::Written(count, rows) => write!(f, "{count} written: {rows:?}"),
            Self::Done => f.write_str("done"),
            Self::Failed { text, .. } => f.write_str(text),
        }
    }
}

impl Answer {
    fn of(error: &Error) -> Self {
        Self::Failed {
            kind: error.kind(),
            table: error.table().map(ToOwned::to_owned),
            columns: error.columns().map(ToOwned::to_owned).collect(),
            text: format!("{error:?}"),
        }
    }
}

/// Everything that the store holds, as the innermost transaction sees it.
pub(crate) async fn dump(side: &Side, schema: &Schema) -> Result<Dump> {
    let mut tables = HashMap::new();
    for table in schema.tables() {
        let mut select = Select::new(table);
        select.order = (table.key.iter())
            .map(|&at| OrderBy {
                expr: Expr::Column(at),
                descending: false,
                nulls: Nulls::Last,
            })
            .collect();
        let rows = Rows::new(Collect::of_select(&select));
        let rows = side.top().read(select, rows).await?;
        let rows = rows.into_sink::<Collect>()?.rows(side.by_meaning);
        tables.insert(table.name, rows);
    }
    Ok(Dump(tables))
}

/// Compares what two stores hold.
pub(crate) fn dumps(
    expected: &Dump,
    found: &Dump,
    schema: &Schema,
    name: &str,
) -> Result<(), Mismatch> {
    for table in schema.tables() {
        let (expected, found) = (expected.rows(table), found.rows(table));
        if !same_rows(expected, found) {
            return Err(Mismatch(format!(
                "`{}` differs afterwards\n  memory: {}\n  {name}: {}",
                table.name,
                differing(expected, found),
                differing(found, expected)
            )));
        }
    }
    Ok(())
}

fn differing(rows: &[Values], others: &[Values]) -> String {
    let only: Vec<&Values> = rows.iter().filter(|row| !others.contains(row)).collect();
    format!("{} rows, of which only here {only:?}", rows.len())
}

/// Compares what two stores answered.
pub(crate) fn answers(
    op: &Op,
    expected: &Answer,
    found: &Answer,
    name: &str,
) -> Result<(), Mismatch> {
    let same = match (op, expected, found) {
        (Op::Read(select), Answer::Rows(a), Answer::Rows(b)) => same_answer(select, a, b),
        (_, Answer::Written(n, a), Answer::Written(m, b)) => n == m && same_rows(a, b),
        (_, Answer::Done, Answer::Done) => true,
        (
            op,
            Answer::Failed {
                kind,
                table,
                columns,
                ..
            },
            Answer::Failed {
                kind: other,
                table: its_table,
                columns: its_columns,
                ..
            },
        ) => match op {
            Op::Write(write) => {
                let named = !is_rule(*other) || !its_columns.is_empty();
                let exact = table == its_table && columns == its_columns || !is_rule(*kind);
                named && (kind == other && exact || ambiguous(write, *kind, *other))
            }
            _ => kind == other,
        },
        _ => false,
    };
    if same {
        return Ok(());
    }
    Err(Mismatch(format!(
        "answers differ\n  memory: {expected}\n  {name}: {found}"
    )))
}

/// Whether a write can break several rules at once, of which a store names the one it finds first:
/// rows are taken in any order, and so are the keys and the references of a row.
fn ambiguous(write: &Write, one: ErrorKind, other: ErrorKind) -> bool {
    let table = write.table();
    let single = match &write.op {
        WriteOp::Insert(insert) => insert.rows().len() == 1,
        WriteOp::UpdateRows(update) => update.rows().len() == 1,
        _ => false,
    };
    if !single {
        return is_rule(one) && is_rule(other);
    }
    let several = match one {
        ErrorKind::Unique => table.uniques.len(),
        ErrorKind::Reference => table
            .columns
            .iter()
            .filter(|c| c.references.is_some())
            .count(),
        ErrorKind::NotNull => table.columns.len(),
        _ => 1,
    };
    one == other && several > usize::from(one != ErrorKind::Unique)
}

/// Whether the error is one of a rule of the model, which it must name.
fn is_rule(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unique | ErrorKind::Reference | ErrorKind::NotNull | ErrorKind::Invalid
    )
}

/// Rows in the same order where one was asked for, in any order otherwise.
fn same_answer(select: &Select, a: &[Values], b: &[Values]) -> bool {
    let sorted = |rows: &[Values]| {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows
    };
    if !same_rows(&sorted(a), &sorted(b)) {
        return false;
    }
    // Where the values ordered by are in the output, they must come in the same order.
    let link = usize::from(select.link.is_some());
    let at: Vec<usize> = (select.order.iter())
        .map_while(|by| {
            (0..)
                .map_while(|at| select.expr(at))
                .position(|expr| expr == by.expr)
        })
        .map(|at| at + link)
        .collect();
    a.iter()
        .zip(b)
        .all(|(a, b)| at.iter().all(|&at| same_value(&a[at], &b[at])))
}

fn same_rows(a: &[Values], b: &[Values]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b)))
}

/// Floats that were added up in another order may differ in the last digits.
fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => {
            a.to_bits() == b.to_bits() || (a - b).abs() <= a.abs().max(b.abs()) * 1e-12
        }
        _ => a == b,
    }
}

/// Writes JSON in one way, whatever it was written in.
fn spell_alike(value: &mut Value) {
    if let Value::Json(text) = value
        && let Ok(parsed) = serde_json::from_str::<serde_json::Value>(text)
    {
        *text = parsed.to_string();
    }
}

/// Keeps every row's values.
struct Collect {
    kinds: Vec<Kind>,
    rows: Vec<Values>,
}

impl Collect {
    fn of_select(select: &Select) -> Self {
        let parent = select.link.as_ref().map(|link| link.kind(select.table));
        let own = (0..)
            .map_while(|at| select.expr(at))
            .map(|expr| expr.kind(select.table));
        Self {
            kinds: parent.into_iter().chain(own).collect(),
            rows: Vec::new(),
        }
    }

    fn rows(mut self, by_meaning: bool) -> Vec<Values> {
        if by_meaning {
            self.rows.iter_mut().flatten().for_each(spell_alike);
        }
        self.rows
    }

    fn of_write(write: &Write) -> Self {
        let mut select = Select::new(write.table());
        select.output = match &write.returning {
            Some(output) => output.clone(),
            None => Output::Exprs(Vec::new()),
        };
        Self::of_select(&select)
    }
}

impl Sink for Collect {
    fn row(&mut self, row: &dyn Row) -> Result<Flow> {
        let values = self.kinds.iter().enumerate();
        let values =
            values.map(|(at, &kind)| row.value(at, kind).map(larder_core::ValueRef::to_value));
        self.rows.push(values.collect::<Result<_>>()?);
        Ok(Flow::More)
    }

    fn restart(&mut self) -> bool {
        self.rows.clear();
        true
    }
}

// A sink is found again by its type.
const _: fn(&Collect) -> &dyn Any = |collect| collect;
