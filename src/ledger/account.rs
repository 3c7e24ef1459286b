//! Paths of accounts, as they stand in postings.

use std::{fmt, str::FromStr};

use crate::model::{Fen, ParticipantId, Posting};

/// What an amount is booked on. Accounts name organisations and provinces, never
/// cards or holders: postings stand in the public part of an entry.
///
/// Debit is positive. Purses, participants and other regions are what is owed to
/// them, so a payment debits the purse and credits the participant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// What a participant is owed: `participant/bj-metro/fares`.
    Participant { participant: ParticipantId, book: ParticipantBook },
    /// What a province's stored-value purses owe their holders: `purse/110000`.
    Purse { province: u32 },
    /// What is owed to another region after clearing: `region/120000`.
    Region { province: u32 },
    /// A public fund: `fund/130000/medical`; a medical fund of the insured region:
    /// `fund/130399/hifp`.
    Fund { province: u32, fund: Fund },
    /// Accounts of insured persons, of all together: `account/130399/own`.
    Insured { region: u32, of: InsuredAccount },
}

/// What a participant is owed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParticipantBook {
    Fares,
    Fees,
    /// Care at a medical institution.
    Care,
    /// What was paid at its counter.
    Cash,
    /// What it bears itself.
    Borne,
}

/// Whose account with the medical insurance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InsuredAccount {
    /// The person's own.
    Own,
    /// A relative's.
    Family,
}

/// Whose money a fund is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fund {
    Medical,
    Benefits,
    /// The basic pool.
    Hifp,
    /// Civil servants' supplement.
    Cvlserv,
    /// Enterprises' supplement.
    Hifes,
    /// Residents' serious illness.
    Hifmi,
    /// Employees' large amounts.
    Hifob,
    /// Medical aid.
    Maf,
    Oth,
}

/// A path that names no account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an account, for example participant/bj-metro/fares")]
pub struct BadAccount(pub String);

impl Account {
    /// One side of a double entry on this account.
    pub fn posting(&self, amount: Fen) -> Posting {
        Posting { account: self.to_string(), amount }
    }
}

impl ParticipantBook {
    const ALL: [ParticipantBook; 5] = [
        ParticipantBook::Fares,
        ParticipantBook::Fees,
        ParticipantBook::Care,
        ParticipantBook::Cash,
        ParticipantBook::Borne,
    ];

    const fn name(self) -> &'static str {
        match self {
            ParticipantBook::Fares => "fares",
            ParticipantBook::Fees => "fees",
            ParticipantBook::Care => "care",
            ParticipantBook::Cash => "cash",
            ParticipantBook::Borne => "borne",
        }
    }
}

impl Fund {
    const ALL: [Fund; 9] = [
        Fund::Medical,
        Fund::Benefits,
        Fund::Hifp,
        Fund::Cvlserv,
        Fund::Hifes,
        Fund::Hifmi,
        Fund::Hifob,
        Fund::Maf,
        Fund::Oth,
    ];

    const fn name(self) -> &'static str {
        match self {
            Fund::Medical => "medical",
            Fund::Benefits => "benefits",
            Fund::Hifp => "hifp",
            Fund::Cvlserv => "cvlserv",
            Fund::Hifes => "hifes",
            Fund::Hifmi => "hifmi",
            Fund::Hifob => "hifob",
            Fund::Maf => "maf",
            Fund::Oth => "oth",
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Participant { participant, book } => {
                write!(f, "participant/{participant}/{}", book.name())
            }
            Account::Purse { province } => write!(f, "purse/{province:06}"),
            Account::Region { province } => write!(f, "region/{province:06}"),
            Account::Fund { province, fund } => write!(f, "fund/{province:06}/{}", fund.name()),
            Account::Insured { region, of: InsuredAccount::Own } => write!(f, "account/{region:06}/own"),
            Account::Insured { region, of: InsuredAccount::Family } => {
                write!(f, "account/{region:06}/family")
            }
        }
    }
}

impl FromStr for Account {
    type Err = BadAccount;

    fn from_str(path: &str) -> Result<Self, BadAccount> {
        let parse = || -> Option<Account> {
            let parts: Vec<&str> = path.split('/').collect();
            match parts[..] {
                ["participant", participant, book] => Some(Account::Participant {
                    participant: participant.parse().ok()?,
                    book: ParticipantBook::ALL.into_iter().find(|known| known.name() == book)?,
                }),
                ["purse", province] => Some(Account::Purse { province: province_of(province)? }),
                ["region", province] => Some(Account::Region { province: province_of(province)? }),
                ["fund", province, fund] => Some(Account::Fund {
                    province: province_of(province)?,
                    fund: Fund::ALL.into_iter().find(|known| known.name() == fund)?,
                }),
                ["account", region, "own"] => {
                    Some(Account::Insured { region: province_of(region)?, of: InsuredAccount::Own })
                }
                ["account", region, "family"] => {
                    Some(Account::Insured { region: province_of(region)?, of: InsuredAccount::Family })
                }
                _ => None,
            }
        };
        parse().ok_or_else(|| BadAccount(path.to_owned()))
    }
}

fn province_of(text: &str) -> Option<u32> {
    (text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_names_no_account_is_refused() {
        for path in [
            "",
            "purse",
            "purse/11000",
            "purse/+10000",
            "participant/bj-metro",
            "participant//fares",
            "fund/110000/x",
        ] {
            assert_eq!(path.parse::<Account>(), Err(BadAccount(path.to_owned())));
        }
    }

    #[test]
    fn accounts_read_as_paths() {
        let participant = "bj-metro".parse().expect("well formed");
        let check = |account: Account, path: &str| {
            assert_eq!(account.to_string(), path);
            assert_eq!(path.parse(), Ok(account));
        };
        check(
            Account::Participant { participant, book: ParticipantBook::Fares },
            "participant/bj-metro/fares",
        );
        check(Account::Purse { province: 110_000 }, "purse/110000");
        check(Account::Region { province: 120_000 }, "region/120000");
        check(Account::Fund { province: 130_000, fund: Fund::Medical }, "fund/130000/medical");
        check(Account::Fund { province: 130_399, fund: Fund::Hifp }, "fund/130399/hifp");
        check(Account::Insured { region: 130_399, of: InsuredAccount::Family }, "account/130399/family");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(path in "(purse|region|fund|participant)(/[a-z0-9]{1,7}){1,2}") {
            if let Ok(account) = path.parse::<Account>() {
                prop_assert_eq!(account.to_string(), path);
            }
        }
    }
}
