//! Values on the way to and from PostgreSQL. Written by hand for the few types of
//! our columns: a batch sends thousands, and a calendar in between would cost
//! more than the rest of the batch.

use std::error::Error;

use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::{ToSpan as _, civil::Date};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::model::Millis;

/// Milliseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_MS: i64 = 946_684_800_000;
/// Days from 1970 to 2000.
const EPOCH_DAYS: i64 = 10_957;
/// What a timestamp column can hold is wider than this (year 4714 before to
/// 294276); instants of the product are cut to the years 1 to 9999, which every
/// tool can show.
const INSTANTS_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// One parameter of a statement.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Small(i16),
    Int(i32),
    Big(i64),
    Text(String),
    Name(&'static str),
    Bytes(Bytes),
    Uuid([u8; 16]),
    /// An instant; one outside of the years 1 to 9999 is cut.
    At(Millis),
    /// Days since 1970.
    Day(i64),
    Uuids(Vec<[u8; 16]>),
    ManyBytes(Vec<Vec<u8>>),
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Value::Null => return Ok(IsNull::Yes),
            Value::Flag(flag) => out.put_u8(u8::from(*flag)),
            Value::Small(value) => out.put_i16(*value),
            Value::Int(value) => out.put_i32(*value),
            Value::Big(value) => out.put_i64(*value),
            Value::Text(text) => out.put_slice(text.as_bytes()),
            Value::Name(text) => out.put_slice(text.as_bytes()),
            Value::Bytes(bytes) => out.put_slice(bytes),
            Value::Uuid(bytes) => out.put_slice(bytes),
            Value::At(ms) => out.put_i64((bounded(*ms) - EPOCH_MS) * 1_000),
            Value::Day(days) => out.put_i32(i32::try_from(days - EPOCH_DAYS)?),
            Value::Uuids(uuids) => return uuids.iter().map(Uuid::of).collect::<Vec<_>>().to_sql(ty, out),
            Value::ManyBytes(many) => return many.to_sql(ty, out),
        }
        Ok(IsNull::No)
    }

    // Checked by every statement's test: a wrong width is refused by the server.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn bounded(ms: Millis) -> Millis {
    ms.clamp(*INSTANTS_MS.start(), *INSTANTS_MS.end())
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl Value {
    /// A count or a step; the schema has no unsigned numbers.
    pub(super) fn count(number: u64) -> Self {
        Value::Big(i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(super) fn step(step: u32) -> Self {
        Value::Int(i32::try_from(step).unwrap_or(i32::MAX))
    }

    /// Sixteen bytes, or null.
    pub(super) fn uuid_of(bytes: &[u8]) -> Self {
        bytes.try_into().map_or(Value::Null, Value::Uuid)
    }
}

/// Sixteen bytes in a column of type uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Uuid(pub(super) [u8; 16]);

impl Uuid {
    fn of(bytes: &[u8; 16]) -> Self {
        Uuid(*bytes)
    }
}

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Uuid(raw.try_into()?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}

/// An instant in a column of type timestamptz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At(pub(super) Millis);

impl<'a> FromSql<'a> for At {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(At(micros.div_euclid(1_000) + EPOCH_MS))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// Days since 1970 in a column of type date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day(pub(super) i64);

impl Day {
    /// The number of a date's day.
    pub(super) fn of(date: Date) -> Self {
        Day(i64::from((date - Date::constant(1970, 1, 1)).get_days()))
    }

    /// The date; one beyond the calendar is its last.
    pub(super) fn date(self) -> Date {
        Date::constant(1970, 1, 1).checked_add(self.0.days()).unwrap_or(Date::MAX)
    }
}

impl<'a> FromSql<'a> for Day {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Day(i64::from(i32::from_be_bytes(raw.try_into()?)) + EPOCH_DAYS))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::DATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_come_back_and_those_beyond_every_calendar_are_cut() {
        for (ms, back) in [
            (0, 0),
            (-1, -1),
            (1_790_000_000_123, 1_790_000_000_123),
            (i64::MAX, *INSTANTS_MS.end()),
            (i64::MIN, *INSTANTS_MS.start()),
        ] {
            let mut out = BytesMut::new();
            Value::At(ms).to_sql(&Type::TIMESTAMPTZ, &mut out).expect("written");
            assert_eq!(At::from_sql(&Type::TIMESTAMPTZ, &out).expect("read"), At(back), "{ms}");
        }
    }
}
