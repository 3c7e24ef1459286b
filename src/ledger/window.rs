//! Windows: the one rule that says which business day a record belongs to. The
//! business date in Asia/Shanghai of `committed_at` in the serving region, and
//! nothing else: no terminal's clock, no day of arrival.

use jiff::civil::Date;

use crate::{
    identity::{business_date, business_day_start_ms, yyyymmdd},
    model::Millis,
};

/// A business day of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(Date);

impl Window {
    pub const fn on(date: Date) -> Self {
        Window(date)
    }

    /// The window of a record that was committed at this instant.
    pub fn of(committed_at: Millis) -> Self {
        Window(business_date(committed_at))
    }

    pub const fn date(self) -> Date {
        self.0
    }

    /// yyyymmdd, as it stands in records.
    pub fn number(self) -> u32 {
        yyyymmdd(self.0)
    }

    /// Whether a record of this instant belongs to the window.
    pub fn holds(self, committed_at: Millis) -> bool {
        business_date(committed_at) == self.0
    }

    /// The first instant of the window and the first after it; the window ends
    /// where it began on the last day of the calendar.
    pub fn span(self) -> (Millis, Millis) {
        let after = self.0.tomorrow().unwrap_or(self.0);
        (business_day_start_ms(self.0), business_day_start_ms(after))
    }
}

/// [`Window::number`] of an instant.
pub fn window_of(committed_at: Millis) -> u32 {
    Window::of(committed_at).number()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{Timestamp, civil::date};
    use proptest::prelude::*;

    fn at(text: &str) -> Millis {
        text.parse::<Timestamp>().expect("an instant").as_millisecond()
    }

    #[test]
    fn the_day_turns_at_midnight_in_shanghai() {
        let check = |text: &str, expected: Date| assert_eq!(business_date(at(text)), expected, "{text}");
        check("2026-11-21T15:59:59.999Z", date(2026, 11, 21));
        check("2026-11-21T16:00:00Z", date(2026, 11, 22));
        check("2026-12-31T16:00:00Z", date(2027, 1, 1));
        assert_eq!(window_of(at("2026-11-21T16:00:00Z")), 20_261_122);
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_one_window(at in 0_i64..4_102_444_800_000) {
            let window = Window::of(at);
            let (from, until) = window.span();
            prop_assert!(from <= at && at < until);
            prop_assert!(window.holds(from) && window.holds(until - 1) && !window.holds(until));
        }

        #[test]
        fn no_instant_is_outside_of_the_calendar(at in any::<i64>()) {
            business_date(at);
        }
    }
}
