//! The decision over one tap. Pure: what is known of the card, the tap and the
//! time of commitment come in; the outcome, the charge and what is known from now
//! on go out.
//!
//! * A counter that is not greater than the highest one seen is a replay: nothing
//!   changes. So a card's first counter is 1, and an offline tap that arrives after
//!   a later one of the same card is declined.
//! * Every other decline still takes the counter, because the card did tap; a ride
//!   that is open stays open.
//! * A card of this region is declined when its own file says so, and every card
//!   when the deny list names it, both as they stand at commitment. An offline tap
//!   that was taken before the card was denied stands: the ride was good. Its time is
//!   under the card's own MAC, so a gate cannot make a dead card's tap older.
//! * An expired card is declined wherever its file or the card itself says so: a
//!   region that did not issue it knows its last good day from the tap.
//! * Money moves from the purse of the card's province to the operator that took
//!   the exit (or the boarding); dividing it between operators is for clearing.

use std::fmt;

use super::{
    book::FareBook,
    table::{FareTable, Quote, QuoteDeclined},
};
use crate::{
    identity::{CardStanding, validity_is_over},
    limits,
    model::{
        AggregateBody, AggregateKey, Assurance, CorruptAggregate, Decision, Denial, Detail, Fen, Millis,
        Outcome, PairwiseHolder, ParticipantId, Posting, Reason, Subject, TransactionId, View, Write,
        record::{CardFile, ChargeDetail, OpenRide, TapDetail, TransitFile},
    },
};

/// What the gate is for. A flat-fare bus boards with `Entry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapKind {
    Entry,
    Exit,
}

impl TapKind {
    /// The number in `onecard.journal.v1.TapDetail` and
    /// `onecard.transit.v1.TapKind`.
    pub const fn number(self) -> u32 {
        match self {
            TapKind::Entry => 1,
            TapKind::Exit => 2,
        }
    }

    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(TapKind::Entry),
            2 => Some(TapKind::Exit),
            _ => None,
        }
    }
}

/// A tap whose MAC has been found right.
#[derive(Clone)]
pub struct TapRequest {
    pub transaction: TransactionId,
    /// AAZ501.
    pub card: [u8; 16],
    /// Province of the card's issuer, 6 digits: whose purse pays.
    pub card_province: u32,
    /// The card is of this region, so its file is here and is looked at.
    pub card_is_ours: bool,
    pub subject: Subject,
    pub pairwise: PairwiseHolder,
    pub operator: ParticipantId,
    pub kind: TapKind,
    /// Station or stop of the operator's table.
    pub station: String,
    /// Line or route; may be empty where the table joins its lines.
    pub line: String,
    pub tapped_at_ms: Millis,
    pub counter: u32,
    /// The card's last good day as its public file says, yyyymmdd; 0 where the gate
    /// did not read it.
    pub valid_until: u32,
    /// Taken while the gate was cut off, uploaded later.
    pub offline: bool,
    /// What the deny list says of the card at commitment, when it names it.
    pub denied: Option<Denial>,
}

/// Tells what kind of tap it was and not whose.
impl fmt::Debug for TapRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapRequest")
            .field("transaction", &self.transaction)
            .field("operator", &self.operator)
            .field("kind", &self.kind)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// The aggregates that [`tap`] looks at.
pub fn touches(request: &TapRequest) -> Vec<AggregateKey> {
    // Room for one that the caller may add.
    let mut keys = Vec::with_capacity(2);
    keys.push(AggregateKey::of::<TransitFile>(&request.card));
    if request.card_is_ours {
        keys.push(AggregateKey::of::<CardFile>(&request.card));
    }
    keys
}

/// Decides a tap.
///
/// # Errors
/// When a stored file cannot be read or says what no file may say.
pub fn tap(
    view: &View,
    request: &TapRequest,
    committed_at_ms: Millis,
    book: &FareBook,
) -> Result<Decision, CorruptAggregate> {
    let mut file: TransitFile = view.get(&request.card)?.unwrap_or_default();
    let (outcome, due) = match advance(&mut file, view, request, committed_at_ms, book)? {
        Ok(due) => (Outcome::Approved, due),
        Err(Reason::CounterReplayed) => {
            return Ok(decision(request, Outcome::Declined(Reason::CounterReplayed), None));
        }
        Err(reason) => (Outcome::Declined(reason), None),
    };
    let mut decision = decision(request, outcome, due.as_ref().map(|due| due.charge.clone()));
    decision.writes.push(Write::put(&request.card, &file));
    decision.postings = due.map_or_else(Vec::new, |due| postings(request, &due));
    Ok(decision)
}

/// Takes a card's file one tap on: what is charged, or why the tap is declined. A
/// replayed counter leaves the file as it is, every other decline takes the counter.
pub(super) fn advance(
    file: &mut TransitFile,
    view: &View,
    request: &TapRequest,
    committed_at_ms: Millis,
    book: &FareBook,
) -> Result<Result<Option<Due>, Reason>, CorruptAggregate> {
    if request.counter <= file.counter {
        return Ok(Err(Reason::CounterReplayed));
    }
    file.counter = request.counter;
    match judge(view, request, committed_at_ms, book, file.open.as_ref()) {
        Ok(granted) => {
            file.open = granted.open;
            Ok(Ok(granted.due))
        }
        Err(Stop::Declined(reason)) => Ok(Err(reason)),
        Err(Stop::Corrupt(corrupt)) => Err(corrupt),
    }
}

/// Decides a tap whose charge a cap does not let through: declined like any other,
/// so it takes the counter, and a ride that is open stays open.
///
/// # Errors
/// When the card's file cannot be read.
pub fn over_the_cap(view: &View, request: &TapRequest) -> Result<Decision, CorruptAggregate> {
    let mut file: TransitFile = view.get(&request.card)?.unwrap_or_default();
    file.counter = file.counter.max(request.counter);
    let mut decision = decision(request, Outcome::Declined(Reason::CapExceeded), None);
    decision.writes.push(Write::put(&request.card, &file));
    Ok(decision)
}

/// Seconds between entry and exit of a charge; 0 for a ride whose exit is not
/// known (`left_at_ms` is 0 then).
pub fn ridden_seconds(charge: &ChargeDetail) -> i64 {
    if charge.left_at_ms == 0 { 0 } else { charge.left_at_ms.saturating_sub(charge.entered_at_ms) / 1_000 }
}

/// What a tap that is granted leaves behind.
struct Granted {
    open: Option<OpenRide>,
    due: Option<Due>,
}

/// A charge and who gets it.
pub(super) struct Due {
    pub(super) operator: ParticipantId,
    pub(super) charge: ChargeDetail,
}

/// Why a tap is not granted.
enum Stop {
    Declined(Reason),
    Corrupt(CorruptAggregate),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Stop::Declined(reason)
    }
}

impl From<CorruptAggregate> for Stop {
    fn from(corrupt: CorruptAggregate) -> Self {
        Stop::Corrupt(corrupt)
    }
}

fn judge(
    view: &View,
    request: &TapRequest,
    committed_at_ms: Millis,
    book: &FareBook,
    open: Option<&OpenRide>,
) -> Result<Granted, Stop> {
    let denied_since = request.denied.filter(|denial| !is_before(request, denial));
    if let Some(denial) = denied_since {
        return Err(denial.reason.into());
    }
    check_time(request, committed_at_ms)?;
    let at_ms = if request.offline { request.tapped_at_ms } else { committed_at_ms };
    if validity_is_over(request.valid_until, at_ms) {
        return Err(Reason::CardExpired.into());
    }
    if request.card_is_ours {
        let file: CardFile = view.get(&request.card)?.ok_or(Reason::CardUnknown)?;
        if request.denied.is_none() {
            check_state(&file, at_ms)?;
        }
        if validity_is_over(file.valid_until, at_ms) {
            return Err(Reason::CardExpired.into());
        }
    }
    match request.kind {
        TapKind::Entry => enter(request, book, open),
        TapKind::Exit => leave(request, book, open),
    }
}

/// The tap's own time decides the table and the time ridden, so it must be near the
/// commitment; an upload may be late, and only late.
fn check_time(request: &TapRequest, committed_at_ms: Millis) -> Result<(), Reason> {
    let age_ms = committed_at_ms.saturating_sub(request.tapped_at_ms);
    if age_ms < -limits::TAP_AHEAD_MS {
        return Err(Reason::TerminalClockWrong);
    }
    let oldest = if request.offline { limits::OFFLINE_TAP_AGE_MS } else { limits::ONLINE_TAP_AGE_MS };
    if age_ms > oldest { Err(Reason::TapTooOld) } else { Ok(()) }
}

/// Whether the tap was taken before the card was denied: then what the file says of
/// it now came later too.
fn is_before(request: &TapRequest, denial: &Denial) -> bool {
    request.offline && request.tapped_at_ms < denial.since_ms
}

/// AAZ502: 1 is usable, and so is a temporary loss that has lapsed.
fn check_state(file: &CardFile, at_ms: Millis) -> Result<(), Stop> {
    let standing = CardStanding::from_stored(file.state, file.state_expires_at_ms)
        .map_err(|_| CorruptAggregate { kind: CardFile::KIND })?;
    Ok(standing.usable(at_ms)?)
}

fn enter(request: &TapRequest, book: &FareBook, open: Option<&OpenRide>) -> Result<Granted, Stop> {
    let table = book.table(&request.operator, request.tapped_at_ms).ok_or(Reason::NoFare)?;
    if let Some(quote) = table.boarding() {
        // Boarding completes at once and leaves a ride elsewhere alone.
        let charge = ChargeDetail {
            from_station: request.station.clone(),
            entered_at_ms: request.tapped_at_ms,
            left_at_ms: request.tapped_at_ms,
            ..charge(table, &quote)
        };
        let due = Due { operator: request.operator.clone(), charge };
        return Ok(Granted { open: open.cloned(), due: Some(due) });
    }
    table.place(&request.line, &request.station).ok_or(Reason::StationUnknown)?;
    let due = match open {
        None => None,
        Some(open) => settle(request, book, open)?,
    };
    let open = OpenRide {
        operator: request.operator.as_str().to_owned(),
        station: request.station.clone(),
        line: request.line.clone(),
        entered_at_ms: request.tapped_at_ms,
        transaction_id: request.transaction.as_bytes().to_vec(),
    };
    Ok(Granted { open: Some(open), due })
}

/// Ends a ride that has no exit, by the rule of the table it began under. A ride
/// whose table or station is no longer configured is forgiven: the operator bears
/// it.
fn settle(request: &TapRequest, book: &FareBook, open: &OpenRide) -> Result<Option<Due>, Stop> {
    let since_ms = request.tapped_at_ms.saturating_sub(open.entered_at_ms);
    if since_ms < 0 {
        return Err(Reason::TapOutOfOrder.into());
    }
    let operator = operator_of(open)?;
    let Some(table) = book.table(&operator, open.entered_at_ms) else {
        return Ok(None);
    };
    if since_ms < table.unfinished_refused_ms() {
        return Err(Reason::EntryOpen.into());
    }
    let settled = table.place(&open.line, &open.station).and_then(|from| {
        let (quote, end) = table.settle(&from)?;
        let charge = ChargeDetail {
            from_station: open.station.clone(),
            to_station: end.unwrap_or_default().to_owned(),
            entered_at_ms: open.entered_at_ms,
            left_at_ms: 0,
            ..charge(table, &quote)
        };
        Some(Due { operator, charge })
    });
    Ok(settled)
}

fn leave(request: &TapRequest, book: &FareBook, open: Option<&OpenRide>) -> Result<Granted, Stop> {
    let open = open.ok_or(Reason::NoEntry)?;
    if request.tapped_at_ms < open.entered_at_ms {
        return Err(Reason::TapOutOfOrder.into());
    }
    let table = book.table(&request.operator, open.entered_at_ms).ok_or(Reason::NoFare)?;
    // Two operators may share one network; then they run the same table.
    let began_under = book.table(&operator_of(open)?, open.entered_at_ms).map(FareTable::name);
    if began_under != Some(table.name()) {
        return Err(Reason::NoEntry.into());
    }
    let to = table.place(&request.line, &request.station).ok_or(Reason::StationUnknown)?;
    let from = table.place(&open.line, &open.station).ok_or(Reason::NoFare)?;
    let ridden_ms = request.tapped_at_ms.saturating_sub(open.entered_at_ms);
    let quote = table.quote(&from, &to, ridden_ms).map_err(|declined| match declined {
        QuoteDeclined::NoFareBetween(_) => Reason::NoFare,
        QuoteDeclined::StayTooLong(_) => Reason::RideTooLong,
    })?;
    let charge = ChargeDetail {
        from_station: open.station.clone(),
        to_station: request.station.clone(),
        entered_at_ms: open.entered_at_ms,
        left_at_ms: request.tapped_at_ms,
        ..charge(table, &quote)
    };
    Ok(Granted { open: None, due: Some(Due { operator: request.operator.clone(), charge }) })
}

fn operator_of(open: &OpenRide) -> Result<ParticipantId, CorruptAggregate> {
    open.operator.parse().map_err(|_| CorruptAggregate { kind: TransitFile::KIND })
}

/// The money side of a charge.
fn charge(table: &FareTable, quote: &Quote) -> ChargeDetail {
    ChargeDetail {
        fare_fen: quote.fare.get(),
        surcharge_fen: quote.surcharge.get(),
        discount_fen: quote.discount.get(),
        amount_fen: quote.amount.get(),
        distance_metres: quote.measured.metres,
        intervals: quote.measured.intervals,
        fare_table: table.label().to_owned(),
        ..ChargeDetail::default()
    }
}

fn postings(request: &TapRequest, due: &Due) -> Vec<Posting> {
    fares(request.card_province, due.operator.as_str(), Fen::new(due.charge.amount_fen))
}

/// Debit what the province's purses owe their holders, credit the operator. The
/// accounts name no card, because postings stand in the public part of an entry.
pub(super) fn fares(province: u32, operator: &str, amount: Fen) -> Vec<Posting> {
    if amount == Fen::ZERO {
        return Vec::new();
    }
    vec![
        Posting { account: format!("purse/{province:06}"), amount },
        Posting { account: format!("participant/{operator}/fares"), amount: amount.negated() },
    ]
}

/// A tap as the journal keeps it.
pub(super) fn tap_detail(request: &TapRequest, charge: Option<ChargeDetail>) -> TapDetail {
    TapDetail {
        card: request.card.to_vec(),
        kind: request.kind.number(),
        station: request.station.clone(),
        line: request.line.clone(),
        tapped_at_ms: request.tapped_at_ms,
        counter: request.counter,
        charge,
        operator: request.operator.as_str().to_owned(),
    }
}

fn decision(request: &TapRequest, outcome: Outcome, charge: Option<ChargeDetail>) -> Decision {
    let detail = tap_detail(request, charge);
    Decision {
        assurance: Some(Assurance::TransitRead),
        subject: Some(request.subject),
        pairwise: Some(request.pairwise),
        detail: Detail::personal(&detail),
        ..Decision::new(outcome)
    }
}

#[cfg(test)]
mod tests;
