//! The cards of a state: as many residents of Beijing as it has, each made from its
//! number when it is needed.

use std::collections::HashSet;

use onecard::{
    crypto::SoftVault,
    sandbox::{
        card_files::SampleCard,
        people::{HOMES, SampleHolder, resident},
    },
};

use super::standings::Standings;
use crate::{
    dice::Dice,
    riders::{Magazine, Rider, Way},
};

/// Other people than those of the sandbox and of the other commands.
const SEED: u64 = 0x9084;

/// The holder of a card, by its number from 1.
pub fn holder(number: u32) -> SampleHolder {
    resident(&HOMES[0], SEED, number)
}

/// The rider of a card that has tapped so often.
///
/// # Errors
/// When the vault lacks a root.
pub fn rider(number: u32, taps: u32, vault: &SoftVault) -> anyhow::Result<Rider> {
    Ok(Rider::after(SampleCard::issue(holder(number), vault)?, taps))
}

/// Different cards that may tap, drawn at random from all of them; at most half of
/// them, or all.
pub fn drawn(standings: &Standings, dice: &mut Dice, most: usize) -> Vec<u32> {
    let cards = standings.cards();
    if most >= cards as usize / 2 {
        let mut all: Vec<u32> = (1..=cards).filter(|number| standings.of(*number).is_some()).collect();
        for at in (1..all.len()).rev() {
            all.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap_or(0));
        }
        all.truncate(most);
        return all;
    }
    let mut seen = HashSet::with_capacity(most);
    let mut numbers = Vec::with_capacity(most);
    while numbers.len() < most {
        let number = 1 + u32::try_from(dice.below(cards.into())).unwrap_or(0);
        if standings.of(number).is_some() && seen.insert(number) {
            numbers.push(number);
        }
    }
    numbers
}

/// Taps of cards that were drawn, ready to be sent.
pub struct Hand {
    pub numbers: Vec<u32>,
    pub magazine: Magazine,
    /// The place of a card whose last tap was not answered.
    pub lost: Option<usize>,
}

impl Hand {
    /// Notes what was ridden.
    pub fn put_back(self, standings: &mut Standings) {
        for (number, rider) in self.numbers.iter().zip(self.magazine.into_riders()) {
            standings.set(*number, rider.taps());
        }
        if let Some(number) = self.lost.and_then(|at| self.numbers.get(at)) {
            standings.retire(*number);
        }
    }
}

/// So many hands of different cards with so many taps each; where there are fewer cards,
/// they tap in turn.
///
/// # Errors
/// When there are too few cards, or the vault lacks a root.
pub fn hands(
    standings: &Standings,
    vault: &SoftVault,
    dice: &mut Dice,
    count: usize,
    each: usize,
) -> anyhow::Result<Vec<Hand>> {
    let numbers = drawn(standings, dice, count * each);
    anyhow::ensure!(numbers.len() >= count, "there are too few cards for {count} callers");
    (0..count)
        .map(|at| {
            let numbers: Vec<u32> = numbers.iter().skip(at).step_by(count).copied().collect();
            let riders =
                numbers.iter().map(|number| rider(*number, standings.of(*number).unwrap_or_default(), vault));
            let mut magazine = Magazine::of(riders.collect::<anyhow::Result<_>>()?);
            magazine.fill(each, Way::Alone);
            Ok(Hand { numbers, magazine, lost: None })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_card_is_drawn_twice_and_none_that_is_used_no_more() {
        let mut standings = Standings::default();
        standings.grow(1_000);
        (1..=100).for_each(|number| standings.retire(number));
        let mut dice = Dice::new(1);
        for most in [10, 400, 600, 5_000] {
            let numbers = drawn(&standings, &mut dice, most);
            let distinct: HashSet<_> = numbers.iter().collect();
            assert_eq!(distinct.len(), numbers.len());
            assert_eq!(numbers.len(), most.min(900));
            assert!(numbers.iter().all(|number| (101..=1_000).contains(number)));
        }
    }
}
