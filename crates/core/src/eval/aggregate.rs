//! Aggregate functions, fed row by row: [`Accumulator`].

use rust_decimal::Decimal;
use rustc_hash::FxHashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::schema::Table;
use crate::select::Aggregate;
use crate::value::{Kind, Value};

/// One aggregate of one group, so far.
#[derive(Debug)]
pub(super) struct Accumulator {
    table: &'static Table,
    function: Aggregate,
    column: Option<usize>,
    /// How many rows, or values that are not NULL.
    count: i64,
    total: Total,
}

#[derive(Debug)]
enum Total {
    Nothing,
    Distinct(FxHashSet<Value>),
    /// Wide enough for `i64::MAX` values of `i64::MAX`: only the final sum can be out of range.
    Int(i128),
    /// With what rounding has lost so far (Neumaier), so that the order hardly matters.
    Float {
        sum: f64,
        lost: f64,
    },
    Decimal(Decimal),
    Best(Value),
}

impl Accumulator {
    /// # Errors
    /// `Misuse` if the function does not apply to the column.
    pub(super) fn new(
        table: &'static Table,
        function: Aggregate,
        column: Option<usize>,
    ) -> Result<Self> {
        let kind = column.map(|at| table.columns[at].kind);
        let total = match (function, kind) {
            (Aggregate::Count, _) => Total::Nothing,
            (Aggregate::CountDistinct, Some(_)) => Total::Distinct(FxHashSet::default()),
            (Aggregate::Min | Aggregate::Max, Some(_)) => Total::Best(Value::Null),
            (Aggregate::Sum | Aggregate::Avg, Some(kind)) if kind.is_integer() => Total::Int(0),
            (Aggregate::Sum | Aggregate::Avg, Some(Kind::F32 | Kind::F64)) => Total::Float {
                sum: 0.0,
                lost: 0.0,
            },
            (Aggregate::Sum | Aggregate::Avg, Some(Kind::Decimal)) => Total::Decimal(Decimal::ZERO),
            (function, _) => {
                let what = kind.map_or("rows", Kind::name);
                return Err(
                    Error::misuse(format!("{function:?} does not apply to {what}"))
                        .with_table(table.name),
                );
            }
        };
        Ok(Self {
            table,
            function,
            column,
            count: 0,
            total,
        })
    }

    pub(super) fn add(&mut self, row: &[Value]) -> Result<()> {
        let Some(at) = self.column else {
            self.count += 1;
            return Ok(());
        };
        let value = &row[at];
        if value.is_null() {
            return Ok(());
        }
        self.count += 1;
        match (&mut self.total, value) {
            (Total::Nothing, _) => {}
            (Total::Distinct(seen), value) => {
                if !seen.contains(value) {
                    seen.insert(value.clone());
                }
            }
            (Total::Int(sum), Value::Int(v)) => *sum += i128::from(*v),
            (Total::Float { sum, lost }, Value::Float(v)) => add_float(sum, lost, *v),
            (Total::Decimal(sum), Value::Decimal(v)) => match add_decimals(*sum, *v) {
                Some(exact) => *sum = exact,
                None => return Err(self.overflow("the sum of decimals needs more than 28 digits")),
            },
            (Total::Best(best), value) => {
                let better = match self.function {
                    Aggregate::Min => value < best,
                    _ => value > best,
                };
                if best.is_null() || better {
                    *best = value.clone();
                }
            }
            _ => {
                return Err(
                    Error::decode("the stored value is not of the column's kind")
                        .or_column(self.table.name, self.table.columns[at].name),
                );
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Value> {
        let Self {
            function,
            count,
            ref total,
            ..
        } = self;
        if count == 0 && !matches!(function, Aggregate::Count | Aggregate::CountDistinct) {
            return Ok(Value::Null);
        }
        match (function, total) {
            (_, Total::Nothing) => Ok(Value::Int(count)),
            (_, Total::Distinct(seen)) => Ok(Value::Int(seen.len() as i64)),
            (Aggregate::Avg, Total::Int(sum)) => Ok(Value::Float(*sum as f64 / count as f64)),
            (_, Total::Int(sum)) => i64::try_from(*sum)
                .map(Value::Int)
                .map_err(|_| self.overflow("integer overflow in sum")),
            (function, Total::Float { sum, lost }) => {
                let sum = sum + lost;
                let value = if function == Aggregate::Avg {
                    sum / count as f64
                } else {
                    sum
                };
                if !value.is_finite() {
                    return Err(self.overflow("float overflow in sum"));
                }
                Ok(Value::Float(value + 0.0)) // no negative zero
            }
            (Aggregate::Avg, Total::Decimal(sum)) => match sum.checked_div(Decimal::from(count)) {
                Some(average) => Ok(Value::Decimal(average)),
                None => Err(self.overflow("decimal overflow in average")),
            },
            (_, Total::Decimal(sum)) => Ok(Value::Decimal(*sum)),
            (_, Total::Best(best)) => Ok(best.clone()),
        }
    }

    #[cold]
    fn overflow(&self, message: &'static str) -> Error {
        let error = Error::new(ErrorKind::Engine, message);
        match self.column {
            Some(at) => error.or_column(self.table.name, self.table.columns[at].name),
            None => error.with_table(self.table.name),
        }
    }
}

fn add_float(sum: &mut f64, lost: &mut f64, v: f64) {
    let next = *sum + v;
    *lost += if sum.abs() >= v.abs() {
        (*sum - next) + v
    } else {
        (v - next) + *sum
    };
    *sum = next;
}

/// The exact sum, or `None` where it needs more digits than a decimal has.
pub(super) fn add_decimals(a: Decimal, b: Decimal) -> Option<Decimal> {
    let mut sum = a.checked_add(b)?;
    // The addition rounds where the digits do not suffice; taking the larger one away again shows
    // it, whichever that is.
    if sum.checked_sub(a)? != b || sum.checked_sub(b)? != a {
        return None;
    }
    if sum.is_zero() {
        sum.set_sign_positive(true); // no engine keeps a negative zero
    }
    Some(sum)
}
