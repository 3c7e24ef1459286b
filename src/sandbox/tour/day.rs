//! What the day goes with: terminals at hand, cards in pockets, and every answer
//! kept for the evening.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::Context as _;

use crate::{
    client::{Answered, CallError, JournalKey, Terminal, TerminalOptions},
    model::{Clock, Millis, Purpose, SystemClock, SystemRng},
    proto::{
        auth::v1::{BeginChipRequest, ChipChallenge, FinishChipRequest},
        card::v1::IssueCodeRequest,
        common::v1::{Answer, Decision},
        transit::v1::{TapKind, TapRequest},
    },
    sandbox::{
        card_files::{CardFiles, SampleCard, TapAt},
        town::RunningTown,
    },
};

/// Longer than the product's, because a debug build on a busy machine is no gate.
const DEADLINE: Duration = Duration::from_secs(5);

/// The day under way.
pub(super) struct Day {
    pub(super) town: RunningTown,
    pub(super) cards: CardFiles,
    terminals: HashMap<String, Terminal>,
    /// Every answer with a receipt.
    answers: Vec<Answer>,
}

impl Day {
    pub(super) fn new(town: RunningTown) -> Self {
        let cards = CardFiles::of(&town.prepared.data);
        Day { town, cards, terminals: HashMap::new(), answers: Vec::new() }
    }

    /// A terminal of a region by the name of its certificate; connected once.
    pub(super) async fn terminal(&mut self, region: &str, name: &str) -> anyhow::Result<Terminal> {
        if let Some(terminal) = self.terminals.get(name) {
            return Ok(terminal.clone());
        }
        let pki = self.town.prepared.data.join("pki");
        let file = |path: String| {
            let path = pki.join(path);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut options = TerminalOptions::new(
            &self.town.prepared.town.region(region)?.grpc,
            format!("{region}.onecard"),
            file("ca.pem".to_owned())?,
            file(format!("terminals/{name}.pem"))?,
            file(format!("terminals/{name}.key"))?,
        );
        options.deadline = DEADLINE;
        let terminal = Terminal::connect(&options).await?;
        self.terminals.insert(name.to_owned(), terminal.clone());
        Ok(terminal)
    }

    pub(super) fn card(&self, name: &str) -> anyhow::Result<SampleCard> {
        Ok(self.cards.load(name)?)
    }

    /// A tap of a card here and now, signed under its next counter.
    pub(super) fn tap(
        &self,
        gate: &Terminal,
        card: &str,
        kind: TapKind,
        station: &str,
    ) -> anyhow::Result<TapRequest> {
        self.tap_at(gate, card, kind, station, SystemClock.now_ms())
    }

    /// A tap at an earlier instant.
    pub(super) fn tap_at(
        &self,
        gate: &Terminal,
        card: &str,
        kind: TapKind,
        station: &str,
        tapped_at_ms: Millis,
    ) -> anyhow::Result<TapRequest> {
        let counter = self.cards.next_counter(card)?;
        let at = TapAt { kind, station, line: "", tapped_at_ms };
        let tap = self.card(card)?.tap(at, counter);
        Ok(TapRequest { header: Some(gate.header(Purpose::TransitRide)), tap: Some(tap) })
    }

    /// The answer of a call that must be answered, kept for the evening.
    pub(super) fn answer<R: Answered>(&mut self, response: &R) -> anyhow::Result<Answer> {
        let answer = response.answer().context("the gateway answered without an answer")?.clone();
        if answer.receipt.is_some() {
            self.answers.push(answer.clone());
        }
        Ok(answer)
    }

    /// A code for the holder's phone from the card's home region, with its answer.
    pub(super) async fn phone_code(&mut self, region: &str, app: &str, card: &str) -> anyhow::Result<String> {
        let app = self.terminal(region, app).await?;
        let request = IssueCodeRequest {
            header: Some(app.header(Purpose::CardService)),
            card_identifier: self.card(card)?.holder.card_identifier,
        };
        let issued = app.issue_code(request).await?;
        let answer = self.answer(&issued)?;
        anyhow::ensure!(
            answer.decision() == Decision::Approved && !issued.code.is_empty(),
            "no code was issued: {}",
            answer.reason
        );
        Ok(issued.code)
    }

    /// Reader and card play the chip relay to its end and come back with the
    /// holder session.
    pub(super) async fn chip_session(&mut self, counter: &Terminal, card: &str) -> anyhow::Result<String> {
        let card = self.card(card)?;
        let begun = counter.begin_chip(begin_chip(counter, &card)).await?;
        self.answer(&begun)?;
        let finished = counter.finish_chip(finish_chip(counter, &card, &begun.chip_session)).await?;
        let answer = self.answer(&finished)?;
        let session = finished.session.map(|session| session.session).unwrap_or_default();
        anyhow::ensure!(!session.is_empty(), "the chip gave no session: {}", answer.reason);
        Ok(session)
    }

    pub(super) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// The key that a region's receipts are checked against.
    pub(super) fn journal_key(&self, province: u32) -> anyhow::Result<JournalKey> {
        Ok(JournalKey::from_hex(&self.town.prepared.town.region(&province.to_string())?.journal_key)?)
    }
}

/// First call of the chip relay as a reader makes it of this card.
pub(super) fn begin_chip(counter: &Terminal, card: &SampleCard) -> BeginChipRequest {
    let said = card.chip.challenge(&SystemRng);
    let challenge = ChipChallenge {
        region: format!("{:06}", card.holder.region),
        card_identifier: card.holder.card_identifier.clone(),
        reset_information: card.holder.reset_information.clone(),
        algorithm: "SM4".to_owned(),
        internal_factor: said.internal_factor.to_vec(),
        internal_data: said.internal_data.to_vec(),
        internal_cryptogram: said.internal_cryptogram.to_vec(),
        external_factor: said.external_factor.to_vec(),
        external_data: said.external_data.to_vec(),
    };
    BeginChipRequest { header: Some(counter.header(Purpose::IdentityCheck)), challenge: Some(challenge) }
}

/// Second call: what the reader could read from the card.
pub(super) fn finish_chip(counter: &Terminal, card: &SampleCard, chip_session: &str) -> FinishChipRequest {
    FinishChipRequest {
        header: Some(counter.header(Purpose::IdentityCheck)),
        chip_session: chip_session.to_owned(),
        social_security_number: card.holder.person.social_security_number.clone(),
        card_number: card.holder.card_number.clone(),
        name: card.holder.person.name.clone(),
    }
}

/// What came of a call in one word: `APPROVED`, `PENDING`, or the reason it was
/// declined or refused for.
pub(super) fn verdict<R: Answered>(called: &Result<R, CallError>) -> String {
    match called {
        Ok(response) => response.answer().map_or_else(|| "no answer".to_owned(), word_of),
        Err(error) if error.reason.is_empty() => format!("{:?}: {}", error.code, error.text_en),
        Err(error) => error.reason.clone(),
    }
}

/// The same of an answer.
pub(super) fn word_of(answer: &Answer) -> String {
    match answer.decision() {
        Decision::Approved => "APPROVED".to_owned(),
        Decision::Pending => "PENDING".to_owned(),
        Decision::Declined => answer.reason.clone(),
        Decision::Unspecified => "no decision".to_owned(),
    }
}

/// Fen as a person says it.
pub(super) fn yuan(fen: i64) -> String {
    format!("{} 元", crate::model::Fen::new(fen))
}
