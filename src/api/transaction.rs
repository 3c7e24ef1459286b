//! What became of a transaction.

use tonic::{Request, Response, Status};

use super::{
    answer::{answer, transaction_text},
    door::Door,
    parse::Fields,
};
use crate::{
    gateway::{Call, Gateway, Refusal, TransactionAsk, TransactionKey, Violation, method},
    model::{Purpose, RequestId},
    proto::transaction::v1::{
        self as wire, get_transaction_request::By, transaction_service_server::TransactionService,
    },
    store::Committed,
};

pub struct Transactions(pub Door);

#[tonic::async_trait]
impl TransactionService for Transactions {
    async fn get_transaction(
        &self,
        request: Request<wire::GetTransactionRequest>,
    ) -> Result<Response<wire::GetTransactionResponse>, Status> {
        self.0
            .read_only(request, &method::GET_TRANSACTION, |gateway, call, ask| async move {
                get(&gateway, &call, ask).await
            })
            .await
    }
}

async fn get(
    gateway: &Gateway,
    call: &Call,
    request: wire::GetTransactionRequest,
) -> Result<wire::GetTransactionResponse, Refusal> {
    let steps = gateway.transaction(call, ask_of(request)?).await?;
    told(&steps).ok_or_else(|| Refusal::not_found(crate::model::Reason::TransactionUnknown))
}

/// What was asked stands in the first step, what came of it in the last: later
/// steps have no request of their own.
pub(super) fn told(steps: &[Committed]) -> Option<wire::GetTransactionResponse> {
    let (first, last) = (steps.first()?, steps.last()?);
    let entry = &first.entry;
    let request_id = <[u8; 16]>::try_from(entry.request_id.as_slice())
        .map(|bytes| RequestId::from_bytes(bytes).to_string())
        .unwrap_or_default();
    debug_assert!(!transaction_text(&entry.transaction_id).is_empty(), "every entry has a transaction");
    Some(wire::GetTransactionResponse {
        answer: Some(answer(last)),
        request_id,
        scene: entry.scene.clone(),
        method: entry.method.clone(),
        terminal: entry.terminal.clone(),
        steps: steps
            .iter()
            .map(|step| wire::Step {
                status: step.entry.status,
                reason: step.entry.reason.clone(),
                committed_at_ms: step.entry.committed_at_ms,
            })
            .collect(),
    })
}

pub(super) fn ask_of(request: wire::GetTransactionRequest) -> Result<TransactionAsk, Refusal> {
    let mut fields = Fields::default();
    let key = match request.by {
        Some(By::TransactionId(text)) => {
            fields.take(text.parse().map(TransactionKey::Transaction).map_err(|_| {
                Violation::new(
                    "transaction_id",
                    "须为 地区-分片-时间-随机数，如 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
                    "must be region-shard-time-random, for example 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
                )
            }))
        }
        Some(By::RequestId(text)) => fields.take(
            text.parse()
                .map(TransactionKey::Request)
                .map_err(|_| Violation::new("request_id", "须为 UUID", "must be a UUID")),
        ),
        None => {
            fields.wrong(
                "by",
                "须给出 transaction_id 或 request_id",
                "must name a transaction_id or a request_id",
            );
            None
        }
    };
    let purpose = match request.purpose {
        0 => None,
        stated => fields.take(Purpose::from_number(stated).ok_or_else(|| {
            Violation::new(
                "purpose",
                "须为 onecard.common.v1.Purpose 中的用途；不填则按该交易的用途",
                "must be a purpose of onecard.common.v1.Purpose, or be left out for the transaction's own",
            )
        })),
    };
    match key {
        Some(key) if fields.is_clean() => Ok(TransactionAsk { key, purpose }),
        Some(_) | None => Err(Refusal::invalid(fields.into_violations())),
    }
}
