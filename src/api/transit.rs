//! Transit: `Tap`, `TapStream`, `UploadTaps`, `ListJourneys`.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Instant};

use futures_util::{Stream, StreamExt as _};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::{
    answer::{answer, detail, transaction_text},
    door::{Carrier, Door},
    parse::{self, Fields},
    status::code_of,
    upload::upload_chunk,
};
use crate::{
    gateway::{Call, Gateway, JourneysAsk, Refusal, RefusalKind, TapAsk, TapSide, Violation, method},
    identity::CardDate,
    limits,
    model::{Outcome, Purpose, record},
    proto::transit::v1::{self as wire, transit_service_server::TransitService},
    scenes::transit::ridden_seconds,
    store::Committed,
};

pub struct Transit(pub Door);

#[tonic::async_trait]
impl TransitService for Transit {
    async fn tap(&self, request: Request<wire::TapRequest>) -> Result<Response<wire::TapResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::TAP,
                |fields, tap| tap_ask(fields, tap, false),
                |gateway, call, header, ask| async move { gateway.tap(&call, header, ask).await },
                tap_response,
            )
            .await
    }

    type TapStreamStream = Pin<Box<dyn Stream<Item = Result<wire::TapStreamResponse, Status>> + Send>>;

    async fn tap_stream(
        &self,
        request: Request<Streaming<wire::TapStreamRequest>>,
    ) -> Result<Response<Self::TapStreamStream>, Status> {
        let started = Instant::now();
        let carrier = self
            .0
            .enter_carrier(&request, &method::TAP_STREAM)
            .map_err(|refusal| self.0.refuse_entry(&request, &method::TAP_STREAM, &refusal, started))?;
        Ok(Response::new(Box::pin(stream_answers(self.0.clone(), carrier, request.into_inner()))))
    }

    async fn upload_taps(
        &self,
        request: Request<wire::UploadTapsRequest>,
    ) -> Result<Response<wire::UploadTapsResponse>, Status> {
        let started = Instant::now();
        let carrier = self
            .0
            .enter_carrier(&request, &method::UPLOAD_TAPS)
            .map_err(|refusal| self.0.refuse_entry(&request, &method::UPLOAD_TAPS, &refusal, started))?;
        let result = upload_all(&self.0, &carrier, request.into_inner()).await;
        if let Err(refusal) = &result {
            self.0.gateway().audit_refusal(&carrier.opened, refusal);
        }
        self.0.leave(&carrier.opened, started, result.map(|answer| (answer, Outcome::Approved, false)))
    }

    async fn upload_chunk(
        &self,
        request: Request<wire::UploadChunkRequest>,
    ) -> Result<Response<wire::UploadChunkResponse>, Status> {
        let started = Instant::now();
        let call = match self.0.enter(&request, &method::UPLOAD_CHUNK) {
            Ok(call) => Arc::new(call),
            Err(refusal) => {
                return Err(self.0.refuse_entry(&request, &method::UPLOAD_CHUNK, &refusal, started));
            }
        };
        let result = upload_chunk(&self.0, &call, request.into_inner()).await;
        self.0.leave(&call, started, result)
    }

    async fn list_journeys(
        &self,
        request: Request<wire::ListJourneysRequest>,
    ) -> Result<Response<wire::ListJourneysResponse>, Status> {
        self.0
            .read_only(request, &method::LIST_JOURNEYS, |gateway, call, ask| async move {
                list_journeys(&gateway, &call, &ask).await
            })
            .await
    }
}

/// The answers to the taps of one stream, in the order of the taps.
pub(super) fn stream_answers<S>(
    door: Door,
    carrier: Carrier,
    messages: S,
) -> impl Stream<Item = Result<wire::TapStreamResponse, Status>> + Send
where
    S: Stream<Item = Result<wire::TapStreamRequest, Status>> + Send,
{
    let mut turns = Turns::default();
    messages
        .map(move |message| {
            let (door, carrier) = (door.clone(), carrier.clone());
            let tap = message.map(|message| message.tap.unwrap_or_default());
            turns.forget_ended();
            let tap = tap.map(|tap| (turns.next(&tap), tap));
            async move {
                let (turn, tap) = tap?;
                let (request_id, result) = one_tap(&door, &carrier, turn, tap, false).await;
                let result = match result {
                    Ok(tap) => wire::tap_stream_response::Result::Tap(tap),
                    Err(refusal) => wire::tap_stream_response::Result::Refusal(inline_refusal(&refusal)),
                };
                Ok(wire::TapStreamResponse { request_id, result: Some(result) })
            }
        })
        // As many taps of one stream under way as a batch of the journal likes.
        .buffered(limits::STREAM_TAPS_IN_FLIGHT_MAX)
}

/// The outcomes of an upload, a line each. A participant whose rate is smaller than
/// its upload gets as far as the rate goes; the rest is told to come again.
pub(super) async fn upload_all(
    door: &Door,
    carrier: &Carrier,
    upload: wire::UploadTapsRequest,
) -> Result<wire::UploadTapsResponse, Refusal> {
    if upload.taps.len() > limits::UPLOAD_TAPS_MAX {
        return Err(Refusal::invalid(vec![Violation::new(
            "taps",
            format!("一次至多上传 {} 笔", limits::UPLOAD_TAPS_MAX),
            format!("at most {} taps in one upload, has {}", limits::UPLOAD_TAPS_MAX, upload.taps.len()),
        )]));
    }
    let mut turns = Turns::default();
    let taps = upload.taps.into_iter().map(|tap| (turns.next(&tap), tap));
    let taps: Vec<_> = taps.collect();
    let outcomes = futures_util::stream::iter(taps)
        .map(|(turn, tap)| async move {
            let (request_id, result) = one_tap(door, carrier, turn, tap, true).await;
            let result = match result {
                Ok(tap) => wire::tap_outcome::Result::Tap(tap),
                Err(refusal) => wire::tap_outcome::Result::Refusal(inline_refusal(&refusal)),
            };
            wire::TapOutcome { request_id, result: Some(result) }
        })
        .buffered(limits::STREAM_TAPS_IN_FLIGHT_MAX)
        .collect()
        .await;
    Ok(wire::UploadTapsResponse { outcomes })
}

/// One tap of a stream or an upload: let in, charged to the rate and counted like a
/// call of its own.
pub(super) async fn one_tap(
    door: &Door,
    carrier: &Carrier,
    turn: Turn,
    tap: wire::TapRequest,
    offline: bool,
) -> (String, Result<wire::TapResponse, Refusal>) {
    let started = Instant::now();
    let request_id = tap.header.as_ref().map(|header| header.request_id.clone()).unwrap_or_default();
    let Turn { before, ended } = turn;
    let held = match before {
        Some(before) => before.await.ok().flatten(),
        None => None,
    };
    let call = match held {
        Some(refusal) => Err(refusal),
        None => door.enter_through(carrier),
    };
    let result = match call {
        Ok(call) => {
            door.work(
                &Arc::new(call),
                tap,
                |fields, tap| tap_ask(fields, tap, offline),
                |gateway, call, header, ask| async move { gateway.tap(&call, header, ask).await },
                tap_response,
            )
            .await
        }
        Err(refusal) => {
            door.gateway().audit_refusal(&carrier.opened, &refusal);
            Err(refusal)
        }
    };
    // Nobody may wait for it; then there is nobody to tell.
    let _ = ended.send(result.as_ref().err().filter(|refusal| may_come_again(refusal)).cloned());
    door.count_through(carrier, &result, started);
    (request_id, result.map(|(tap, _, _)| tap))
}

/// Keeps the taps of one card in order within one stream or upload. A later tap that
/// overtook an earlier one would take the card's counter past it, and the earlier
/// one, which its gate was told to send again, would be a replay. So each waits for
/// the one before, and what is told to come again holds back those behind it: all of
/// an upload, and of a stream those that came in before it had its answer. A tap
/// that comes after the answer is the holder's next try, and may go on.
#[derive(Default)]
pub(super) struct Turns(HashMap<Vec<u8>, Ended>);

/// Tells how a tap ended: with the refusal that holds back the next, or without.
type Ended = oneshot::Receiver<Option<Refusal>>;

/// One tap's place in the row of its card.
pub(super) struct Turn {
    before: Option<Ended>,
    pub(super) ended: oneshot::Sender<Option<Refusal>>,
}

impl Turns {
    /// The place of the tap that came in last.
    pub(super) fn next(&mut self, tap: &wire::TapRequest) -> Turn {
        let read = tap.tap.as_ref().and_then(|tap| tap.read.as_ref());
        let card = read.map(|read| read.card_identifier.clone()).unwrap_or_default();
        let (ended, next) = oneshot::channel();
        Turn { before: self.0.insert(card, next), ended }
    }

    /// Forgets the rows whose last tap has its answer; what is left are the taps
    /// under way, which are bounded.
    pub(super) fn forget_ended(&mut self) {
        self.0.retain(|_, ended| matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
    }
}

/// Whether the same tap may be granted when it is sent again.
const fn may_come_again(refusal: &Refusal) -> bool {
    match refusal.kind {
        RefusalKind::Exhausted
        | RefusalKind::Unavailable
        | RefusalKind::DeadlineExceeded
        | RefusalKind::Internal
        | RefusalKind::Unauthenticated => true,
        RefusalKind::Invalid | RefusalKind::Forbidden | RefusalKind::NotFound | RefusalKind::Misused => false,
    }
}

fn inline_refusal(refusal: &Refusal) -> wire::Refusal {
    let first = refusal.violations.first();
    wire::Refusal {
        code: i32::from(code_of(refusal.kind)),
        reason: refusal.reason.code().to_owned(),
        text_zh: first.map_or_else(|| refusal.reason.zh().to_owned(), |violation| violation.zh.clone()),
        text_en: first.map_or_else(|| refusal.reason.en().to_owned(), |violation| violation.en.clone()),
        field: first.map(|violation| violation.field.clone()).unwrap_or_default(),
    }
}

pub(super) fn tap_ask(fields: &mut Fields, request: wire::TapRequest, offline: bool) -> Option<TapAsk> {
    let Some(tap) = request.tap else {
        fields.wrong("tap", "缺少刷卡记录", "is missing; a tap request carries a tap");
        return None;
    };
    let side = match wire::TapKind::try_from(tap.kind) {
        Ok(wire::TapKind::Entry) => Some(TapSide::Entry),
        Ok(wire::TapKind::Exit) => Some(TapSide::Exit),
        Ok(wire::TapKind::Unspecified) | Err(_) => {
            fields.wrong("tap.kind", "须为进站或出站", "must be TAP_KIND_ENTRY or TAP_KIND_EXIT");
            None
        }
    };
    let station = fields.take(parse::text("tap.station", &tap.station, 1, 64));
    let line = fields.take(parse::text("tap.line", &tap.line, 0, 64));
    if tap.tapped_at_ms <= 0 {
        fields.wrong(
            "tap.tapped_at_ms",
            "须为读卡时间（1970 年起的毫秒数）",
            "must be when the card was read, milliseconds since 1970",
        );
    }
    let Some(read) = tap.read else {
        fields.wrong("tap.read", "缺少卡片读取数据", "is missing; a tap carries the card's transit read");
        return None;
    };
    let card = fields.take(parse::card_bytes("tap.read.card_identifier", &read.card_identifier));
    let mac = fields.take(parse::exactly::<8>("tap.read.mac", &read.mac));
    let valid_until = read.valid_until;
    if valid_until != 0 && CardDate::from_yyyymmdd(valid_until).is_err() {
        fields.wrong(
            "tap.read.valid_until",
            "须为卡片有效期 yyyymmdd，读卡器未读取时为 0",
            "must be the card's last good day, yyyymmdd, or 0 where the reader does not read it",
        );
    }
    Some(TapAsk {
        side: side?,
        station: station?,
        line: line?,
        tapped_at_ms: tap.tapped_at_ms,
        card: card?,
        counter: read.counter,
        mac: mac?,
        valid_until,
        offline,
    })
}

fn tap_response(committed: &Committed) -> Result<wire::TapResponse, Refusal> {
    let tap: record::TapDetail = detail(committed)?;
    Ok(wire::TapResponse { answer: Some(answer(committed)), charge: tap.charge.map(charge) })
}

pub(super) fn charge(charge: record::ChargeDetail) -> wire::Charge {
    wire::Charge {
        ridden_seconds: ridden_seconds(&charge),
        from_station: charge.from_station,
        to_station: charge.to_station,
        fare_fen: charge.fare_fen,
        surcharge_fen: charge.surcharge_fen,
        discount_fen: charge.discount_fen,
        amount_fen: charge.amount_fen,
        distance_metres: charge.distance_metres,
        intervals: charge.intervals,
        fare_table: charge.fare_table,
    }
}

async fn list_journeys(
    gateway: &Gateway,
    call: &Call,
    ask: &wire::ListJourneysRequest,
) -> Result<wire::ListJourneysResponse, Refusal> {
    let journeys = gateway.journeys(call, journeys_ask(ask)?).await?;
    Ok(wire::ListJourneysResponse {
        journeys: journeys.done.into_iter().map(journey).collect(),
        open: journeys
            .open
            .map(|open| wire::OpenJourney { station: open.station, entered_at_ms: open.entered_at_ms }),
    })
}

pub(super) fn journeys_ask(ask: &wire::ListJourneysRequest) -> Result<JourneysAsk, Refusal> {
    let mut fields = Fields::default();
    let card = fields.take(parse::card_text("card_identifier", &ask.card_identifier));
    let purpose = fields.take(
        Purpose::from_number(ask.purpose)
            .ok_or_else(|| Violation::new("purpose", "须说明用途", "must state a purpose")),
    );
    if ask.page_size > 100 {
        fields.wrong("page_size", "至多 100", "must be at most 100");
    }
    let (Some(card), Some(purpose), true) = (card, purpose, fields.is_clean()) else {
        return Err(Refusal::invalid(fields.into_violations()));
    };
    let most = if ask.page_size == 0 { 20 } else { ask.page_size as usize };
    Ok(JourneysAsk { card, purpose, most })
}

fn journey((transaction, done): (Vec<u8>, record::ChargeDetail)) -> wire::Journey {
    wire::Journey {
        transaction_id: transaction_text(&transaction),
        entered_at_ms: done.entered_at_ms,
        left_at_ms: done.left_at_ms,
        charge: Some(charge(done)),
    }
}
