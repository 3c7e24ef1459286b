//! The acts of a library terminal. The reader is authenticated by the chip first
//! unless a session of an earlier authentication is given.

use super::{
    acts::{Chip, ask, chip},
    args::{Library, Reader},
    print::{Fact, Report, local_time},
    session::Session,
};
use crate::{
    model::Purpose,
    proto::{
        common::v1::RequestHeader,
        library::v1::{
            CancelHoldRequest, CancelHoldResponse, CheckinRequest, CheckinResponse, CheckoutRequest,
            CheckoutResponse, EndSessionRequest, EndSessionResponse, GetPatronRequest, GetPatronResponse,
            Loan, PayFeeRequest, PayFeeResponse, PlaceHoldRequest, PlaceHoldResponse, RenewRequest,
            RenewResponse,
        },
    },
};

/// Does one act at a library.
pub(super) async fn act(session: &Session<'_>, act: &Library) -> anyhow::Result<Report> {
    let reader = reader_of(act);
    let holder_session = match (&reader.session, &reader.card) {
        (Some(given), _) => given.clone(),
        (None, None) => String::new(),
        (None, Some(card)) => match chip(session, card).await? {
            Chip::Stopped(report) => return Ok(report),
            Chip::Finished(finished) => match finished.holder_session() {
                Some(id) => id.to_owned(),
                None => return finished.report(session),
            },
        },
    };
    let header = RequestHeader { holder_session, ..session.header(Purpose::LibraryLoan) };
    let library = reader.library.clone();
    match act {
        Library::Checkout { item, .. } => {
            ask!(
                session,
                checkout,
                header,
                CheckoutRequest { library: library, item: item.clone() },
                |response: &CheckoutResponse| loan_facts(response.loan.as_ref(), &response.screen_message)
            )
        }
        Library::Checkin { item, .. } => {
            ask!(
                session,
                checkin,
                header,
                CheckinRequest { library: library, item: item.clone() },
                checkin_facts
            )
        }
        Library::Renew { item, .. } => {
            ask!(
                session,
                renew,
                header,
                RenewRequest { library: library, item: item.clone() },
                |response: &RenewResponse| loan_facts(response.loan.as_ref(), &response.screen_message)
            )
        }
        Library::Hold { item, pickup, .. } => {
            ask!(
                session,
                place_hold,
                header,
                PlaceHoldRequest { library: library, item: item.clone(), pickup_location: pickup.clone() },
                hold_facts
            )
        }
        Library::CancelHold { item, .. } => {
            ask!(
                session,
                cancel_hold,
                header,
                CancelHoldRequest { library: library, item: item.clone() },
                |response: &CancelHoldResponse| shown(&response.screen_message)
            )
        }
        Library::Pay { amount_fen, fee, .. } => {
            ask!(
                session,
                pay_fee,
                header,
                PayFeeRequest { library: library, amount_fen: *amount_fen, fee: fee.clone() },
                |response: &PayFeeResponse| shown(&response.screen_message)
            )
        }
        Library::Patron { .. } => {
            ask!(session, patron, header, GetPatronRequest { library: library }, patron_facts)
        }
        Library::End { .. } => {
            ask!(
                session,
                end_session,
                header,
                EndSessionRequest { library: library },
                |_: &EndSessionResponse| Vec::new()
            )
        }
    }
}

fn reader_of(act: &Library) -> &Reader {
    match act {
        Library::Checkout { reader, .. }
        | Library::Checkin { reader, .. }
        | Library::Renew { reader, .. }
        | Library::Hold { reader, .. }
        | Library::CancelHold { reader, .. }
        | Library::Pay { reader, .. }
        | Library::Patron { reader }
        | Library::End { reader } => reader,
    }
}

fn shown(screen_message: &str) -> Vec<Fact> {
    match screen_message {
        "" => Vec::new(),
        text => vec![Fact::new("screen_message", "馆方提示", text)],
    }
}

fn loan_facts(loan: Option<&Loan>, screen_message: &str) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(loan) = loan {
        facts.push(Fact::new("item", "文献", loan.item.as_str()));
        facts.push(Fact::new("title", "题名", loan.title.as_str()));
        if loan.due_at_ms != 0 {
            facts.push(Fact::instant("due_at_ms", "应还", loan.due_at_ms));
        }
    }
    facts.extend(shown(screen_message));
    facts
}

fn checkin_facts(response: &CheckinResponse) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("title", "题名", response.title.as_str()),
        Fact::new("permanent_location", "馆藏地", response.permanent_location.as_str()),
    ];
    if response.alert {
        facts.push(Fact::new("alert", "请处理", true));
    }
    facts.extend(shown(&response.screen_message));
    facts
}

fn hold_facts(response: &PlaceHoldResponse) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("queue_position", "排队", response.queue_position),
        Fact::new("available", "可取", response.available),
    ];
    facts.extend(shown(&response.screen_message));
    facts
}

fn patron_facts(response: &GetPatronResponse) -> Vec<Fact> {
    let loan = |loan: &Loan| format!("{} {} {}", loan.item, loan.title, local_time(loan.due_at_ms));
    let loans: Vec<String> = response.loans.iter().map(loan).collect();
    let mut facts = vec![
        Fact::new("may_borrow", "可借", response.may_borrow),
        Fact::new("loans", "在借", loans.join("; ")),
        Fact::new("holds", "预约", response.holds),
        Fact::new("overdue", "逾期", response.overdue),
        Fact::fen("fees_fen", "欠费", response.fees_fen),
    ];
    facts.extend(shown(&response.screen_message));
    facts
}
