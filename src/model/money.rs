//! Money is integer fen. There is no other form inside.

use std::fmt;

/// An amount in fen (1/100 yuan). Arithmetic is checked; an overflow is an error
/// of the caller's input, never a wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fen(i64);

/// A sum left the range of i64 fen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount left the range of 64-bit fen")]
pub struct FenOverflow;

impl Fen {
    pub const ZERO: Fen = Fen(0);

    pub const fn new(fen: i64) -> Self {
        Fen(fen)
    }

    pub const fn yuan(yuan: i64) -> Self {
        Fen(yuan * 100)
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    pub fn plus(self, other: Fen) -> Result<Fen, FenOverflow> {
        self.0.checked_add(other.0).map(Fen).ok_or(FenOverflow)
    }

    pub fn minus(self, other: Fen) -> Result<Fen, FenOverflow> {
        self.0.checked_sub(other.0).map(Fen).ok_or(FenOverflow)
    }

    /// The share `parts` of `whole` of this amount, rounded half up (away from
    /// zero for negative amounts), once.
    ///
    /// # Errors
    /// When the result leaves i64.
    pub fn share(self, parts: u32, whole: u32) -> Result<Fen, FenOverflow> {
        assert!(whole > 0, "a share of nothing");
        let product = i128::from(self.0) * i128::from(parts);
        let (quotient, rest) = (product / i128::from(whole), (product % i128::from(whole)).abs());
        let up = i128::from(rest * 2 >= i128::from(whole)) * product.signum();
        i64::try_from(quotient + up).map(Fen).map_err(|_| FenOverflow)
    }

    pub const fn negated(self) -> Fen {
        Fen(-self.0)
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let fen = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", fen / 100, fen % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_rounded_half_up_once() {
        let check = |fen, parts, whole, expect| {
            assert_eq!(Fen::new(fen).share(parts, whole), Ok(Fen::new(expect)), "{fen} * {parts}/{whole}");
        };
        check(300, 80, 100, 240);
        check(301, 50, 100, 151);
        check(-301, 50, 100, -151);
        check(100, 1, 3, 33);
        check(200, 1, 3, 67);
        check(0, 7, 9, 0);
    }

    #[test]
    fn money_reads_as_yuan() {
        assert_eq!(Fen::new(305).to_string(), "3.05");
        assert_eq!(Fen::new(-5).to_string(), "-0.05");
    }

    proptest! {
        #[test]
        fn plus_and_minus_undo_each_other(a in any::<i32>(), b in any::<i32>()) {
            let (a, b) = (Fen::new(a.into()), Fen::new(b.into()));
            prop_assert_eq!(a.plus(b).and_then(|sum| sum.minus(b)), Ok(a));
        }

        #[test]
        fn a_share_never_exceeds_the_whole(fen in 0i64..1_000_000_000, parts in 0u32..=100) {
            let share = Fen::new(fen).share(parts, 100).expect("in range");
            prop_assert!(share <= Fen::new(fen));
        }
    }
}
