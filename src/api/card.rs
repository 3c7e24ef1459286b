//! The card: loss, lift, state, code.

use tonic::{Request, Response, Status};

use super::{
    answer::{answer, detail},
    door::Door,
    parse::{self, Fields},
};
use crate::{
    gateway::{Header, Refusal, Role, Violation, method},
    identity::{CardIdentifier, RegionCode},
    model::{Millis, record},
    proto::card::v1::{self as wire, card_service_server::CardService},
    scenes::card::LossKind,
    store::Committed,
};

pub struct Card(pub Door);

#[tonic::async_trait]
impl CardService for Card {
    async fn report_loss(
        &self,
        request: Request<wire::ReportLossRequest>,
    ) -> Result<Response<wire::ReportLossResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::REPORT_LOSS,
                loss_ask,
                |gateway, call, header, (card, kind)| async move {
                    gateway.report_loss(&call, header, card, kind).await
                },
                |committed| {
                    let said: record::CardDetail = detail(committed)?;
                    Ok(wire::ReportLossResponse {
                        answer: Some(answer(committed)),
                        state: state(&said),
                        expires_at_ms: said.state_expires_at_ms,
                        deny_list_version: said.deny_list_version,
                    })
                },
            )
            .await
    }

    async fn lift_loss(
        &self,
        request: Request<wire::LiftLossRequest>,
    ) -> Result<Response<wire::LiftLossResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::LIFT_LOSS,
                |fields, ask| card_of(fields, &ask.card_identifier),
                |gateway, call, header, card| async move {
                    lifted_by_somebody(call.caller.participant.role, &header)?;
                    gateway.lift_loss(&call, header, card).await
                },
                |committed| {
                    let said: record::CardDetail = detail(committed)?;
                    Ok(wire::LiftLossResponse {
                        answer: Some(answer(committed)),
                        state: state(&said),
                        deny_list_version: said.deny_list_version,
                    })
                },
            )
            .await
    }

    async fn get_card_state(
        &self,
        request: Request<wire::GetCardStateRequest>,
    ) -> Result<Response<wire::GetCardStateResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::GET_CARD_STATE,
                |fields, ask| card_of(fields, &ask.card_identifier),
                |gateway, call, header, card| async move { gateway.card_state(&call, header, card).await },
                state_response,
            )
            .await
    }

    async fn issue_code(
        &self,
        request: Request<wire::IssueCodeRequest>,
    ) -> Result<Response<wire::IssueCodeResponse>, Status> {
        let gateway = std::sync::Arc::clone(self.0.gateway());
        self.0
            .mutate(
                request,
                &method::ISSUE_CODE,
                |fields, ask| card_of(fields, &ask.card_identifier),
                |gateway, call, header, card| async move { gateway.issue_code(&call, header, card).await },
                |committed| code_response(committed, gateway.now_ms()),
            )
            .await
    }
}

pub(super) fn card_of(fields: &mut Fields, text: &str) -> Option<CardIdentifier> {
    fields.take(parse::card_text("card_identifier", text))
}

pub(super) fn loss_ask(
    fields: &mut Fields,
    ask: wire::ReportLossRequest,
) -> Option<(CardIdentifier, LossKind)> {
    let card = card_of(fields, &ask.card_identifier);
    let kind = match wire::LossKind::try_from(ask.kind) {
        Ok(wire::LossKind::Temporary) => Some(LossKind::Temporary),
        Ok(wire::LossKind::Formal) => Some(LossKind::Formal),
        Ok(wire::LossKind::Unspecified) | Err(_) => {
            fields.wrong("kind", "须为临时挂失或正式挂失", "must be LOSS_KIND_TEMPORARY or LOSS_KIND_FORMAL");
            None
        }
    };
    Some((card?, kind?))
}

/// Nobody revives a card unnamed. The e-card app has its holder before it; at the
/// service desk the clerk who looked at the holder answers for it.
fn lifted_by_somebody(role: Role, header: &Header) -> Result<(), Refusal> {
    match role {
        Role::Operator if header.operator.trim().is_empty() => Err(Refusal::invalid(vec![Violation::new(
            "header.operator_id",
            "服务台解挂须注明经办人，由其核验持卡人",
            "must name the clerk who checked the holder: a service desk lifts no loss unnamed",
        )])),
        // A terminal has been refused at the door, by the table of methods.
        Role::Terminal | Role::Ecard | Role::Operator => Ok(()),
    }
}

/// The code while it lives: a repeat that comes later gets none, rather than one that
/// every reader refuses.
fn code_response(committed: &Committed, now: Millis) -> Result<wire::IssueCodeResponse, Refusal> {
    let said: record::CardDetail = detail(committed)?;
    let lives = now < said.session_expires_at_ms;
    Ok(wire::IssueCodeResponse {
        answer: Some(answer(committed)),
        code: if lives { said.code } else { String::new() },
        expires_at_ms: said.session_expires_at_ms,
    })
}

fn state_response(committed: &Committed) -> Result<wire::GetCardStateResponse, Refusal> {
    let said: record::CardDetail = detail(committed)?;
    let region = RegionCode::from_code(said.region).map(|region| region.to_string()).unwrap_or_default();
    Ok(wire::GetCardStateResponse {
        answer: Some(answer(committed)),
        state: state(&said),
        expires_at_ms: said.state_expires_at_ms,
        region,
    })
}

/// AAZ502 to the contract's enumeration; a decline that names no card has none.
fn state(said: &record::CardDetail) -> i32 {
    if said.card.is_empty() {
        return wire::CardState::Unspecified.into();
    }
    state_of_digit(said.state).into()
}

/// AAZ502 digit to the contract's enumeration.
const fn state_of_digit(digit: u32) -> wire::CardState {
    match digit {
        0 => wire::CardState::Issued,
        1 => wire::CardState::Normal,
        2 => wire::CardState::Lost,
        3 => wire::CardState::Locked,
        4 => wire::CardState::TemporarilyLost,
        9 => wire::CardState::Cancelled,
        _ => wire::CardState::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Purpose, RequestId};

    #[track_caller]
    fn check(role: Role, operator: &str, lifts: bool) {
        let header = Header {
            request: RequestId::from_bytes([1; 16]),
            fingerprint: [0; 32],
            terminal_time_ms: 1,
            purpose: Purpose::CardService,
            operator: operator.into(),
            session: None,
        };
        match lifted_by_somebody(role, &header) {
            Ok(()) => assert!(lifts, "{role:?} {operator:?}"),
            Err(refusal) => {
                assert!(!lifts, "{role:?} {operator:?}");
                let fields: Vec<_> =
                    refusal.violations.iter().map(|violation| violation.field.as_str()).collect();
                assert_eq!(fields, ["header.operator_id"]);
            }
        }
    }

    #[test]
    fn a_service_desk_names_who_lifts_a_loss() {
        check(Role::Operator, "clerk-7", true);
        check(Role::Operator, "", false);
        check(Role::Operator, "  ", false);
        check(Role::Ecard, "", true);
    }
}
