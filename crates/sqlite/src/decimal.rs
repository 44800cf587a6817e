//! Decimals as text: an exact order, an exact sum, an average.

use std::cmp::Ordering;
use std::panic::{RefUnwindSafe, UnwindSafe};

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};
use rust_decimal::Decimal;

/// The collation that orders decimal text by value.
pub(crate) const COLLATION: &str = "LARDER_DECIMAL";

/// Adds the collation `LARDER_DECIMAL` and the aggregates `larder_decimal_sum(text)` and
/// `larder_decimal_avg(text)` to a connection.
pub(crate) fn register(connection: &Connection) -> Result<()> {
    connection.create_collation(COLLATION, compare)?;
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_aggregate_function("larder_decimal_sum", 1, flags, Sum)?;
    connection.create_aggregate_function("larder_decimal_avg", 1, flags, Average)
}

/// Orders two texts by the decimals they hold, whatever their length: `1.0` equals `1.00`, and
/// `-0` equals `0`. Texts that are no decimals come after those that are, in byte order, so that
/// this is a total order and an index may use it.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    match (Digits::parse(left), Digits::parse(right)) {
        (Some(left), Some(right)) => left.compare(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.as_bytes().cmp(right.as_bytes()),
    }
}

/// A decimal in text, without the zeros that do not count.
struct Digits<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Digits<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let any = !(whole.is_empty() && fraction.is_empty());
        (any && all_digits(whole) && all_digits(fraction)).then(|| {
            let whole = whole.trim_start_matches('0');
            let fraction = fraction.trim_end_matches('0');
            Self {
                negative: negative && !(whole.is_empty() && fraction.is_empty()),
                whole,
                fraction,
            }
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.compare_size(other),
            (true, true) => other.compare_size(self),
        }
    }

    fn compare_size(&self, other: &Self) -> Ordering {
        // More digits before the point is larger; else digit by digit. A fraction that is the
        // beginning of another is smaller, which is what comparing text says too.
        (self.whole.len().cmp(&other.whole.len()))
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.fraction.cmp(other.fraction))
    }
}

/// The sum, or `None` where it needs more digits than a decimal has.
pub(crate) fn add_exactly(left: Decimal, right: Decimal) -> Option<Decimal> {
    let mut sum = left.checked_add(right)?;
    // The addition rounds where the digits do not suffice; taking the larger one away again shows
    // it, whichever that is.
    if sum.checked_sub(left)? != right || sum.checked_sub(right)? != left {
        return None;
    }
    if sum.is_zero() {
        sum.set_sign_positive(true);
    }
    Some(sum)
}

struct Sum;
struct Average;

/// The sum so far, and of how many values. NULL counts for neither.
#[derive(Default)]
struct Total {
    sum: Decimal,
    count: u64,
}

impl Total {
    fn add(&mut self, context: &Context<'_>) -> Result<()> {
        let value = match context.get_raw(0) {
            ValueRef::Null => return Ok(()),
            ValueRef::Integer(value) => Decimal::from(value),
            ValueRef::Text(text) => std::str::from_utf8(text)
                .map_err(|error| Error::UserFunctionError(error.into()))
                .and_then(exact)?,
            other => return Err(Error::InvalidFunctionParameterType(0, other.data_type())),
        };
        self.sum = add_exactly(self.sum, value).ok_or_else(overflow)?;
        self.count += 1;
        Ok(())
    }
}

fn exact(text: &str) -> Result<Decimal> {
    Decimal::from_str_exact(text).map_err(|error| Error::UserFunctionError(error.into()))
}

fn overflow() -> Error {
    Error::UserFunctionError(rust_decimal::Error::ExceedsMaximumPossibleValue.into())
}

impl Aggregate<Total, Option<String>> for Sum {
    fn init(&self, _: &mut Context<'_>) -> Result<Total> {
        Ok(Total::default())
    }

    fn step(&self, context: &mut Context<'_>, total: &mut Total) -> Result<()> {
        total.add(context)
    }

    fn finalize(&self, _: &mut Context<'_>, total: Option<Total>) -> Result<Option<String>> {
        let total = total.filter(|total| total.count > 0);
        Ok(total.map(|total| total.sum.to_string()))
    }
}

impl Aggregate<Total, Option<String>> for Average {
    fn init(&self, _: &mut Context<'_>) -> Result<Total> {
        Ok(Total::default())
    }

    fn step(&self, context: &mut Context<'_>, total: &mut Total) -> Result<()> {
        total.add(context)
    }

    fn finalize(&self, _: &mut Context<'_>, total: Option<Total>) -> Result<Option<String>> {
        let Some(total) = total.filter(|total| total.count > 0) else {
            return Ok(None);
        };
        let average = total.sum.checked_div(Decimal::from(total.count));
        Ok(Some(average.ok_or_else(overflow)?.normalize().to_string()))
    }
}

// rusqlite wants the accumulator to survive an unwinding step; it is plain data.
const _: fn() = || {
    fn holds<T: UnwindSafe + RefUnwindSafe>() {}
    holds::<Total>();
};
