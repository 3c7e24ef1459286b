//! Riding by card: what a tap at a gate or in a bus means and what a ride costs.
//!
//! * [`parse_lines`] and [`Network`]: where stations lie and how far apart;
//! * [`Rule`] and [`FareTable`]: what a ride costs, read from `config/fares/`;
//! * [`FareBook`]: which operator runs which table, when;
//! * [`tap`]: the decision over one tap;
//! * [`upload`]: the decision over an upload of many, taken while the line was down.
//!
//! What does not live here: the check of the tap's MAC and the look into the deny
//! list (the gateway does both before), the balance of the card's purse (it is on the card), the
//! division of revenue between operators of one network (clearing, later).
//!
//! **Money.** Every amount is integer fen. A share in percent is rounded half up,
//! once, on the price the holder pays; so the half fen falls on the holder, and
//! the operator never bears a remainder. Prices by band have none.
//!
//! Not modelled, and so not charged wrongly but not granted either: monthly
//! spending discounts (Beijing, 80 % above 100 yuan), concession cards, children.

mod book;
mod fares;
mod lines;
mod network;
mod rule;
mod table;
mod taps;
mod upload;

#[cfg(test)]
mod samples;

pub use book::{FareBook, OperatorTable};
pub use fares::{FareFault, FareNotice, FareProblem, Settle, TableText};
pub use lines::{Line, LineFault, Stop, parse_lines};
pub use network::{Network, Ride, StationIx, TooManyStations, UnknownStation};
pub use rule::{Band, Bands, Beyond, Overtime, Price, Rule, RuleFault};
pub use table::{FareTable, NoFareBetween, Places, Quote, QuoteDeclined, StayTooLong};
pub use taps::{TapKind, TapRequest, over_the_cap, ridden_seconds, tap, touches};
pub use upload::{
    NumberedTap, UploadRequest, block_id, find_in_block, tap_in_upload, upload, upload_touches,
};
