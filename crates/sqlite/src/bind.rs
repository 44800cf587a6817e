//! Binds a query's parameters to a prepared statement.

use std::rc::Rc;

use larder_core::{Date, Value};
use larder_sql::Param;
use rusqlite::Statement;
use rusqlite::types::{ToSql, ToSqlOutput, Value as SqlValue, ValueRef as SqlRef};

/// Binds the parameters one after the other.
pub(crate) struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    next: usize,
}

impl<'a, 'c> Binder<'a, 'c> {
    /// Starts with the first placeholder.
    pub(crate) fn new(statement: &'a mut Statement<'c>) -> Self {
        Self { statement, next: 1 }
    }

    /// Binds the next placeholder.
    pub(crate) fn bind(&mut self, param: &Param<'_>) -> rusqlite::Result<()> {
        let at = self.next;
        self.next += 1;
        match param {
            Param::Value(value, _) => self.statement.raw_bind_parameter(at, Bound(value)),
            Param::Number(number) => self.statement.raw_bind_parameter(at, *number),
            Param::Text(text) => self.statement.raw_bind_parameter(at, text.as_ref()),
            Param::List(values, _) => self.statement.raw_bind_parameter(at, list(values)),
            Param::Column(values, step, _) => {
                let column: Vec<SqlValue> = values.iter().step_by(*step).map(owned).collect();
                self.statement.raw_bind_parameter(at, Rc::new(column))
            }
        }
    }
}

fn list(values: &[Value]) -> Rc<Vec<SqlValue>> {
    Rc::new(values.iter().map(owned).collect())
}

/// A core value as SQLite keeps it.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Text(v) => ToSqlOutput::Borrowed(SqlRef::Text(v.as_bytes())),
            Value::Json(v) => ToSqlOutput::Borrowed(SqlRef::Text(v.as_bytes())),
            Value::Bytes(v) => ToSqlOutput::Borrowed(SqlRef::Blob(v)),
            Value::Uuid(v) => ToSqlOutput::Borrowed(SqlRef::Blob(v.as_bytes())),
            Value::Int(v) => ToSqlOutput::Borrowed(SqlRef::Integer(*v)),
            other => ToSqlOutput::Owned(owned(other)),
        })
    }
}

/// A core value as SQLite keeps it: see the table in the crate's documentation.
fn owned(value: &Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Bool(v) => SqlValue::Integer(i64::from(*v)),
        Value::Int(v) => SqlValue::Integer(*v),
        Value::Float(v) => SqlValue::Real(*v),
        Value::Text(v) => SqlValue::Text(v.clone().into_owned()),
        Value::Json(v) => SqlValue::Text(v.clone()),
        Value::Bytes(v) => SqlValue::Blob(v.clone()),
        Value::Timestamp(v) => SqlValue::Integer(v.as_micros()),
        Value::Date(v) => SqlValue::Integer(days(*v)),
        Value::Uuid(v) => SqlValue::Blob(v.as_bytes().to_vec()),
        Value::Decimal(v) => SqlValue::Text(v.to_string()),
    }
}

/// Days since 1970-01-01, negative before.
///
/// The algorithm is Howard Hinnant's `days_from_civil` ("chrono-Compatible Low-Level Date
/// Algorithms"), for the proleptic Gregorian calendar.
pub(crate) fn days(date: Date) -> i64 {
    let (month, day) = (i64::from(date.month()), i64::from(date.day()));
    let year = i64::from(date.year()) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date so many days after 1970-01-01; `None` outside the years -9999 to 9999.
///
/// The inverse of [`days`], from the same source (`civil_from_days`).
pub(crate) fn date(days: i64) -> Option<Date> {
    let shifted = days.checked_add(719_468)?;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Date::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_the_epoch() {
        for (text, number) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("-009999-01-01", -4_371_587),
            ("9999-12-31", 2_932_896),
        ] {
            let day: Date = text.parse().expect("a date");
            assert_eq!((days(day), date(number)), (number, Some(day)), "{text}");
        }
        assert_eq!(date(2_932_897), None);
        assert_eq!(date(i64::MAX), None);
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for number in (-4_371_587..=2_932_896).step_by(97) {
            assert_eq!(date(number).map(days), Some(number));
        }
    }
}
