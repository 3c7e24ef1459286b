//! The reader's side of a library.

use tonic::{Request, Response, Status};

use super::{
    answer::{answer, detail},
    door::{Door, HasHeader},
    parse::{self, Fields},
};
use crate::{
    gateway::{LibraryAsk, Method, Refusal, method},
    model::{Fen, record},
    proto::library::v1::{self as wire, library_service_server::LibraryService},
    scenes::library::LibraryAct,
    store::Committed,
};

pub struct Library(pub Door);

impl Library {
    async fn act<T: HasHeader, R>(
        &self,
        request: Request<T>,
        method: &'static Method,
        body: impl FnOnce(&mut Fields, T) -> Option<LibraryAsk>,
        project: impl FnOnce(&Committed, record::LibraryDetail) -> R,
    ) -> Result<Response<R>, Status> {
        self.0
            .mutate(
                request,
                method,
                body,
                |gateway, call, header, ask| async move { gateway.library(&call, header, ask).await },
                |committed| -> Result<R, Refusal> { Ok(project(committed, detail(committed)?)) },
            )
            .await
    }
}

/// The fields that every act shares.
pub(super) fn ask(fields: &mut Fields, act: LibraryAct, library: &str, item: &str) -> Option<LibraryAsk> {
    let library = fields.take(parse::text("library", library, 0, 64));
    let least = usize::from(act.needs_item());
    let item = fields.take(parse::text("item", item, least, 64));
    let (library, item) = (library?, item?);
    Some(LibraryAsk {
        act,
        library: (!library.is_empty()).then_some(library),
        item,
        pickup_location: String::new(),
        amount: Fen::ZERO,
        fee: String::new(),
    })
}

pub(super) fn place_hold_ask(fields: &mut Fields, wire: wire::PlaceHoldRequest) -> Option<LibraryAsk> {
    let asked = ask(fields, LibraryAct::PlaceHold, &wire.library, &wire.item);
    let pickup = fields.take(parse::text("pickup_location", &wire.pickup_location, 0, 64));
    Some(LibraryAsk { pickup_location: pickup?, ..asked? })
}

pub(super) fn pay_fee_ask(fields: &mut Fields, wire: wire::PayFeeRequest) -> Option<LibraryAsk> {
    let asked = ask(fields, LibraryAct::PayFee, &wire.library, "");
    let fee = fields.take(parse::text("fee", &wire.fee, 0, 64));
    if wire.amount_fen <= 0 {
        fields.wrong("amount_fen", "须为大于 0 的整数分", "must be an integer of fen greater than 0");
    }
    Some(LibraryAsk { amount: Fen::new(wire.amount_fen), fee: fee?, ..asked? })
}

fn loan(detail: &record::LibraryDetail) -> Option<wire::Loan> {
    let known = !detail.title.is_empty() || detail.due_at_ms != 0;
    known.then(|| wire::Loan {
        item: detail.item.clone(),
        title: detail.title.clone(),
        due_at_ms: detail.due_at_ms,
    })
}

#[tonic::async_trait]
impl LibraryService for Library {
    async fn checkout(
        &self,
        request: Request<wire::CheckoutRequest>,
    ) -> Result<Response<wire::CheckoutResponse>, Status> {
        self.act(
            request,
            &method::CHECKOUT,
            |fields, wire| ask(fields, LibraryAct::Checkout, &wire.library, &wire.item),
            |committed, detail| wire::CheckoutResponse {
                answer: Some(answer(committed)),
                loan: loan(&detail),
                screen_message: detail.screen_message,
            },
        )
        .await
    }

    async fn checkin(
        &self,
        request: Request<wire::CheckinRequest>,
    ) -> Result<Response<wire::CheckinResponse>, Status> {
        self.act(
            request,
            &method::CHECKIN,
            |fields, wire| ask(fields, LibraryAct::Checkin, &wire.library, &wire.item),
            |committed, detail| wire::CheckinResponse {
                answer: Some(answer(committed)),
                title: detail.title,
                permanent_location: detail.permanent_location,
                alert: detail.alert,
                screen_message: detail.screen_message,
            },
        )
        .await
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        self.act(
            request,
            &method::RENEW,
            |fields, wire| ask(fields, LibraryAct::Renew, &wire.library, &wire.item),
            |committed, detail| wire::RenewResponse {
                answer: Some(answer(committed)),
                loan: loan(&detail),
                screen_message: detail.screen_message,
            },
        )
        .await
    }

    async fn place_hold(
        &self,
        request: Request<wire::PlaceHoldRequest>,
    ) -> Result<Response<wire::PlaceHoldResponse>, Status> {
        self.act(request, &method::PLACE_HOLD, place_hold_ask, |committed, detail| wire::PlaceHoldResponse {
            answer: Some(answer(committed)),
            queue_position: detail.queue_position,
            available: detail.available,
            screen_message: detail.screen_message,
        })
        .await
    }

    async fn cancel_hold(
        &self,
        request: Request<wire::CancelHoldRequest>,
    ) -> Result<Response<wire::CancelHoldResponse>, Status> {
        self.act(
            request,
            &method::CANCEL_HOLD,
            |fields, wire| ask(fields, LibraryAct::CancelHold, &wire.library, &wire.item),
            |committed, detail| wire::CancelHoldResponse {
                answer: Some(answer(committed)),
                screen_message: detail.screen_message,
            },
        )
        .await
    }

    async fn pay_fee(
        &self,
        request: Request<wire::PayFeeRequest>,
    ) -> Result<Response<wire::PayFeeResponse>, Status> {
        self.act(request, &method::PAY_FEE, pay_fee_ask, |committed, detail| wire::PayFeeResponse {
            answer: Some(answer(committed)),
            screen_message: detail.screen_message,
        })
        .await
    }

    async fn get_patron(
        &self,
        request: Request<wire::GetPatronRequest>,
    ) -> Result<Response<wire::GetPatronResponse>, Status> {
        self.act(
            request,
            &method::GET_PATRON,
            |fields, wire| ask(fields, LibraryAct::GetPatron, &wire.library, ""),
            |committed, detail| wire::GetPatronResponse {
                answer: Some(answer(committed)),
                loans: detail.loans.iter().map(loan_line).collect(),
                holds: detail.holds,
                overdue: detail.overdue,
                fees_fen: detail.fees_fen,
                may_borrow: detail.may_borrow,
                screen_message: detail.screen_message,
            },
        )
        .await
    }

    async fn end_session(
        &self,
        request: Request<wire::EndSessionRequest>,
    ) -> Result<Response<wire::EndSessionResponse>, Status> {
        self.act(
            request,
            &method::END_SESSION,
            |fields, wire| ask(fields, LibraryAct::EndSession, &wire.library, ""),
            |committed, _| wire::EndSessionResponse { answer: Some(answer(committed)) },
        )
        .await
    }
}

fn loan_line(loan: &record::LoanDetail) -> wire::Loan {
    wire::Loan { item: loan.item.clone(), title: loan.title.clone(), due_at_ms: loan.due_at_ms }
}
