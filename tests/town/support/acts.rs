//! What people and terminals do.

use std::sync::atomic::{AtomicU32, Ordering};

use onecard::{
    client::{CallError, Terminal},
    crypto::ChipChallenge as Challenge,
    model::{Clock as _, Purpose, SystemClock, SystemRng},
    proto::{
        auth::v1::{
            BeginChipRequest, ChipChallenge, FinishChipRequest, FinishChipResponse, HolderSession,
            PresentCodeRequest, PresentDocumentRequest,
        },
        card::v1::{IssueCodeRequest, LiftLossRequest, LossKind, ReportLossRequest},
        common::v1::RequestHeader,
        library::v1::CheckoutRequest,
        transit::v1::{TapKind, TapRequest},
    },
    sandbox::card_files::{SampleCard, TapAt},
};

use super::{Stage, expect::approved};

/// A card in somebody's hand.
pub struct Card {
    pub name: String,
    pub sample: SampleCard,
    counter: AtomicU32,
}

impl Card {
    pub fn new(name: &str, sample: SampleCard) -> Self {
        Card { name: name.to_owned(), sample, counter: AtomicU32::new(0) }
    }

    /// AAZ501 as 32 hexadecimal digits.
    pub fn identifier(&self) -> String {
        self.sample.holder.card_identifier.clone()
    }

    /// A tap as a gate sends it, under the card's next counter.
    pub fn tap(&self, gate: &Terminal, kind: TapKind, station: &str) -> TapRequest {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let at = TapAt { kind, station, line: "", tapped_at_ms: SystemClock.now_ms() };
        TapRequest {
            header: Some(gate.header(Purpose::TransitRide)),
            tap: Some(self.sample.tap(at, counter)),
        }
    }

    /// The card's next tap of a ride: in, then out, then in again.
    pub fn ride(&self, gate: &Terminal, region: &str) -> TapRequest {
        let (from, to) = stations(region);
        let enters = self.counter.load(Ordering::Relaxed).is_multiple_of(2);
        if enters { self.tap(gate, TapKind::Entry, from) } else { self.tap(gate, TapKind::Exit, to) }
    }

    /// What a reader collects from the chip.
    pub fn challenge(&self) -> ChipChallenge {
        self.challenge_of(&self.sample.chip.challenge(&SystemRng))
    }

    pub fn challenge_of(&self, challenge: &Challenge) -> ChipChallenge {
        ChipChallenge {
            region: self.sample.holder.region.to_string(),
            card_identifier: self.identifier(),
            reset_information: self.sample.holder.reset_information.clone(),
            algorithm: "SM4".to_owned(),
            internal_factor: challenge.internal_factor.to_vec(),
            internal_data: challenge.internal_data.to_vec(),
            internal_cryptogram: challenge.internal_cryptogram.to_vec(),
            external_factor: challenge.external_factor.to_vec(),
            external_data: challenge.external_data.to_vec(),
        }
    }
}

/// The name of a region's terminals: its e-card app, hall, gate, library desk.
pub fn app_of(card: &Card) -> String {
    format!("{}-ecard-app-01", &card.name[..2])
}

/// The station a region's tests tap at, and another one.
pub fn stations(region: &str) -> (&'static str, &'static str) {
    match region {
        "beijing" => ("西直门", "国贸"),
        "tianjin" => ("刘园", "本溪路"),
        "hebei" => ("西王", "时光街"),
        other => panic!("no region is called `{other}`"),
    }
}

/// A code as the holder's phone gets it.
pub async fn code(stage: &Stage, card: &Card) -> String {
    let app = stage.terminal(&app_of(card)).await;
    let request = IssueCodeRequest {
        header: Some(app.header(Purpose::CardService)),
        card_identifier: card.identifier(),
    };
    let issued = app.issue_code(request).await.expect("answered");
    approved(&issued.answer);
    issued.code
}

/// A session from a code scanned at a terminal, for its library or counter.
pub async fn session(stage: &Stage, card: &Card, terminal: &Terminal, purpose: Purpose) -> HolderSession {
    let header = Some(terminal.header(purpose));
    let request = PresentCodeRequest { header, code: code(stage, card).await };
    let presented = terminal.present_code(request).await.expect("answered");
    approved(&presented.answer);
    presented.session.expect("an approved code opens a session")
}

/// A header that names a session.
pub fn in_session(terminal: &Terminal, purpose: Purpose, session: &HolderSession) -> RequestHeader {
    RequestHeader { holder_session: session.session.clone(), ..terminal.header(purpose) }
}

/// A request for an item under a session, at the terminal's own library.
pub fn checkout(desk: &Terminal, session: &HolderSession, item: &str) -> CheckoutRequest {
    CheckoutRequest {
        header: Some(in_session(desk, Purpose::LibraryLoan, session)),
        library: String::new(),
        item: item.to_owned(),
    }
}

/// Both calls of a chip's authentication, with the card checking the gateway.
pub async fn chip(counter: &Terminal, card: &Card) -> Result<FinishChipResponse, CallError> {
    let challenge = card.sample.chip.challenge(&SystemRng);
    let begin = BeginChipRequest {
        header: Some(counter.header(Purpose::IdentityCheck)),
        challenge: Some(card.challenge_of(&challenge)),
    };
    let begun = counter.begin_chip(begin).await?;
    approved(&begun.answer);
    let accepts = card.sample.chip.check_external(
        &challenge.external_factor,
        &challenge.external_data,
        &begun.external_authenticator,
    );
    assert!(accepts, "the card accepts its issuer");
    counter.finish_chip(finish(counter, card, begun.chip_session)).await
}

/// The second call of a chip's authentication.
pub fn finish(counter: &Terminal, card: &Card, chip_session: String) -> FinishChipRequest {
    let holder = &card.sample.holder;
    FinishChipRequest {
        header: Some(counter.header(Purpose::IdentityCheck)),
        chip_session,
        social_security_number: holder.person.social_security_number.clone(),
        card_number: holder.card_number.clone(),
        name: holder.person.name.clone(),
    }
}

/// A document at a staffed counter.
pub fn document(counter: &Terminal, card: &Card) -> PresentDocumentRequest {
    let person = &card.sample.holder.person;
    PresentDocumentRequest {
        header: Some(RequestHeader {
            operator_id: "clerk-7".to_owned(),
            ..counter.header(Purpose::IdentityCheck)
        }),
        document_kind: person.document_kind.clone(),
        document_number: person.document_number.clone(),
        name: person.name.clone(),
    }
}

pub fn report(counter: &Terminal, card: &Card, kind: LossKind) -> ReportLossRequest {
    ReportLossRequest {
        header: Some(counter.header(Purpose::CardService)),
        card_identifier: card.identifier(),
        kind: kind.into(),
    }
}

/// A clerk at the region's service desk lifts a loss.
pub fn lift(desk: &Terminal, card: &Card) -> LiftLossRequest {
    let header = RequestHeader { operator_id: "clerk-7".to_owned(), ..desk.header(Purpose::CardService) };
    LiftLossRequest { header: Some(header), card_identifier: card.identifier() }
}
