//! Taps: the card's MAC, the deny list, then the fare rules in one commit.

use prost::Message as _;

use super::{
    Call, Gateway, Header, Refusal,
    authentication::suite_refusal,
    deny::reason_of,
    upload::{rides_in, tap_record},
    who::home_of,
};
use crate::{
    crypto::SuiteError,
    identity::CardIdentifier,
    model::{
        AggregateKey, Denial, Detail, Millis, ParticipantId, Purpose, Scene, Status, TransactionId,
        record::{ChargeDetail, DenyFile, OpenRide, TapDetail, TransitFile},
    },
    scenes::{
        card::{self, Who},
        transit::{self, TapRequest},
    },
    store::Committed,
};

pub use crate::scenes::transit::TapKind as TapSide;

/// A tap as a gate sends it.
#[derive(Clone)]
pub struct TapAsk {
    pub side: TapSide,
    pub station: String,
    pub line: String,
    pub tapped_at_ms: Millis,
    pub card: CardIdentifier,
    pub counter: u32,
    pub mac: [u8; 8],
    /// yyyymmdd as the card says; 0 where the gate did not read it.
    pub valid_until: u32,
    /// From an upload of taps taken while the line was down.
    pub offline: bool,
}

/// Whose journeys are asked for.
#[derive(Debug, Clone)]
pub struct JourneysAsk {
    pub card: CardIdentifier,
    pub purpose: Purpose,
    pub most: usize,
}

/// A card's journeys at one operator.
#[derive(Debug, Clone, Default)]
pub struct Journeys {
    /// Transaction and charge, newest first.
    pub done: Vec<(Vec<u8>, ChargeDetail)>,
    pub open: Option<OpenRide>,
}

impl Gateway {
    /// A tap whose MAC is right, with what is known of its card now.
    pub(super) fn tap_request(
        &self,
        transaction: TransactionId,
        operator: &ParticipantId,
        tap: TapAsk,
        who: Who,
    ) -> TapRequest {
        let denied = self
            .deny
            .state(tap.card.as_bytes(), self.now_ms())
            .map(|denied| Denial { reason: reason_of(denied.card_state), since_ms: denied.since_ms });
        TapRequest {
            transaction,
            card: *tap.card.as_bytes(),
            card_province: home_of(&tap.card),
            card_is_ours: self.is_ours(&tap.card),
            subject: who.subject,
            pairwise: who.pairwise,
            operator: operator.clone(),
            kind: tap.side,
            station: tap.station,
            line: tap.line,
            tapped_at_ms: tap.tapped_at_ms,
            counter: tap.counter,
            valid_until: tap.valid_until,
            offline: tap.offline,
            denied,
        }
    }

    /// Decides a tap.
    ///
    /// # Errors
    /// `MacWrong` and its like; nothing is journalled for those but a summed line.
    pub async fn tap(&self, call: &Call, header: Header, tap: TapAsk) -> Result<Committed, Refusal> {
        if tap.offline {
            // Its header is as old as the tap, whose own age is judged instead.
            self.live.load().policy.accepts(call.method.scene, header.purpose).map_err(Refusal::forbidden)?;
        } else {
            self.authorise(call, &header)?;
        }
        self.check_tap_mac(&tap).map_err(suite_refusal)?;
        let ask = self.ask(call, &header).near(&AggregateKey::of::<TransitFile>(tap.card.as_bytes()));
        let card_is_ours = self.is_ours(&tap.card);
        let who = if card_is_ours {
            self.known_card(tap.card, ask.participant()).await?.who
        } else {
            self.foreign_card(tap.card, ask.participant())?
        };
        let (card_id, offline) = (tap.card, tap.offline);
        let mut request = self.tap_request(ask.transaction, ask.participant(), tap, who);
        let mut touches = transit::touches(&request);
        // Our own card's file says it at commitment; for a foreign card the deny file
        // does, so that no tap overtakes a delta that was acknowledged. Since when a
        // card is dead stands in the deny file alone.
        let ask_deny_file = !card_is_ours || offline;
        if ask_deny_file {
            touches.push(AggregateKey::of::<DenyFile>(card_id.as_bytes()));
        }
        let live = self.live();
        // A ride that was taken while the line was down is owed whatever the cap says.
        let room = if request.offline { None } else { self.charge_room(&ask, request.card_province).await? };
        self.commit(&ask, touches, move |view, now| {
            if ask_deny_file && request.denied.is_none() {
                request.denied = card::denial(view, &card_id, now)?;
            }
            let decision = transit::tap(view, &request, now, &live.fares)?;
            match room {
                Some(room) if !room.lets_through(&decision.postings, now) => {
                    transit::over_the_cap(view, &request)
                }
                Some(room) => {
                    room.spend_on(&decision.postings, now);
                    Ok(decision)
                }
                None => Ok(decision),
            }
        })
        .await
    }

    /// The card's transit key signed this tap; 4 µs, so inline.
    pub(super) fn check_tap_mac(&self, tap: &TapAsk) -> Result<(), SuiteError> {
        self.suite.verify_tap(&*self.vault, &tap_record(tap), &tap.mac)
    }

    /// The journeys of a card at the caller's own gates; a journalled read.
    ///
    /// # Errors
    /// A purpose the scene does not accept; a card that is unknown here.
    pub async fn journeys(&self, call: &Call, ask: JourneysAsk) -> Result<Journeys, Refusal> {
        self.live.load().policy.accepts(call.method.scene, ask.purpose).map_err(Refusal::forbidden)?;
        let participant = &call.caller.participant.id;
        let who = if self.is_ours(&ask.card) {
            self.known_card(ask.card, participant).await?.who
        } else {
            self.foreign_card(ask.card, participant)?
        };
        self.journal_read(call, (who.subject, Some(who.pairwise)), ask.purpose, Detail::default()).await?;

        let mut journeys = Journeys::default();
        for committed in self.store.about(who.subject, Scene::Transit, ask.most * 4).await? {
            if committed.entry.participant != participant.as_str()
                || committed.entry.status != Status::Completed.number()
                || journeys.done.len() == ask.most
            {
                continue;
            }
            if !committed.entry.holders.is_empty() {
                let room = ask.most - journeys.done.len();
                journeys.done.extend(rides_in(&committed, who.subject, room)?);
                continue;
            }
            let tap = TapDetail::decode(committed.detail.clone()).map_err(|_| Refusal::internal())?;
            if let Some(charge) = tap.charge {
                journeys.done.push((committed.entry.transaction_id.clone(), charge));
            }
        }
        let file: TransitFile = self.peek(ask.card.as_bytes()).await?.unwrap_or_default();
        journeys.open = file.open.filter(|open| open.operator == participant.as_str());
        Ok(journeys)
    }
}
