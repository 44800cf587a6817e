//! [`At`]: an instant as the driver takes and gives it.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use larder_core::Timestamp;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// An instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub(super) Timestamp);

impl At {
    pub(super) fn now() -> Self {
        Self(Timestamp::now())
    }

    pub(super) fn of_micros(micros: i64) -> Self {
        Self(Timestamp::from_micros(micros).expect("a stored instant"))
    }
}

impl ToSql for At {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0.as_micros() - EPOCH_MICROS);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for At {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(Timestamp::from_micros(micros + EPOCH_MICROS)?))
    }

    accepts!(TIMESTAMPTZ);
}
