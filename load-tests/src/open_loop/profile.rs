//! How many arrive a second, as a function of time: straight lines between points.

use std::time::Duration;

/// A rate over time. Before the first point and after the last nobody comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Instants, rates there (arrivals a second), and the arrivals expected until
    /// there; instants never go back.
    points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    at_s: f64,
    rate: f64,
    until: f64,
}

impl Profile {
    /// Straight lines through these points: an instant of the run and the rate
    /// there. Two points at one instant make a step.
    ///
    /// # Panics
    /// When instants go back or a rate is negative or no number: profiles are
    /// written in scenarios, not given by users.
    pub fn through(points: impl IntoIterator<Item = (Duration, f64)>) -> Self {
        let mut profile = Profile { points: Vec::new() };
        for (at, rate) in points {
            let at_s = at.as_secs_f64();
            assert!(rate.is_finite() && rate >= 0.0, "a rate of {rate}");
            let until = match profile.points.last() {
                Some(last) => {
                    assert!(at_s >= last.at_s, "a profile goes back at {at_s} s");
                    last.until + (at_s - last.at_s) * f64::midpoint(last.rate, rate)
                }
                None => 0.0,
            };
            profile.points.push(Point { at_s, rate, until });
        }
        profile
    }

    /// The same rate all the time.
    pub fn flat(rate: f64, length: Duration) -> Self {
        Profile::through([(Duration::ZERO, rate), (length, rate)])
    }

    /// Shares of `peak` at even distances from the beginning to the end of
    /// `length`: a day's curve.
    pub fn curve(peak: f64, length: Duration, shares: &[f64]) -> Self {
        let gaps = shares.len().saturating_sub(1).max(1);
        let at = |place: usize| length.mul_f64(place as f64 / gaps as f64);
        Profile::through(shares.iter().enumerate().map(|(place, share)| (at(place), peak * share)))
    }

    /// Arrivals expected in all.
    pub fn total(&self) -> f64 {
        self.points.last().map_or(0.0, |last| last.until)
    }

    /// The instant by which `count` arrivals are expected; `None` beyond the total.
    pub fn when(&self, count: f64) -> Option<Duration> {
        let after = self.points.partition_point(|point| point.until <= count);
        let (before, next) = (self.points[after.checked_sub(1)?], self.points.get(after)?);
        let (wanted, gap_s) = (count - before.until, next.at_s - before.at_s);
        // Along the line the count grows as `rate t + slope t² / 2`; this form of
        // the root stays exact when the slope is close to nothing.
        let slope = (next.rate - before.rate) / gap_s;
        let root = (before.rate * before.rate + 2.0 * slope * wanted).max(0.0).sqrt();
        let within_s = (2.0 * wanted / (before.rate + root)).clamp(0.0, gap_s);
        Some(Duration::from_secs_f64(before.at_s + within_s))
    }
}
