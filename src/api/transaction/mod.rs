//! What became of a transaction, and the requests about its money.
//!
//! `ask` reads the requests, `told` projects the journal's entries.

pub(super) mod ask;
mod told;

use tonic::{Request, Response, Status};

pub(super) use told::told;

use super::{
    answer::{answer, detail},
    door::{Door, HasHeader},
    parse::Fields,
};
use crate::{
    gateway::{Method, MoneyAsk, Refusal, method},
    model::{Reason, record},
    proto::{
        common::v1 as common,
        transaction::v1::{self as wire, transaction_service_server::TransactionService},
    },
};

pub struct Transactions(pub Door);

impl Transactions {
    /// A later request about money: all five are read, run and answered alike.
    async fn money<T: HasHeader, R>(
        &self,
        request: Request<T>,
        method: &'static Method,
        body: impl FnOnce(&mut Fields, T) -> Option<MoneyAsk>,
        project: impl FnOnce(Option<common::Answer>, Option<wire::Money>) -> R,
    ) -> Result<Response<R>, Status> {
        self.0
            .mutate(
                request,
                method,
                body,
                |gateway, call, header, ask| async move { gateway.money(&call, header, ask).await },
                |committed| -> Result<R, Refusal> {
                    let money = told::money(&detail::<record::PaymentDetail>(committed)?);
                    Ok(project(Some(answer(committed)), money))
                },
            )
            .await
    }
}

#[tonic::async_trait]
impl TransactionService for Transactions {
    async fn get_transaction(
        &self,
        request: Request<wire::GetTransactionRequest>,
    ) -> Result<Response<wire::GetTransactionResponse>, Status> {
        self.0
            .read_only(request, &method::GET_TRANSACTION, |gateway, call, request| async move {
                let steps = gateway.transaction(&call, ask::transaction(request)?).await?;
                told(&steps).ok_or_else(|| Refusal::not_found(Reason::TransactionUnknown))
            })
            .await
    }

    async fn reserve(
        &self,
        request: Request<wire::ReserveRequest>,
    ) -> Result<Response<wire::ReserveResponse>, Status> {
        self.money(request, &method::RESERVE, ask::reserve, |answer, money| wire::ReserveResponse {
            answer,
            money,
        })
        .await
    }

    async fn capture(
        &self,
        request: Request<wire::CaptureRequest>,
    ) -> Result<Response<wire::CaptureResponse>, Status> {
        self.money(request, &method::CAPTURE, ask::capture, |answer, money| wire::CaptureResponse {
            answer,
            money,
        })
        .await
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        self.money(request, &method::RELEASE, ask::release, |answer, money| wire::ReleaseResponse {
            answer,
            money,
        })
        .await
    }

    async fn refund(
        &self,
        request: Request<wire::RefundRequest>,
    ) -> Result<Response<wire::RefundResponse>, Status> {
        self.money(request, &method::REFUND, ask::refund, |answer, money| wire::RefundResponse {
            answer,
            money,
        })
        .await
    }

    async fn reverse(
        &self,
        request: Request<wire::ReverseRequest>,
    ) -> Result<Response<wire::ReverseResponse>, Status> {
        self.money(request, &method::REVERSE, ask::reverse, |answer, money| wire::ReverseResponse {
            answer,
            money,
        })
        .await
    }
}
