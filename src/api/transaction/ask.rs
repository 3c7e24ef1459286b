//! The requests about a transaction, from the wire.

use super::wire::{self, get_transaction_request::By, reverse_request};
use crate::{
    api::parse::Fields,
    gateway::{MoneyAsk, Refusal, TransactionAsk, TransactionKey, Violation},
    ledger::payment::{Cause, Later},
    limits,
    model::{Fen, Purpose, TransactionId},
};

pub(in crate::api) fn transaction(request: wire::GetTransactionRequest) -> Result<TransactionAsk, Refusal> {
    let mut fields = Fields::default();
    let key = match request.by {
        Some(By::TransactionId(text)) => by_transaction(&mut fields, &text),
        Some(By::RequestId(text)) => by_request(&mut fields, &text),
        Some(By::Tap(tap)) => by_tap(&mut fields, &tap),
        None => nothing_named(&mut fields),
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

pub(super) fn reserve(fields: &mut Fields, request: wire::ReserveRequest) -> Option<MoneyAsk> {
    let amount = amount(fields, request.amount_fen);
    let life_ms = fields.take(
        limits::RESERVATION_LIFE_MS.contains(&request.life_ms).then_some(request.life_ms).ok_or_else(|| {
            Violation::new(
                "life_ms",
                "须为 1000 至 2592000000 毫秒（1 秒至 30 天）",
                "must be 1000 to 2592000000 milliseconds (one second to 30 days)",
            )
        }),
    );
    Some(MoneyAsk::Reserve { amount: amount?, life_ms: life_ms? })
}

pub(super) fn capture(fields: &mut Fields, request: wire::CaptureRequest) -> Option<MoneyAsk> {
    let of = by_transaction(fields, &request.transaction_id);
    let amount = amount(fields, request.amount_fen);
    Some(MoneyAsk::Later { of: of?, later: Later::Capture { amount: amount? } })
}

pub(super) fn release(fields: &mut Fields, request: wire::ReleaseRequest) -> Option<MoneyAsk> {
    Some(MoneyAsk::Later { of: by_transaction(fields, &request.transaction_id)?, later: Later::Release })
}

pub(super) fn refund(fields: &mut Fields, request: wire::RefundRequest) -> Option<MoneyAsk> {
    let of = by_transaction(fields, &request.transaction_id);
    let amount = amount(fields, request.amount_fen);
    let cause = cause(fields, request.cause);
    Some(MoneyAsk::Later { of: of?, later: Later::Refund { amount: amount?, cause: cause? } })
}

pub(super) fn reverse(fields: &mut Fields, request: wire::ReverseRequest) -> Option<MoneyAsk> {
    let of = match request.by {
        Some(reverse_request::By::TransactionId(text)) => by_transaction(fields, &text),
        Some(reverse_request::By::RequestId(text)) => by_request(fields, &text),
        None => nothing_named(fields),
    };
    let cause = cause(fields, request.cause);
    Some(MoneyAsk::Later { of: of?, later: Later::Reverse { cause: cause? } })
}

fn by_transaction(fields: &mut Fields, text: &str) -> Option<TransactionKey> {
    fields.take(text.parse::<TransactionId>().map(TransactionKey::Transaction).map_err(|_| {
        Violation::new(
            "transaction_id",
            "须为 地区-分片-时间-随机数，如 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
            "must be region-shard-time-random, for example 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
        )
    }))
}

fn by_request(fields: &mut Fields, text: &str) -> Option<TransactionKey> {
    let wrong = |_| Violation::new("request_id", "须为 UUID", "must be a UUID");
    fields.take(text.parse().map(TransactionKey::Request).map_err(wrong))
}

fn by_tap(fields: &mut Fields, tap: &wire::TerminalSequence) -> Option<TransactionKey> {
    let terminal = match tap.terminal.as_str() {
        "" => None,
        text => Some(fields.take(text.parse().map_err(|_| {
            Violation::new("tap.terminal", "须为终端编号", "must be the name of a terminal")
        }))?),
    };
    if !(1..=limits::TAP_SEQUENCE_MAX).contains(&tap.sequence) {
        fields.wrong("tap.sequence", "须为 1 至 2^53", "must be 1 to 2^53");
    }
    Some(TransactionKey::Tap { terminal, sequence: tap.sequence })
}

fn nothing_named(fields: &mut Fields) -> Option<TransactionKey> {
    fields.wrong("by", "须给出 transaction_id 或 request_id", "must name a transaction_id or a request_id");
    None
}

fn amount(fields: &mut Fields, fen: i64) -> Option<Fen> {
    fields.take((1..=limits::AMOUNT_FEN_MAX).contains(&fen).then_some(Fen::new(fen)).ok_or_else(|| {
        Violation::new(
            "amount_fen",
            "须为 1 至 100000000 分（100 万元）",
            "must be 1 to 100000000 fen (1 million yuan)",
        )
    }))
}

fn cause(fields: &mut Fields, number: i32) -> Option<Cause> {
    fields.take(Cause::from_number(number).ok_or_else(|| {
        Violation::new("cause", "须说明原因", "must state a cause of onecard.transaction.v1.CorrectionCause")
    }))
}
