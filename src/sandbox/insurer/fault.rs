//! What can be made to go wrong.

use crate::crypto::sm3;

/// A fault for one message. See the table of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing is booked, nothing is answered.
    SilentBefore,
    /// Booked, nothing is answered.
    SilentAfter,
    /// Booked, answered late.
    Slow,
    /// Nothing is booked, infcode −1.
    System,
    /// Booked, infcode −1 all the same.
    SystemAfter,
    /// Booked rightly; the sums of the answer do not add up.
    Sums,
    /// Booked; the answer of the message before comes once more.
    Stale,
    /// Booked; every time in the answer is a day off.
    Clock,
}

impl Fault {
    /// All of them, with the word that asks for each.
    pub const ALL: [(&'static str, Fault); 8] = [
        ("SILENT-BEFORE", Fault::SilentBefore),
        // Longer words first: SYSTEM begins like SYSTEM-AFTER.
        ("SILENT-AFTER", Fault::SilentAfter),
        ("SYSTEM-AFTER", Fault::SystemAfter),
        ("SYSTEM", Fault::System),
        ("SLOW", Fault::Slow),
        ("SUMS", Fault::Sums),
        ("STALE", Fault::Stale),
        ("CLOCK", Fault::Clock),
    ];

    /// Whether the message is carried out all the same.
    pub(super) const fn books(self) -> bool {
        match self {
            Fault::SilentBefore | Fault::System => false,
            Fault::SilentAfter
            | Fault::Slow
            | Fault::SystemAfter
            | Fault::Sums
            | Fault::Stale
            | Fault::Clock => true,
        }
    }

    /// What a visit's or invoice's number asks for at a transaction.
    pub(super) fn asked_by(number: &str, infno: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find_map(|(word, fault)| {
            let rest = number.strip_prefix(word)?.strip_prefix('-')?.strip_prefix(infno)?;
            rest.starts_with('-').then_some(fault)
        })
    }
}

/// Faults at random, the same for the same seed and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice {
    pub seed: u64,
    /// Of a thousand messages, so many go wrong.
    pub per_mille: u16,
}

impl Dice {
    pub(super) fn roll(self, msgid: &str) -> Option<Fault> {
        let rolled = sm3(&[&self.seed.to_be_bytes(), msgid.as_bytes()]);
        let number = u16::from_be_bytes([rolled[0], rolled[1]]) % 1_000;
        (number < self.per_mille).then(|| Fault::ALL[usize::from(rolled[2]) % Fault::ALL.len()].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_asks_for_its_fault_at_its_transaction_only() {
        assert_eq!(Fault::asked_by("SILENT-AFTER-2207-1", "2207"), Some(Fault::SilentAfter));
        assert_eq!(Fault::asked_by("SILENT-AFTER-2207-1", "2208"), None);
        assert_eq!(Fault::asked_by("SYSTEM-AFTER-2304-x", "2304"), Some(Fault::SystemAfter));
        assert_eq!(Fault::asked_by("SYSTEM-2304-x", "2304"), Some(Fault::System));
        assert_eq!(Fault::asked_by("MZ20261122", "2207"), None);
    }

    #[test]
    fn dice_fall_the_same_for_the_same_message() {
        let dice = Dice { seed: 7, per_mille: 200 };
        let fallen: Vec<_> = (0..1_000).map(|number| dice.roll(&number.to_string())).collect();
        assert_eq!(fallen, (0..1_000).map(|number| dice.roll(&number.to_string())).collect::<Vec<_>>());
        let faults = fallen.iter().flatten().count();
        assert!((100..300).contains(&faults), "{faults} of 1,000 at 200 in a thousand");
    }
}
