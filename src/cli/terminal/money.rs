//! The acts about a transaction's money.

use anyhow::bail;

use super::{
    acts::{Chip, ask, chip},
    args::{CauseArg, Money},
    print::{Fact, Report},
    session::Session,
};
use crate::{
    model::{Purpose, Scene},
    proto::{
        common::v1::RequestHeader,
        transaction::v1::{
            CaptureRequest, CaptureResponse, CorrectionCause, Money as Standing, RefundRequest,
            RefundResponse, ReleaseRequest, ReleaseResponse, ReserveRequest, ReserveResponse, ReverseRequest,
            ReverseResponse, reverse_request::By,
        },
    },
};

/// Does one act about money.
pub(super) async fn act(session: &Session<'_>, act: &Money) -> anyhow::Result<Report> {
    match act {
        Money::Reserve { card, session: given, amount_fen, seconds } => {
            let holder_session = match (given, card) {
                (Some(given), _) => given.clone(),
                (None, None) => bail!("name a --card or a --session"),
                (None, Some(card)) => match chip(session, card).await? {
                    Chip::Stopped(report) => return Ok(report),
                    Chip::Finished(finished) => match finished.holder_session() {
                        Some(id) => id.to_owned(),
                        None => return finished.report(session),
                    },
                },
            };
            let header = RequestHeader { holder_session, ..session.header(Purpose::LibraryLoan) };
            let life_ms = i64::from(*seconds) * 1_000;
            ask!(
                session,
                reserve,
                header,
                ReserveRequest { amount_fen: *amount_fen, life_ms: life_ms },
                |response: &ReserveResponse| standing_facts(response.money.as_ref())
            )
        }
        Money::Capture { transaction, amount_fen } => {
            ask!(
                session,
                capture,
                session.header(Purpose::LibraryLoan),
                CaptureRequest { transaction_id: transaction.clone(), amount_fen: *amount_fen },
                |response: &CaptureResponse| standing_facts(response.money.as_ref())
            )
        }
        Money::Release { transaction } => {
            ask!(
                session,
                release,
                session.header(Purpose::LibraryLoan),
                ReleaseRequest { transaction_id: transaction.clone() },
                |response: &ReleaseResponse| standing_facts(response.money.as_ref())
            )
        }
        Money::Refund { transaction, amount_fen, cause } => {
            ask!(
                session,
                refund,
                session.header(purpose_of(session)),
                RefundRequest {
                    transaction_id: transaction.clone(),
                    amount_fen: *amount_fen,
                    cause: number(*cause)
                },
                |response: &RefundResponse| standing_facts(response.money.as_ref())
            )
        }
        Money::Reverse { transaction, request, cause } => {
            let by = match (transaction, request) {
                (Some(id), _) => By::TransactionId(id.clone()),
                (None, Some(id)) => By::RequestId(id.clone()),
                (None, None) => bail!("name a --transaction or a --request"),
            };
            ask!(
                session,
                reverse,
                session.header(purpose_of(session)),
                ReverseRequest { by: Some(by), cause: number(*cause) },
                |response: &ReverseResponse| standing_facts(response.money.as_ref())
            )
        }
    }
}

/// What the terminal sells: a gate takes back rides, a desk what was paid there.
fn purpose_of(session: &Session<'_>) -> Purpose {
    if session.may(Scene::Transit.name()) { Purpose::TransitRide } else { Purpose::LibraryLoan }
}

fn number(cause: CauseArg) -> i32 {
    match cause {
        CauseArg::Holder => CorrectionCause::Holder,
        CauseArg::Terminal => CorrectionCause::Terminal,
        CauseArg::Duplicate => CorrectionCause::Duplicate,
        CauseArg::Amount => CorrectionCause::Amount,
        CauseArg::Desk => CorrectionCause::Desk,
    }
    .into()
}

/// How the money of a transaction stands.
pub(super) fn standing_facts(money: Option<&Standing>) -> Vec<Fact> {
    let Some(money) = money else { return Vec::new() };
    let mut facts = Vec::new();
    if money.reserved_fen != 0 {
        facts.push(Fact::fen("reserved_fen", "已冻结", money.reserved_fen));
        facts.push(Fact::instant("reservation_expires_at_ms", "到期", money.expires_at_ms));
    }
    facts.push(Fact::fen("captured_fen", "已收款", money.captured_fen));
    facts.push(Fact::fen("refunded_fen", "已退款", money.refunded_fen));
    facts
}
