//! How a price follows from a ride. Every amount is integer fen; bands and steps
//! give whole amounts, so no rule here rounds and nobody bears a remainder.

use serde::Deserialize;

use super::network::Ride;
use crate::{limits, model::Fen};

/// What the price of a section rests on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Rule {
    /// Track metres of the shortest path, whatever way was ridden.
    Distance(Bands),
    /// Intervals of the path with the fewest; n stations have n - 1.
    Intervals(Bands),
    /// One price between any two stations, taken at the exit.
    Flat(Price),
    /// One price, taken at boarding; there is no exit.
    Boarding(Price),
}

/// One price, fen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub fen: i64,
}

/// Prices by a measure (metres or intervals), with an open end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    /// Ascending; 1 to 32.
    pub bands: Vec<Band>,
    /// What is paid above the last band.
    pub beyond: Beyond,
}

/// Up to and including `up_to`, `fen` is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    pub up_to: u32,
    pub fen: i64,
}

/// The open end of [`Bands`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Beyond {
    /// The last band's price, and this much more for each `every` that is begun.
    Step { every: u32, add_fen: i64 },
    /// One price, however far.
    Fixed { fen: i64 },
}

/// What follows when a ride took longer than the section allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Overtime {
    /// The exit is granted for this much more. No discount applies to it.
    Surcharge { fen: i64 },
    /// The exit is refused; the service desk settles the ride.
    Refuse,
}

/// A rule that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    #[error("{fen} fen; a price is 0 to {} fen", limits::FARE_FEN_MAX)]
    Price { fen: i64 },
    #[error("{count} bands; 1 to {BANDS_MAX} are expected")]
    BandCount { count: usize },
    #[error("the band up to {up_to} does not reach further than the one before")]
    NotAscending { up_to: u32 },
    #[error("a longer ride would cost less: {fen} fen after {before} fen")]
    Cheaper { fen: i64, before: i64 },
    #[error("a step of 0")]
    EmptyStep,
}

const BANDS_MAX: usize = 32;

impl Rule {
    /// The price of this ride, before surcharge and discount.
    pub fn price(&self, ride: Ride) -> Fen {
        match self {
            Rule::Distance(bands) => bands.price(ride.metres),
            Rule::Intervals(bands) => bands.price(ride.intervals),
            Rule::Flat(price) | Rule::Boarding(price) => Fen::new(price.fen),
        }
    }

    /// The lowest price there is: that of a ride of no length.
    pub fn lowest(&self) -> Fen {
        self.price(Ride { metres: 0, intervals: 0 })
    }

    /// The figures the price rests on; a figure it does not rest on is 0.
    pub fn measured(&self, ride: Ride) -> Ride {
        match self {
            Rule::Distance(_) => Ride { metres: ride.metres, intervals: 0 },
            Rule::Intervals(_) => Ride { metres: 0, intervals: ride.intervals },
            Rule::Flat(_) | Rule::Boarding(_) => Ride { metres: 0, intervals: 0 },
        }
    }

    /// Whether the price is taken at boarding.
    pub fn is_boarding(&self) -> bool {
        match self {
            Rule::Boarding(_) => true,
            Rule::Distance(_) | Rule::Intervals(_) | Rule::Flat(_) => false,
        }
    }

    /// Everything that cannot be meant.
    pub fn faults(&self) -> Vec<RuleFault> {
        match self {
            Rule::Distance(bands) | Rule::Intervals(bands) => bands.faults(),
            Rule::Flat(price) | Rule::Boarding(price) => price_fault(price.fen).into_iter().collect(),
        }
    }
}

impl Bands {
    /// The price at this measure. Never falls as the measure grows.
    pub fn price(&self, at: u32) -> Fen {
        if let Some(band) = self.bands.iter().find(|band| at <= band.up_to) {
            return Fen::new(band.fen);
        }
        let (up_to, fen) = self.bands.last().map_or((0, 0), |band| (band.up_to, band.fen));
        match self.beyond {
            Beyond::Step { every, add_fen } => {
                let steps = (at - up_to).div_ceil(every.max(1));
                Fen::new(fen + i64::from(steps) * add_fen)
            }
            Beyond::Fixed { fen } => Fen::new(fen),
        }
    }

    fn faults(&self) -> Vec<RuleFault> {
        let mut faults = Vec::new();
        if !(1..=BANDS_MAX).contains(&self.bands.len()) {
            faults.push(RuleFault::BandCount { count: self.bands.len() });
        }
        faults.extend(self.bands.iter().filter_map(|band| price_fault(band.fen)));
        for pair in self.bands.windows(2) {
            if pair[1].up_to <= pair[0].up_to {
                faults.push(RuleFault::NotAscending { up_to: pair[1].up_to });
            }
            if pair[1].fen < pair[0].fen {
                faults.push(RuleFault::Cheaper { fen: pair[1].fen, before: pair[0].fen });
            }
        }
        let before = self.bands.last().map_or(0, |band| band.fen);
        match self.beyond {
            Beyond::Step { every: 0, .. } => faults.push(RuleFault::EmptyStep),
            Beyond::Step { add_fen: fen, .. } => faults.extend(price_fault(fen)),
            Beyond::Fixed { fen } if fen < before => faults.push(RuleFault::Cheaper { fen, before }),
            Beyond::Fixed { fen } => faults.extend(price_fault(fen)),
        }
        faults
    }
}

impl Overtime {
    /// Everything that cannot be meant.
    pub fn faults(&self) -> Vec<RuleFault> {
        match self {
            Overtime::Surcharge { fen } => price_fault(*fen).into_iter().collect(),
            Overtime::Refuse => Vec::new(),
        }
    }
}

fn price_fault(fen: i64) -> Option<RuleFault> {
    (!(0..=limits::FARE_FEN_MAX).contains(&fen)).then_some(RuleFault::Price { fen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bands(bands: &[(u32, i64)], beyond: Beyond) -> Bands {
        Bands { bands: bands.iter().map(|(up_to, fen)| Band { up_to: *up_to, fen: *fen }).collect(), beyond }
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused() {
        let step = Beyond::Step { every: 10, add_fen: 1 };
        let check = |given: Bands, expect: &[RuleFault]| {
            assert_eq!(Rule::Distance(given).faults(), expect);
        };
        check(bands(&[(5, 1), (9, 2)], step), &[]);
        check(bands(&[], step), &[RuleFault::BandCount { count: 0 }]);
        check(bands(&[(5, 1), (5, 2)], step), &[RuleFault::NotAscending { up_to: 5 }]);
        check(bands(&[(5, 3), (9, 2)], step), &[RuleFault::Cheaper { fen: 2, before: 3 }]);
        check(bands(&[(5, -1)], step), &[RuleFault::Price { fen: -1 }]);
        check(bands(&[(5, 1)], Beyond::Step { every: 0, add_fen: 1 }), &[RuleFault::EmptyStep]);
        check(bands(&[(5, 4)], Beyond::Fixed { fen: 3 }), &[RuleFault::Cheaper { fen: 3, before: 4 }]);
        assert_eq!(Rule::Flat(Price { fen: 100_001 }).faults(), [RuleFault::Price { fen: 100_001 }]);
    }

    fn any_bands() -> impl Strategy<Value = Bands> {
        let rise = (1u32..20_000, 0i64..500);
        let beyond = prop_oneof![
            (1u32..30_000, 0i64..500).prop_map(|(every, add_fen)| Beyond::Step { every, add_fen }),
            (16_000i64..20_000).prop_map(|fen| Beyond::Fixed { fen }),
        ];
        (proptest::collection::vec(rise, 1..32), beyond).prop_map(|(rises, beyond)| {
            let mut at = (0, 0);
            let bands = rises
                .into_iter()
                .map(|(further, dearer)| {
                    at = (at.0 + further, at.1 + dearer);
                    Band { up_to: at.0, fen: at.1 }
                })
                .collect();
            Bands { bands, beyond }
        })
    }

    proptest! {
        #[test]
        fn a_longer_ride_never_costs_less(bands in any_bands(), a in 0u32..2_000_000, b in any::<u32>()) {
            prop_assert_eq!(Rule::Distance(bands.clone()).faults(), vec![]);
            let (near, far) = (a.min(b), a.max(b));
            prop_assert!(bands.price(near) <= bands.price(far));
            prop_assert!(bands.price(near) >= Fen::ZERO);
        }
    }
}
