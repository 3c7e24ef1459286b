//! Exact decimals of the interface: unit prices 16,6, counts 16,4, ratios 5,4,
//! amounts 16,2. Inside they are integers of scaled units; no binary fraction
//! touches them.

use std::{fmt, str::FromStr};

use crate::model::{Fen, FenOverflow};

/// A text that is no decimal of the wanted scale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal with at most {digits} places / 须为至多 {digits} 位小数的十进制数")]
pub struct BadDecimal {
    pub digits: u32,
}

/// The scaled units of a plain decimal, for example 1.25 with two digits is 125.
/// Places beyond `digits` are accepted where they are zeros: nothing is rounded.
///
/// # Errors
/// An exponent, a sign alone, a place too many, a number beyond 64 bits.
pub fn parse_scaled(text: &str, digits: u32) -> Result<i64, BadDecimal> {
    scaled_units(text, digits).ok_or(BadDecimal { digits })
}

fn scaled_units(text: &str, digits: u32) -> Option<i64> {
    let (negative, plain) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, places) = match plain.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (plain, ""),
    };
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(places) {
        return None;
    }
    let mut units: i64 = whole.parse().ok()?;
    let mut places = places.bytes();
    for _ in 0..digits {
        let digit = places.next().map_or(0, |b| i64::from(b - b'0'));
        units = units.checked_mul(10)?.checked_add(digit)?;
    }
    if places.any(|b| b != b'0') {
        return None;
    }
    Some(if negative { -units } else { units })
}

/// Scaled units as a decimal with all its places.
fn write_scaled(f: &mut fmt::Formatter<'_>, units: i64, digits: u32) -> fmt::Result {
    let sign = if units < 0 { "-" } else { "" };
    let scale = 10_u64.pow(digits);
    let units = units.unsigned_abs();
    write!(f, "{sign}{}.{:0width$}", units / scale, units % scale, width = digits as usize)
}

macro_rules! scaled {
    ($($(#[$doc:meta])* $name:ident $digits:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Decimal places.
            pub const DIGITS: u32 = $digits;

            /// From scaled units: one is the last decimal place.
            pub const fn from_units(units: i64) -> Self {
                $name(units)
            }

            pub const fn units(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_scaled(f, self.0, $digits)
            }
        }

        impl FromStr for $name {
            type Err = BadDecimal;

            fn from_str(text: &str) -> Result<Self, BadDecimal> {
                parse_scaled(text, $digits).map($name)
            }
        }
    )*};
}

scaled! {
    /// A unit price in millionths of a yuan (pric, 16,6).
    Price 6;
    /// A count in ten-thousandths (cnt, 16,4).
    Count 4;
    /// A ratio in ten-thousandths (selfpay_prop, pool_prop_selfpay, 5,4).
    Ratio 4;
}

impl Price {
    /// The amount of a fee line: count times price, rounded half up (away from zero
    /// for a negative one) to the fen, once. The institution bears the remainder: it
    /// is its own price that was rounded.
    ///
    /// # Errors
    /// When the amount leaves 64-bit fen.
    pub fn times(self, count: Count) -> Result<Fen, FenOverflow> {
        // Millionths times ten-thousandths of a yuan are 10^-10 yuan, 10^-8 fen.
        const UNITS_PER_FEN: i128 = 100_000_000;
        let product = i128::from(self.0) * i128::from(count.0);
        let (quotient, rest) = (product / UNITS_PER_FEN, (product % UNITS_PER_FEN).abs());
        let up = i128::from(rest * 2 >= UNITS_PER_FEN) * product.signum();
        i64::try_from(quotient + up).map(Fen::new).map_err(|_| FenOverflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        let check = |text: &str, units: Option<i64>| {
            assert_eq!(parse_scaled(text, 4).ok(), units, "{text}");
        };
        check("2.5", Some(25_000));
        check("2.50000", Some(25_000));
        check("-0.0001", Some(-1));
        check("922337203685477.5807", Some(i64::MAX));
        for bad in ["", "-", ".", ".5", "1.", "1.00001", "1e2", "+1", "1,5", "922337203685477.5808", " 1"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_line_is_rounded_half_up_once() {
        let check = |price: &str, count: &str, fen: i64| {
            let (price, count): (Price, Count) =
                (price.parse().expect("a price"), count.parse().expect("a count"));
            assert_eq!(price.times(count), Ok(Fen::new(fen)), "{price} x {count}");
        };
        check("1.25", "2.5", 313);
        check("1.249999", "2.5", 312);
        check("0.005", "1", 1);
        check("0.004999", "1", 0);
        check("-1.25", "2.5", -313);
        check("33.333333", "3", 10_000);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(units in any::<i32>()) {
            let price = Price::from_units(i64::from(units));
            prop_assert_eq!(price.to_string().parse(), Ok(price));
        }

        #[test]
        fn a_line_is_within_half_a_fen(price in 0i64..10_000_000_000, count in 0i64..1_000_000) {
            let fen = Price::from_units(price).times(Count::from_units(count)).expect("in range");
            let off = (i128::from(fen.get()) * 100_000_000 - i128::from(price) * i128::from(count)).abs();
            prop_assert!(off <= 50_000_000);
        }
    }
}
