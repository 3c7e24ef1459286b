//! Days: of birth, of a card, of business.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};

use crate::model::{BadId, Millis};

use super::region::bcd;

/// Business is done on Shanghai time. China has kept +08:00 without summer time
/// since September 1991 and the gateway knows no earlier instants, so a fixed
/// offset gives the same days as the time zone database, without its lookup and
/// without depending on which database a machine has.
const SHANGHAI: Offset = Offset::constant(8);

/// The business date of an instant: the day in Asia/Shanghai. Instants beyond the
/// calendar are taken as its first or last.
pub fn business_date(at_ms: Millis) -> Date {
    local_time(at_ms).date()
}

/// The wall clock in Asia/Shanghai at an instant, as forms of the sector write it.
pub fn local_time(at_ms: Millis) -> DateTime {
    let bounded = at_ms.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    let instant = Timestamp::from_millisecond(bounded).unwrap_or(Timestamp::UNIX_EPOCH);
    SHANGHAI.to_datetime(instant)
}

/// Whether a last good day is over at `now_ms`; `valid_until` is yyyymmdd, 0 for
/// without end. The day itself still counts.
pub fn validity_is_over(valid_until: u32, now_ms: Millis) -> bool {
    valid_until != 0 && valid_until < yyyymmdd(business_date(now_ms))
}

/// A day as records keep it, `20261122`; years before the common era count as 0.
pub fn yyyymmdd(day: Date) -> u32 {
    u32::try_from(day.year()).unwrap_or(0) * 10_000
        + u32::from(day.month().unsigned_abs()) * 100
        + u32::from(day.day().unsigned_abs())
}

/// The day that a record keeps as a number; `None` for 0 and for no day.
pub fn date_of_yyyymmdd(day: u32) -> Option<Date> {
    let year = i16::try_from(day / 10_000).ok()?;
    let (month, day_of_month) = (i8::try_from(day / 100 % 100).ok()?, i8::try_from(day % 100).ok()?);
    Date::new(year, month, day_of_month).ok()
}

/// The instant of a wall clock in Asia/Shanghai.
pub fn instant_of_local(time: DateTime) -> Millis {
    let within_day = time.time().duration_since(jiff::civil::Time::midnight()).as_millis();
    business_day_start_ms(time.date()) + i64::try_from(within_day).unwrap_or(0)
}

/// When a business day begins, in milliseconds UTC. It ends where the next begins.
pub fn business_day_start_ms(day: Date) -> Millis {
    let days = i64::from((day - Date::constant(1970, 1, 1)).get_days());
    days * 86_400_000 - i64::from(SHANGHAI.seconds()) * 1_000
}

macro_rules! day {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Date);

        impl $name {
            const BAD: BadId = BadId { what: $what, expected: "a day from 1850 on as yyyymmdd" };

            /// From the number, `19810101`, as the journal keeps it.
            ///
            /// # Errors
            /// When there is no such day, or it is before 1850.
            pub fn from_yyyymmdd(day: u32) -> Result<Self, BadId> {
                let date = date_of_yyyymmdd(day).filter(|date| date.year() >= 1850);
                date.map($name).ok_or(Self::BAD)
            }

            /// From four bytes of packed decimal digits, as a chip has it.
            ///
            /// # Errors
            /// When they are no day.
            pub fn from_bcd(bytes: [u8; 4]) -> Result<Self, BadId> {
                Self::from_yyyymmdd(bcd(&bytes).ok_or(Self::BAD)?)
            }

            /// The number, `19810101`.
            pub fn yyyymmdd(self) -> u32 {
                yyyymmdd(self.0)
            }

            pub const fn date(self) -> Date {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Self::BAD);
                }
                Self::from_yyyymmdd(text.parse().map_err(|_| Self::BAD)?)
            }
        }
    };
}

day!(
    /// AAC006, a day of birth. Personal: `Debug` shows `***`.
    BirthDate,
    "birth_date"
);
day!(
    /// A day printed on a card: of issue or the last of its validity.
    CardDate,
    "card_date"
);

impl BirthDate {
    /// Full years on `day`; 0 before birth. Somebody born on 29 February is a year
    /// older on 1 March of other years.
    pub fn age_on(self, day: Date) -> u16 {
        let reached = (day.month(), day.day()) >= (self.0.month(), self.0.day());
        u16::try_from(day.year() - self.0.year() - i16::from(!reached)).unwrap_or(0)
    }
}

impl CardDate {
    /// Whether this last day of validity is over at `now_ms`. The day itself still
    /// counts.
    pub fn is_past(self, now_ms: Millis) -> bool {
        business_date(now_ms) > self.0
    }
}

impl fmt::Debug for BirthDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for CardDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}", self.yyyymmdd())
    }
}

impl fmt::Debug for CardDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> Millis {
        text.parse::<Timestamp>().expect(text).as_millisecond()
    }

    #[test]
    fn a_business_day_turns_at_midnight_in_shanghai() {
        let check = |at: &str, day: Date| assert_eq!(business_date(ms(at)), day, "{at}");
        check("2026-11-21T15:59:59.999Z", Date::constant(2026, 11, 21));
        check("2026-11-21T16:00:00Z", Date::constant(2026, 11, 22));
        check("1970-01-01T00:00:00Z", Date::constant(1970, 1, 1));
        assert_eq!(business_day_start_ms(Date::constant(2026, 11, 22)), ms("2026-11-21T16:00:00Z"));
        let _ = (business_date(i64::MIN), business_date(i64::MAX));
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in ["", "19810230", "19811301", "00000000", "17991231", "1981-1-1", "198101010", "+1981010"]
        {
            assert!(text.parse::<BirthDate>().is_err(), "{text}");
        }
        assert!(CardDate::from_bcd([0x20, 0x20, 0x10, 0x0a]).is_err());
        assert!(CardDate::from_yyyymmdd(u32::MAX).is_err());
        assert_eq!(CardDate::from_bcd([0x20, 0x20, 0x10, 0x01]).map(CardDate::yyyymmdd), Ok(20_201_001));
    }

    #[test]
    fn a_card_is_good_through_its_last_day() {
        let last: CardDate = "20201001".parse().expect("a day");
        assert!(!last.is_past(ms("2020-10-01T15:59:59Z")));
        assert!(last.is_past(ms("2020-10-01T16:00:00Z")));
    }

    #[test]
    fn age_counts_full_years() {
        let born: BirthDate = "20000229".parse().expect("a day");
        let check = |day: Date, age: u16| assert_eq!(born.age_on(day), age, "{day}");
        check(Date::constant(2018, 2, 28), 17);
        check(Date::constant(2018, 3, 1), 18);
        check(Date::constant(2020, 2, 29), 20);
        check(Date::constant(1999, 1, 1), 0);
        assert_eq!(format!("{born:?}"), "***");
    }

    proptest! {
        #[test]
        fn a_day_round_trips(day in 18_500_101u32..=21_001_231) {
            if let Ok(date) = CardDate::from_yyyymmdd(day) {
                prop_assert_eq!(date.yyyymmdd(), day);
                prop_assert_eq!(date.to_string().parse(), Ok(date));
            }
        }

        #[test]
        fn an_instant_lies_within_its_business_day(at_ms in 0i64..4_102_444_800_000) {
            let start = business_day_start_ms(business_date(at_ms));
            prop_assert!((start..start + 86_400_000).contains(&at_ms));
            let shanghai = jiff::tz::TimeZone::fixed(SHANGHAI);
            let zoned = Timestamp::from_millisecond(at_ms).expect("in range").to_zoned(shanghai);
            prop_assert_eq!(zoned.date(), business_date(at_ms));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,10}", number in any::<u32>(), bytes in any::<[u8; 4]>()) {
            let _ = text.parse::<BirthDate>();
            let _ = BirthDate::from_yyyymmdd(number);
            let _ = BirthDate::from_bcd(bytes);
        }
    }
}
