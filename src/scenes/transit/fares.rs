//! Fare tables as they are written in `config/fares/*.toml`. An unknown key is an
//! error. Nothing is decided here; [`super::FareTable`] is made of these.

use serde::Deserialize;

use super::{
    lines::LineFault,
    network::TooManyStations,
    rule::{Overtime, Rule, RuleFault},
};

/// One table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableText {
    /// The same in every version, for example `beijing-metro`.
    pub name: String,
    /// Stands on every charge beside the name.
    pub version: String,
    /// Where the rule comes from.
    pub source: String,
    /// Whether the source is good enough to charge real money by.
    pub verified: bool,
    /// First and last day, `2014-12-28`, Asia/Shanghai. A ride is charged by the
    /// table of the day of its entry.
    pub valid_from: Option<String>,
    pub valid_until: Option<String>,
    /// Absent exactly when the fare is taken at boarding.
    pub network: Option<NetworkText>,
    #[serde(rename = "section")]
    pub sections: Vec<SectionText>,
    /// Absent exactly when the fare is taken at boarding.
    pub unfinished: Option<UnfinishedText>,
}

/// Where the stations come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkText {
    /// A file of `config/stations/`, without `.csv`.
    pub stations: String,
    /// Whether stations of one name are one place to change. Without it every
    /// line is alone, as bus routes are, and every tap must name its line.
    pub transfers: bool,
    /// Whether the data are placeholders.
    pub sandbox: bool,
}

/// Lines behind the same gates, with the same price rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionText {
    pub name: String,
    /// Absent: every line that no other section names.
    #[serde(default)]
    pub lines: Vec<String>,
    pub fare: Rule,
    /// How long a ride may take; absent: for ever.
    pub stay: Option<StayText>,
    /// Absent: the lowest fare.
    pub same_station: Option<SameStationText>,
    /// What this kind of card pays; absent: the whole fare.
    pub card: Option<CardText>,
}

/// How long a ride may take, gate to gate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StayText {
    pub minutes: u32,
    pub then: Overtime,
    pub source: String,
    pub verified: bool,
}

/// An exit where the ride began.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SameStationText {
    /// Up to this long it is free; 0: never. Later it costs the lowest fare.
    pub free_minutes: u32,
    pub source: String,
    pub verified: bool,
}

/// The card's discount.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardText {
    /// 0 to 100. What is paid is rounded half up, once; the holder bears the half
    /// fen.
    pub pays_percent: u32,
    pub source: String,
    pub verified: bool,
}

/// An entry without its exit, met by the card's next entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnfinishedText {
    /// So long after it began the next entry is refused, so that the service desk
    /// can settle the ride; 0: never refused.
    pub refuse_minutes: u32,
    /// Afterwards the next entry settles it like this.
    pub then: Settle,
    pub source: String,
    pub verified: bool,
}

/// What an unfinished ride costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settle {
    /// The lowest fare of the section.
    Lowest,
    /// The fare to the farther end: the station furthest by track.
    Farthest,
    /// Nothing.
    Forgiven,
}

/// Why a table or a book was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}: {fault}")]
pub struct FareProblem {
    /// The file's name as given, or the operator's line.
    pub table: String,
    pub fault: FareFault,
}

/// What is wrong with a table or a book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FareFault {
    #[error("cannot be read: {0}")]
    Syntax(String),
    #[error("{what} must be 1 to 64 of a-z, 0-9, '-', '.'")]
    Name { what: &'static str },
    #[error("{0} is not a day like 2014-12-28")]
    Day(String),
    #[error("it ends before it begins")]
    EndsBeforeItBegins,
    #[error("needs 1 to 16 sections")]
    Sections,
    #[error("a fare at boarding stands alone: one section, no network, no unfinished rides, no stay")]
    BoardingAlone,
    #[error("needs [network] and [unfinished]")]
    NetworkMissing,
    #[error("no file of stations {0}")]
    StationsMissing(String),
    #[error("stations: {0}")]
    Stations(#[from] LineFault),
    #[error("stations: {0}")]
    TooManyStations(#[from] TooManyStations),
    #[error("section {section} names {line}, which is not in the stations")]
    LineUnknown { section: String, line: String },
    #[error("{line} is in more than one section")]
    LineTwice { line: String },
    #[error("more than one section takes the remaining lines")]
    RestTwice,
    #[error("no section takes {line}")]
    LineLeft { line: String },
    #[error("section {section} has no lines")]
    NoLines { section: String },
    #[error("section {section}: {fault}")]
    Rule { section: String, fault: RuleFault },
    #[error("section {section}: {percent} percent; 0 to 100 are expected")]
    Percent { section: String, percent: u32 },
    #[error("another version of {0} is valid in the same time")]
    Overlap(String),
    #[error("no table {0}")]
    TableUnknown(String),
    #[error("{0} is not a participant's name")]
    Participant(String),
    #[error("the operator is listed twice")]
    OperatorTwice,
    #[error("more than {} tables or operators", crate::limits::FARE_TABLES_MAX)]
    TooMany,
}

/// What an operator should know of a table that was taken all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FareNotice {
    #[error("{table}: {what} is not verified: {source_text}")]
    Unverified { table: String, what: String, source_text: String },
    #[error("{table}: the stations are placeholders")]
    Sandbox { table: String },
    #[error("{table}: section {section} is not connected; {station} begins a part of its own")]
    Disconnected { table: String, section: String, station: String },
    #[error("{table}: no operator runs it")]
    Unused { table: String },
}
