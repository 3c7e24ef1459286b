//! `--require 'key>=value'`: what a run must show, said on the command line, so
//! that a script can hold a figure without reading tables.

use std::{fmt, str::FromStr};

/// How a figure must stand to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Equal,
    Above,
    Below,
}

impl Comparison {
    /// Longer signs first, so that `>=` is not read as `>` and a stray `=`.
    const SIGNS: [(&'static str, Comparison); 5] = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        ("==", Comparison::Equal),
        (">", Comparison::Above),
        ("<", Comparison::Below),
    ];

    fn sign(self) -> &'static str {
        match self {
            Comparison::AtLeast => ">=",
            Comparison::AtMost => "<=",
            Comparison::Equal => "==",
            Comparison::Above => ">",
            Comparison::Below => "<",
        }
    }

    /// Figures are counts or measurements far below 2^53, so doubles compare them
    /// exactly as they are printed.
    #[allow(clippy::float_cmp, reason = "`==` is for counts, which doubles hold exactly")]
    fn holds(self, figure: f64, bound: f64) -> bool {
        match self {
            Comparison::AtLeast => figure >= bound,
            Comparison::AtMost => figure <= bound,
            Comparison::Equal => figure == bound,
            Comparison::Above => figure > bound,
            Comparison::Below => figure < bound,
        }
    }
}

/// One demand on one figure of the last line.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    key: String,
    comparison: Comparison,
    bound: f64,
}

/// The text is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequirement {
    #[error("`{0}` has none of >= <= == > <; write for example 'unary_ratio>=0.5'")]
    NoComparison(String),
    #[error("`{0}` is no key; keys are lower case letters, digits and _")]
    Key(String),
    #[error("`{0}` is no number")]
    Number(String),
}

impl FromStr for Requirement {
    type Err = BadRequirement;

    fn from_str(text: &str) -> Result<Self, BadRequirement> {
        let split = Comparison::SIGNS.into_iter().find_map(|(sign, comparison)| {
            text.split_once(sign).map(|(key, bound)| (key, comparison, bound))
        });
        let (key, comparison, bound) = split.ok_or_else(|| BadRequirement::NoComparison(text.to_owned()))?;
        let (key, bound) = (key.trim(), bound.trim());
        let is_key =
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_key {
            return Err(BadRequirement::Key(key.to_owned()));
        }
        // Only plain decimals: what `f64` also reads (inf, nan, 1e9) compares in
        // ways nobody means.
        let is_decimal = bound.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let bound = match bound.parse::<f64>() {
            Ok(number) if is_decimal => number,
            Ok(_) | Err(_) => return Err(BadRequirement::Number(bound.to_owned())),
        };
        Ok(Requirement { key: key.to_owned(), comparison, bound })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.key, self.comparison.sign(), self.bound)
    }
}

impl Requirement {
    /// The figure that is asked for.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the figure satisfies it.
    pub fn holds(&self, figure: f64) -> bool {
        self.comparison.holds(figure, self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, figure: f64, expect: bool) {
        let requirement: Requirement = text.parse().expect(text);
        assert_eq!(requirement.holds(figure), expect, "{text} with {figure}");
    }

    #[test]
    fn every_comparison_says_what_its_sign_says() {
        for (sign, below, at, above) in [
            (">=", false, true, true),
            ("<=", true, true, false),
            ("==", false, true, false),
            (">", false, false, true),
            ("<", true, false, false),
        ] {
            let text = format!("p99_ms{sign}2.5");
            check(&text, 2.25, below);
            check(&text, 2.5, at);
            check(&text, 2.75, above);
        }
    }

    #[test]
    fn spaces_negatives_and_decimals_are_read() {
        check(" unary_ratio >= 0.5 ", 0.5, true);
        check("drift>-3", -2.0, true);
        check("doubled==0", 0.0, true);
    }

    #[test]
    fn a_requirement_is_shown_as_it_is_written() {
        let requirement: Requirement = "unary_ratio >= 0.50".parse().expect("a requirement");
        assert_eq!(requirement.to_string(), "unary_ratio>=0.5");
        assert_eq!(requirement.key(), "unary_ratio");
    }

    #[test]
    fn what_is_no_requirement_is_refused_with_its_reason() {
        let refused = |text: &str| text.parse::<Requirement>().expect_err(text);
        for text in ["", "unary_ratio", "unary_ratio=0.5", "a!=1"] {
            assert_eq!(refused(text), BadRequirement::NoComparison(text.to_owned()), "{text}");
        }
        assert_eq!(refused(">=1"), BadRequirement::Key(String::new()));
        assert_eq!(refused("P99>=1"), BadRequirement::Key("P99".to_owned()));
        for bound in ["", "fast", "inf", "nan", "1e9", "1.2.3", "=1", "--"] {
            assert_eq!(refused(&format!("a>={bound}")), BadRequirement::Number(bound.to_owned()), "{bound}");
        }
    }
}
