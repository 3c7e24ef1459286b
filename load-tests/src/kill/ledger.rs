//! The sum of all postings, which must be zero after every restart, as the gateway
//! itself tells it on its metrics.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;

use crate::metrics::{Samples, scrape};

/// Fen; one sample, or one a set of labels.
const SUM: &str = "onecard_ledger_sum_fen";

/// The gateway first reads the sum when it has begun to serve.
const LOOKS: usize = 40;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Sentences kept about faults.
const EXAMPLES: usize = 5;

/// What was seen of it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The sum that was farthest from zero; `None` while no gateway has told one.
    pub farthest_fen: Option<f64>,
    /// Sums that are not zero or were never told, one sentence each.
    pub wrong: Vec<String>,
}

impl Ledger {
    /// Reads the sum of a gateway that is ready again after a kill. One that does not
    /// tell it yet is asked again for a while; one that never does is broken.
    ///
    /// # Errors
    /// When it does not tell its metrics.
    pub async fn look(&mut self, operators: SocketAddr, kill: u32) -> anyhow::Result<()> {
        for look in 1.. {
            let told = scrape(operators).await.with_context(|| format!("no metrics after kill {kill}"))?;
            if look == LOOKS || !told.all(SUM).is_empty() {
                self.hold(&told, kill);
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn hold(&mut self, told: &Samples, kill: u32) {
        let sums = told.all(SUM);
        if sums.is_empty() && self.wrong.len() < EXAMPLES {
            self.wrong.push(format!("after kill {kill} the gateway did not tell the ledger's sum"));
        }
        sums.into_iter().for_each(|sum| self.found(sum, kill));
    }

    /// Takes a sum that was read after a kill.
    pub fn found(&mut self, sum: f64, kill: u32) {
        if self.farthest_fen.is_none_or(|farthest| sum.abs() > farthest.abs()) {
            self.farthest_fen = Some(sum);
        }
        // Fen are whole, so what is not zero is at least one; a NaN is neither.
        if (sum.is_nan() || sum.abs() >= 0.5) && self.wrong.len() < EXAMPLES {
            self.wrong.push(format!("after kill {kill} the ledger's sum is {sum} fen and not 0"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pages: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        for (page, kill) in pages.iter().zip(1..) {
            ledger.hold(&Samples::of(page), kill);
        }
        ledger
    }

    #[test]
    fn a_sum_that_nobody_tells_is_wrong_as_one_is_that_is_not_zero() {
        let unknown = held(&["onecard_connections_open 1\n", "onecard_ledger_sum_fen 0\n"]);
        assert_eq!(unknown.farthest_fen, Some(0.0));
        assert_eq!(unknown.wrong, ["after kill 1 the gateway did not tell the ledger's sum"]);
        let zero = held(&["onecard_ledger_sum_fen 0\n", "onecard_ledger_sum_fen 0\n"]);
        assert_eq!((zero.farthest_fen, zero.wrong.len()), (Some(0.0), 0));
        let wrong = held(&[
            "onecard_ledger_sum_fen 0\n",
            "onecard_ledger_sum_fen -30\n",
            "onecard_ledger_sum_fen 0\n",
        ]);
        assert_eq!(wrong.farthest_fen, Some(-30.0));
        assert_eq!(wrong.wrong, ["after kill 2 the ledger's sum is -30 fen and not 0"]);
        assert_eq!(held(&["onecard_ledger_sum_fen NaN\n"]).wrong.len(), 1);
    }
}
