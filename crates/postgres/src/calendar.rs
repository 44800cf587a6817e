//! Instants and days as PostgreSQL counts them: from 2000-01-01.
//!
//! PostgreSQL's calendar begins on 24 November 4714 BC and keeps two values of its own at the
//! ends, `-infinity` and `infinity`, which are no instants.

use std::time::Duration;

use larder_core::{Date, Timestamp};

/// 2000-01-01T00:00:00Z, in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH: Date = Date::constant(2000, 1, 1);
const DAY_SECONDS: i64 = 86_400;
/// The first day that PostgreSQL keeps, in days since 2000.
const FIRST_DAY: i64 = -2_451_545;
const FIRST_MICROS: i64 = FIRST_DAY * DAY_SECONDS * 1_000_000;

/// Microseconds since 2000; `None` before PostgreSQL's first day.
pub(crate) fn micros(at: Timestamp) -> Option<i64> {
    let micros = at.as_micros() - EPOCH_MICROS; // far from the ends of i64
    (micros >= FIRST_MICROS).then_some(micros)
}

/// The instant so many microseconds after 2000; `None` for the infinities and for years that
/// Larder does not keep.
pub(crate) fn timestamp(micros: i64) -> Option<Timestamp> {
    if matches!(micros, i64::MIN | i64::MAX) {
        return None;
    }
    Timestamp::from_micros(micros.checked_add(EPOCH_MICROS)?).ok()
}

/// Days since 2000; `None` before PostgreSQL's first day.
pub(crate) fn days(date: Date) -> Option<i32> {
    let days = date.duration_since(EPOCH).as_secs() / DAY_SECONDS;
    (days >= FIRST_DAY).then_some(days as i32)
}

/// The day so many days after 2000; `None` for the infinities and for years that Larder does not
/// keep.
pub(crate) fn date(days: i32) -> Option<Date> {
    // Dates add up to as many days as there are on either side of 1970.
    let since_1970 = i64::from(days) + EPOCH_MICROS / 1_000_000 / DAY_SECONDS;
    let distance = Duration::from_secs(since_1970.unsigned_abs() * DAY_SECONDS.unsigned_abs());
    if since_1970 < 0 {
        Date::constant(1970, 1, 1).checked_sub(distance).ok()
    } else {
        Date::constant(1970, 1, 1).checked_add(distance).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::BytesMut;
    use proptest::prelude::*;
    use tokio_postgres::types::{ToSql, Type};

    use super::*;

    #[test]
    fn days_are_counted_from_2000() {
        for (text, number) in [
            ("2000-01-01", 0),
            ("1999-12-31", -1),
            ("1970-01-01", -10_957),
            ("2000-02-29", 59),
            ("-004713-11-24", -2_451_545),
            ("9999-12-31", 2_921_939),
        ] {
            let day: Date = text.parse().expect("a date");
            assert_eq!(
                (days(day), date(number)),
                (Some(number), Some(day)),
                "{text}"
            );
        }
        assert_eq!(date(-4_382_544), Some(Date::MIN));
        for outside in [i32::MIN, i32::MAX, -4_382_545, 2_921_940] {
            assert_eq!(date(outside), None, "{outside}");
        }
        for early in ["-004713-11-23", "-009999-01-01"] {
            assert_eq!(days(early.parse().expect("a date")), None, "{early}");
        }
    }

    #[test]
    fn infinities_are_no_instants() {
        for outside in [i64::MIN, i64::MAX, i64::MIN + 1, i64::MAX - 1] {
            assert_eq!(timestamp(outside), None, "{outside}");
        }
        let first: Timestamp = "-004713-11-24T00:00:00Z".parse().expect("a timestamp");
        assert_eq!(micros(first), Some(-211_813_488_000_000_000));
        assert_eq!(micros(first.saturating_sub(Duration::from_micros(1))), None);
    }

    proptest! {
        #[test]
        fn dates_come_back(number in -2_451_545..=2_921_939_i32) {
            prop_assert_eq!(date(number).and_then(days), Some(number));
        }

        #[test]
        fn timestamps_come_back(number in FIRST_MICROS..252_455_616_000_000_000_i64) {
            prop_assert_eq!(timestamp(number).and_then(micros), Some(number));
        }

        #[test]
        fn the_driver_counts_alike(since_1970 in 0..253_370_764_800_000_000_u64) {
            let system = SystemTime::UNIX_EPOCH + Duration::from_micros(since_1970);
            let mut expected = BytesMut::new();
            system.to_sql(&Type::TIMESTAMPTZ, &mut expected).expect("an instant");
            let at = Timestamp::from_micros(since_1970 as i64).expect("before the year 10000");
            let counted = micros(at).expect("after the first day");
            prop_assert_eq!(&expected[..], counted.to_be_bytes());
        }
    }
}
