//! What may be typed after `onecard terminal`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

/// Act as a terminal of the sandbox.
#[derive(Debug, Args)]
pub struct TerminalArgs {
    /// The sandbox's data folder
    #[arg(long, global = true, default_value = ".onecard")]
    pub data: PathBuf,
    /// Region whose gateway is called, by name or code [default: the first]
    #[arg(long, global = true)]
    pub region: Option<String>,
    /// Terminal to act as [default: the region's first for the scene]
    #[arg(long = "as", global = true, value_name = "TERMINAL")]
    pub terminal: Option<String>,
    /// Who works the terminal
    #[arg(long, global = true)]
    pub operator: Option<String>,
    /// Send the same request a second time and compare the answers
    #[arg(long, global = true)]
    pub repeat: bool,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub act: Act,
}

#[derive(Debug, Subcommand)]
pub enum Act {
    /// Tap a card at a gate
    #[command(group = ArgGroup::new("kind").required(true))]
    Tap {
        /// Sample card, for example tj-001
        #[arg(long)]
        card: String,
        /// Station or stop of the fare table
        #[arg(long)]
        station: String,
        /// Line or route; buses need it
        #[arg(long, default_value = "")]
        line: String,
        /// Entry
        #[arg(long = "in", group = "kind")]
        entry: bool,
        /// Exit
        #[arg(long = "out", group = "kind")]
        exit: bool,
    },
    /// Find out who stands at the counter
    #[command(subcommand)]
    Authenticate(Authenticate),
    /// Borrow, return, renew, reserve, pay
    #[command(subcommand)]
    Library(Library),
    /// See a doctor and settle
    #[command(subcommand)]
    Medical(Medical),
    /// Care for the card itself
    #[command(subcommand)]
    Card(CardAct),
    /// Reserve, capture, release, refund, reverse
    #[command(subcommand)]
    Money(Money),
    /// Ask what became of a transaction
    #[command(group = ArgGroup::new("by").required(true))]
    Status {
        /// Transaction id, as an answer named it
        #[arg(long, group = "by")]
        transaction: Option<String>,
        /// Request id, for a terminal that got no answer
        #[arg(long, group = "by")]
        request: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Authenticate {
    /// The chip, both ways, through the home region's keys
    Chip {
        #[arg(long)]
        card: String,
    },
    /// An e-card code from a phone
    #[command(group = ArgGroup::new("source").required(true))]
    Code {
        /// The code as scanned
        #[arg(long, group = "source")]
        code: Option<String>,
        /// Have a code issued for this sample card first
        #[arg(long, group = "source")]
        card: Option<String>,
    },
    /// An identity document at a staffed counter
    #[command(group = ArgGroup::new("source").required(true))]
    Document {
        /// The document of this sample card's holder
        #[arg(long, group = "source")]
        card: Option<String>,
        /// Number on the document
        #[arg(long, group = "source", requires = "name")]
        number: Option<String>,
        /// Name on the document
        #[arg(long)]
        name: Option<String>,
    },
}

/// Where a library act is done and for whom.
#[derive(Debug, Args)]
pub struct Reader {
    /// Sample card of the reader; authenticated by its chip first
    #[arg(long)]
    pub card: Option<String>,
    /// Holder session of an earlier `authenticate`
    #[arg(long, conflicts_with = "card")]
    pub session: Option<String>,
    /// Library of the catalogue [default: the terminal's own]
    #[arg(long, default_value = "")]
    pub library: String,
}

#[derive(Debug, Subcommand)]
pub enum Library {
    /// Borrow an item
    Checkout {
        #[arg(long)]
        item: String,
        #[command(flatten)]
        reader: Reader,
    },
    /// Return an item; needs no reader
    Checkin {
        #[arg(long)]
        item: String,
        #[command(flatten)]
        reader: Reader,
    },
    /// Renew a loan
    Renew {
        #[arg(long)]
        item: String,
        #[command(flatten)]
        reader: Reader,
    },
    /// Reserve an item
    Hold {
        #[arg(long)]
        item: String,
        /// Where to collect it
        #[arg(long, default_value = "")]
        pickup: String,
        #[command(flatten)]
        reader: Reader,
    },
    /// Give a reservation up
    CancelHold {
        #[arg(long)]
        item: String,
        #[command(flatten)]
        reader: Reader,
    },
    /// Pay what is owed
    Pay {
        /// Integer fen
        #[arg(long)]
        amount_fen: i64,
        /// The fee [default: the account as a whole]
        #[arg(long, default_value = "")]
        fee: String,
        #[command(flatten)]
        reader: Reader,
    },
    /// Read the reader's account
    Patron {
        #[command(flatten)]
        reader: Reader,
    },
    /// End the reader's session
    End {
        #[command(flatten)]
        reader: Reader,
    },
}

#[derive(Debug, Subcommand)]
pub enum Money {
    /// Reserve an amount in the holder's purse
    #[command(group = ArgGroup::new("holder").required(true))]
    Reserve {
        /// Sample card of the holder; authenticated by its chip first
        #[arg(long, group = "holder")]
        card: Option<String>,
        /// Holder session of an earlier `authenticate`
        #[arg(long, group = "holder")]
        session: Option<String>,
        /// Integer fen
        #[arg(long)]
        amount_fen: i64,
        /// How long it stands unless it is captured
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// Take what was reserved, or less
    Capture {
        #[arg(long)]
        transaction: String,
        /// Integer fen
        #[arg(long)]
        amount_fen: i64,
    },
    /// Let a reservation go
    Release {
        #[arg(long)]
        transaction: String,
    },
    /// Give back a part of what was taken
    Refund {
        #[arg(long)]
        transaction: String,
        /// Integer fen
        #[arg(long)]
        amount_fen: i64,
        #[arg(long, value_enum, default_value_t = CauseArg::Holder)]
        cause: CauseArg,
    },
    /// Take a transaction back
    #[command(group = ArgGroup::new("which").required(true))]
    Reverse {
        /// Transaction id, as an answer named it
        #[arg(long, group = "which")]
        transaction: Option<String>,
        /// Request id, for a terminal that got no answer
        #[arg(long, group = "which")]
        request: Option<String>,
        #[arg(long, value_enum, default_value_t = CauseArg::Terminal)]
        cause: CauseArg,
    },
}

/// Why money goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CauseArg {
    Holder,
    Terminal,
    Duplicate,
    Amount,
    Desk,
}

#[derive(Debug, Subcommand)]
pub enum Medical {
    /// An outpatient visit from registration to the settled bill
    Visit {
        /// Sample card of the holder; authenticated by its chip first
        #[arg(long)]
        card: String,
        /// The hospital's own number of the visit; SILENT-AFTER-2207-1 makes the insurer go
        /// silent [default: a new one]
        #[arg(long)]
        number: Option<String>,
        /// Insurance, where the holder has several
        #[arg(long, default_value = "")]
        insutype: String,
        /// Leave the personal account alone
        #[arg(long)]
        no_account: bool,
        /// Take the settlement back at once
        #[arg(long)]
        cancel: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum CardAct {
    /// Report a loss
    Loss {
        #[arg(long)]
        card: String,
        /// A formal loss cannot be lifted
        #[arg(long)]
        formal: bool,
    },
    /// Lift a temporary loss
    Lift {
        #[arg(long)]
        card: String,
    },
    /// Read the card's state
    State {
        #[arg(long)]
        card: String,
    },
    /// Have an e-card code issued
    Code {
        #[arg(long)]
        card: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        terminal: TerminalArgs,
    }

    fn parse(line: &str) -> Result<TerminalArgs, clap::Error> {
        let words = std::iter::once("terminal").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.terminal)
    }

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Line::command().debug_assert();
    }

    #[test]
    fn the_short_commands_are_understood() {
        for line in [
            "tap --region beijing --card tj-001 --station 西直门 --in",
            "tap --card tj-001 --station 西直门 --out --as gate-01 --repeat --json",
            "authenticate chip --card he-001 --region beijing",
            "authenticate code --card tj-001",
            "authenticate code --code ABC",
            "authenticate document --card bj-001 --operator clerk-7",
            "authenticate document --number 11010519900101001X --name 张样一",
            "library checkout --item TJ0001 --card bj-001 --region tianjin",
            "library checkin --item TJ0001",
            "library pay --amount-fen 250 --session 00",
            "library end --session 00",
            "medical visit --card bj-001",
            "medical visit --card bj-004 --insutype 310 --number MZ-1 --no-account --cancel",
            "card loss --card tj-001 --region tianjin",
            "card loss --card tj-001 --formal",
            "card state --card tj-001",
            "money reserve --card bj-001 --amount-fen 5000 --seconds 60",
            "money capture --transaction t --amount-fen 100",
            "money refund --transaction t --amount-fen 100 --cause duplicate",
            "money reverse --request 0192a3b4-c5d6-7000-8000-000000000000",
            "status --transaction 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
            "status --request 0192a3b4-c5d6-7000-8000-000000000000",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err().map(|error| error.to_string()));
        }
    }

    #[test]
    fn what_says_too_little_or_too_much_is_refused() {
        for line in [
            "tap --card tj-001 --station 西直门",
            "tap --card tj-001 --station 西直门 --in --out",
            "authenticate code",
            "authenticate document --number 1",
            "library checkout --item A --card bj-001 --session 00",
            "money reserve --amount-fen 5000",
            "money reverse",
            "money reverse --transaction a --request b",
            "status",
            "status --transaction a --request b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_data_folder_has_a_default() {
        let args = parse("card state --card tj-001").expect("understood");
        assert_eq!(args.data, PathBuf::from(".onecard"));
        assert!(matches!(args.act, Act::Card(CardAct::State { .. })));
    }
}
