//! From a credential to a holder session: chip relay, e-card code, document.

use std::sync::Arc;

use super::{
    Call, CodeHome, Gateway, Header, PeerError, Refusal,
    ask::Ask,
    cards::{home_unavailable, origin, peer_refusal, told},
    ports::HolderConfirmed,
    who::home_of,
};
use crate::{
    crypto::{ChipChallenge, SuiteError},
    identity::{CardIdentifier, DocumentKind, DocumentNumber, HolderName},
    limits,
    model::{
        AggregateKey, Millis, Reason, Token16,
        record::{CardFile, ChipSession, CodeUse, DenyFile, DocumentFile, HolderFile, HolderSession},
    },
    scenes::card::{
        self, ChipBegin, ChipFinish, CodePresented, DocumentPresented, HolderData, NewSession, StandIn,
        Vouched, Who,
    },
    store::Committed,
    trust::{EcardCode, SignedCode},
};

/// First call of a chip relay.
#[derive(Debug, Clone)]
pub struct ChipAsk {
    pub card: CardIdentifier,
    pub challenge: ChipChallenge,
}

/// A document at a staffed counter.
#[derive(Debug, Clone)]
pub struct DocumentAsk {
    pub kind: DocumentKind,
    pub number: DocumentNumber,
    pub name: HolderName,
}

impl Gateway {
    /// First call of the chip relay. The home region's key service answers the
    /// reader's challenge; a foreign card's does so through its gateway.
    ///
    /// # Errors
    /// `ChipNotGenuine` when the cryptogram is wrong; the home region away. What the
    /// home region declines is an answer.
    pub async fn begin_chip(&self, call: &Call, header: Header, chip: ChipAsk) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        self.not_denied(&chip.card).map_err(Refusal::forbidden)?;
        let ask = self.ask(call, &header);
        if self.is_ours(&chip.card) {
            return self.begin_chip_at_home(&ask, chip).await;
        }
        let peers = self.peers().ok_or_else(home_unavailable)?;
        let who = self.foreign_card(chip.card, ask.participant())?;
        let said = peers.begin_chip(home_of(&chip.card), origin(&ask, call), chip.challenge, chip.card).await;
        let begun = match said {
            Ok(begun) => begun,
            // What home decided is an answer; the terminal's participant has it in its
            // own journal.
            Err(PeerError::Declined(reason)) => {
                return self.commit(&ask, Vec::new(), move |_, _| Ok(told(&who, Err(reason)))).await;
            }
            Err(error) => return Err(peer_refusal(error)),
        };
        let begin = ChipBegin {
            home_session: Some(begun.session),
            internal_authenticator: begun.internal_authenticator,
            external_authenticator: begun.external_authenticator,
            ..self.chip_begin(&ask)
        };
        self.commit_chip_begin(&ask, who, begin).await
    }

    /// The home region's side, for our own terminal or a peer's.
    pub(super) async fn begin_chip_at_home(&self, ask: &Ask, chip: ChipAsk) -> Result<Committed, Refusal> {
        let who = self.known_card(chip.card, ask.participant()).await?.who;
        let answer = self
            .suite
            .answer_chip(&*self.vault, chip.card.as_bytes(), &chip.challenge)
            .map_err(suite_refusal)?;
        let begin = ChipBegin {
            internal_authenticator: answer.internal_authenticator,
            external_authenticator: answer.external_authenticator,
            ..self.chip_begin(ask)
        };
        self.commit_chip_begin(ask, who, begin).await
    }

    fn chip_begin(&self, ask: &Ask) -> ChipBegin {
        ChipBegin {
            token: Token16::random(&*self.rng),
            member: ask.member,
            participant: ask.participant().clone(),
            terminal: ask.terminal().clone(),
            life_ms: self.live().policy.chip_session_ms(),
            internal_authenticator: [0; 16],
            external_authenticator: [0; 16],
            home_session: None,
        }
    }

    async fn commit_chip_begin(&self, ask: &Ask, who: Who, begin: ChipBegin) -> Result<Committed, Refusal> {
        let mut touches = vec![AggregateKey::of::<ChipSession>(begin.token.as_bytes())];
        if begin.home_session.is_none() {
            touches.push(AggregateKey::of::<CardFile>(who.card.as_bytes()));
        }
        self.commit(ask, touches, move |view, now| card::begin_chip(view, &who, &begin, now)).await
    }

    /// Second call of the chip relay: the holder's data against the register.
    ///
    /// # Errors
    /// `SessionUnknown` and its like; the home region away.
    pub async fn finish_chip(
        &self,
        call: &Call,
        header: Header,
        session: Token16,
        data: HolderData,
    ) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        let ask = self.ask(call, &header);
        let begun = self.live_chip_session(&ask, session).await?;
        let card = card_of(&begun.card)?;
        let finish = self.chip_finish(&ask, session, true);
        if begun.home_session.is_empty() {
            return self.finish_chip_at_home(&ask, card, finish, data).await;
        }
        let home_session = Token16::from_slice(&begun.home_session).map_err(|_| Refusal::internal())?;
        let peers = self.peers().ok_or_else(home_unavailable)?;
        let vouched = peers.finish_chip(home_of(&card), origin(&ask, call), home_session, data).await;
        let (who, vouched) = self.vouched(&ask, card, vouched)?;
        let mut touches = vec![
            AggregateKey::of::<ChipSession>(session.as_bytes()),
            AggregateKey::of::<DenyFile>(card.as_bytes()),
        ];
        touches.extend(finish.session.as_ref().map(session_key));
        self.commit(&ask, touches, move |view, now| {
            card::finish_foreign_chip(view, &who, &finish, vouched, now)
        })
        .await
    }

    pub(super) async fn finish_chip_at_home(
        &self,
        ask: &Ask,
        card: CardIdentifier,
        finish: ChipFinish,
        data: HolderData,
    ) -> Result<Committed, Refusal> {
        let known = self.known_card(card, ask.participant()).await?;
        let mut touches = vec![
            AggregateKey::of::<ChipSession>(finish.chip_session.as_bytes()),
            AggregateKey::of::<CardFile>(card.as_bytes()),
            AggregateKey::of::<HolderFile>(&known.holder),
        ];
        touches.extend(finish.session.as_ref().map(session_key));
        self.commit(ask, touches, move |view, now| {
            card::finish_chip(view, &known.who, &known.holder, &finish, &data, now)
        })
        .await
    }

    /// The chip session, if it is this asker's and may still be used.
    pub(super) async fn live_chip_session(
        &self,
        ask: &Ask,
        session: Token16,
    ) -> Result<ChipSession, Refusal> {
        let unknown = || Refusal::forbidden(Reason::SessionUnknown);
        let begun: ChipSession = self.peek(session.as_bytes()).await?.ok_or_else(unknown)?;
        if begun.participant != ask.participant().as_str() || begun.terminal != ask.terminal().as_str() {
            return Err(unknown());
        }
        if begun.used {
            return Err(Refusal::forbidden(Reason::SessionUsed));
        }
        if begun.expires_at_ms <= self.now_ms() {
            return Err(Refusal::forbidden(Reason::SessionExpired));
        }
        Ok(begun)
    }

    pub(super) fn chip_finish(&self, ask: &Ask, session: Token16, is_ours: bool) -> ChipFinish {
        ChipFinish {
            chip_session: session,
            member: ask.member,
            participant: ask.participant().clone(),
            terminal: ask.terminal().clone(),
            session: is_ours.then(|| self.new_session(ask)),
            granted: ask.granted.clone(),
        }
    }

    fn new_session(&self, ask: &Ask) -> NewSession {
        NewSession {
            token: Token16::random(&*self.rng),
            participant: ask.participant().clone(),
            terminal: ask.terminal().clone(),
            life_ms: self.live().policy.holder_session_ms(),
        }
    }

    /// An e-card code scanned at one of our terminals.
    ///
    /// # Errors
    /// A code that is malformed, wrongly signed, out of its minute or used.
    pub async fn present_code(&self, call: &Call, header: Header, text: &str) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        let signed = SignedCode::parse(text).map_err(|_| Refusal::forbidden(Reason::CodeMalformed))?;
        let code = self.verified_code(signed.clone()).await?;
        let card = card_of(&code.card)?;
        self.not_denied(&card).map_err(Refusal::forbidden)?;
        if self.peek::<CodeUse>(&code.nonce).await?.is_some() {
            return Err(Refusal::forbidden(Reason::CodeUsed));
        }
        let ask = self.ask(call, &header);
        let presented = self.code_presented(&ask, &code, true);
        if code.issuer == self.province {
            return self.present_code_at_home(&ask, card, presented).await;
        }
        match self.settle_at_home(&ask, call, &code, &signed).await {
            Some(said) => self.commit_foreign_code(&ask, card, presented, said).await,
            None => self.stand_in_for_code(&ask, card, presented, &code, &signed).await,
        }
    }

    async fn commit_foreign_code(
        &self,
        ask: &Ask,
        card: CardIdentifier,
        presented: CodePresented,
        said: Result<HolderConfirmed, PeerError>,
    ) -> Result<Committed, Refusal> {
        let (who, vouched) = self.vouched(ask, card, said)?;
        let mut touches = vec![
            AggregateKey::of::<CodeUse>(&presented.nonce),
            AggregateKey::of::<DenyFile>(card.as_bytes()),
        ];
        touches.extend(presented.session.as_ref().map(session_key));
        self.commit(ask, touches, move |view, now| {
            card::present_foreign_code(view, &who, &presented, vouched, now)
        })
        .await
    }

    /// The trust list signed for the code and no deny list names the card: we answer
    /// for its home, as far as the policy goes.
    async fn stand_in_for_code(
        &self,
        ask: &Ask,
        card: CardIdentifier,
        presented: CodePresented,
        code: &EcardCode,
        signed: &SignedCode,
    ) -> Result<Committed, Refusal> {
        let who = self.foreign_card(card, ask.participant())?;
        let stand_in = StandIn {
            home: code.issuer,
            most_per_day: self.live().policy.stand_in.codes_per_card_and_day,
            code: signed.bytes().to_vec().into(),
            settle_after_ms: limits::STAND_IN_SETTLE_AFTER_MS,
        };
        let mut touches = vec![
            AggregateKey::of::<CodeUse>(&presented.nonce),
            AggregateKey::of::<DenyFile>(card.as_bytes()),
            card::stand_in_key(card.as_bytes()),
        ];
        touches.extend(presented.session.as_ref().map(session_key));
        self.commit(ask, touches, move |view, now| {
            card::stand_in_for_code(view, &who, &presented, &stand_in, now)
        })
        .await
    }

    /// Verifies a code against the trust list, off the reactor.
    pub(super) async fn verified_code(&self, signed: SignedCode) -> Result<EcardCode, Refusal> {
        self.code_verified_at(signed, self.now_ms()).await
    }

    /// The same for a code that was scanned at `now`, which may be past.
    pub(super) async fn code_verified_at(
        &self,
        signed: SignedCode,
        now: Millis,
    ) -> Result<EcardCode, Refusal> {
        let live = self.live();
        let issuer = signed.claimed().issuer;
        if !live.trust.is_valid_at(now) && issuer != self.province {
            return Err(home_unavailable());
        }
        let verified = self.pool.run(move || signed.verify(&live.trust, now)).await?;
        let code = verified.map_err(|refused| Refusal::forbidden(refused.reason()))?;
        // A region signs for its own cards only, or its key would open everybody's.
        match CardIdentifier::from_bytes(code.card) {
            Ok(card) if home_of(&card) == issuer => {}
            Ok(_) | Err(_) => return Err(Refusal::forbidden(Reason::CodeSignatureWrong)),
        }
        Ok(code)
    }

    /// Asks the code's home region, as the policy says; `None` where the policy lets us
    /// stand in for it.
    async fn settle_at_home(
        &self,
        ask: &Ask,
        call: &Call,
        code: &EcardCode,
        signed: &SignedCode,
    ) -> Option<Result<HolderConfirmed, PeerError>> {
        let policy = self.live().policy.code_home;
        if policy == CodeHome::Never {
            return None;
        }
        let settled = match self.peers() {
            Some(peers) => {
                peers.settle_code(code.issuer, origin(ask, call), signed.bytes().to_vec(), None).await
            }
            None => Err(PeerError::Unreachable("this region stands alone".into())),
        };
        match settled {
            Err(PeerError::Unreachable(_)) if policy == CodeHome::Ask => None,
            settled => Some(settled),
        }
    }

    pub(super) async fn present_code_at_home(
        &self,
        ask: &Ask,
        card: CardIdentifier,
        presented: CodePresented,
    ) -> Result<Committed, Refusal> {
        let known = self.known_card(card, ask.participant()).await?;
        let mut touches = vec![
            AggregateKey::of::<CodeUse>(&presented.nonce),
            AggregateKey::of::<CardFile>(card.as_bytes()),
            AggregateKey::of::<HolderFile>(&known.holder),
        ];
        touches.extend(presented.session.as_ref().map(session_key));
        self.commit(ask, touches, move |view, now| {
            card::present_code(view, &known.who, &known.holder, &presented, now)
        })
        .await
    }

    pub(super) fn code_presented(&self, ask: &Ask, code: &EcardCode, is_ours: bool) -> CodePresented {
        CodePresented {
            nonce: code.nonce,
            // As long as another region may still tell us that it stood in for us.
            expires_at_ms: code.issued_at_ms + limits::STAND_IN_SETTLE_MAX_MS,
            transaction: ask.transaction,
            session: is_ours.then(|| self.new_session(ask)),
            granted: ask.granted.clone(),
        }
    }

    /// What a home region said, as a decision can use it: a decline is kept in our
    /// journal, anything else that is no vouching refuses the call.
    pub(super) fn vouched(
        &self,
        ask: &Ask,
        card: CardIdentifier,
        said: Result<HolderConfirmed, PeerError>,
    ) -> Result<(Who, Result<Vouched, Reason>), Refusal> {
        let mut who = self.foreign_card(card, ask.participant())?;
        match said {
            Ok(confirmed) if confirmed.card != card => Err(Refusal::forbidden(Reason::PeerNotTrusted)),
            Ok(confirmed) => {
                who.pairwise = confirmed.pairwise;
                let vouched = Vouched { attributes: confirmed.attributes, state: confirmed.state.into() };
                Ok((who, Ok(vouched)))
            }
            Err(PeerError::Declined(reason)) => Ok((who, Err(reason))),
            Err(error) => Err(peer_refusal(error)),
        }
    }

    /// An identity document at a staffed counter, of a holder of our region.
    ///
    /// # Errors
    /// `DocumentUnknown` when nobody is registered under it here;
    /// `DocumentTriesExceeded` after too many that did not fit.
    pub async fn present_document(
        &self,
        call: &Call,
        header: Header,
        document: DocumentAsk,
    ) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        let id = self.document_hash(document.kind.code(), document.number.reveal())?;
        self.guesses.take(call, &id, self.now_ms())?;
        let answered = self.compare_document(call, header, document, id).await;
        self.guesses.settle(call, &id, &answered);
        answered
    }

    async fn compare_document(
        &self,
        call: &Call,
        header: Header,
        document: DocumentAsk,
        id: [u8; 16],
    ) -> Result<Committed, Refusal> {
        let unknown = || Refusal::not_found(Reason::DocumentUnknown);
        let holder = self.peek::<DocumentFile>(&id).await?.ok_or_else(unknown)?.holder;
        let person: HolderFile = self.peek(&holder).await?.ok_or_else(unknown)?;
        let card = card_of(&person.card)?;
        self.not_denied(&card).map_err(Refusal::forbidden)?;
        let ask = self.ask(call, &header);
        let known = self.known_card(card, ask.participant()).await?;
        let presented = DocumentPresented {
            document: id,
            name: document.name,
            session: self.new_session(&ask),
            granted: ask.granted.clone(),
        };
        let touches = vec![
            AggregateKey::of::<DocumentFile>(&id),
            AggregateKey::of::<HolderFile>(&holder),
            AggregateKey::of::<CardFile>(card.as_bytes()),
            session_key(&presented.session),
        ];
        self.commit(&ask, touches, move |view, now| {
            card::present_document(view, &known.who, &holder, &presented, now)
        })
        .await
    }

    /// The keyed hash under which a document finds its holder.
    pub(super) fn document_hash(&self, kind: &str, number: &str) -> Result<[u8; 16], Refusal> {
        self.keyed_hash(&[&card::document_id(kind, number)])
    }

    /// For tests and the composer: the vault the gateway signs with.
    pub fn vault(&self) -> &Arc<dyn crate::crypto::KeyVault> {
        &self.vault
    }
}

/// The session that a credential opens is written with it, so it is named too.
fn session_key(session: &NewSession) -> AggregateKey {
    AggregateKey::of::<HolderSession>(session.token.as_bytes())
}

pub(super) fn card_of(bytes: &[u8]) -> Result<CardIdentifier, Refusal> {
    <[u8; 16]>::try_from(bytes)
        .ok()
        .and_then(|bytes| CardIdentifier::from_bytes(bytes).ok())
        .ok_or_else(Refusal::internal)
}

pub(super) fn suite_refusal(error: SuiteError) -> Refusal {
    match error {
        SuiteError::ChipNotGenuine => Refusal::forbidden(Reason::ChipNotGenuine),
        SuiteError::MacWrong => Refusal::forbidden(Reason::MacWrong),
        SuiteError::Vault(error) => {
            tracing::error!(%error, "the card suite's keys cannot be used");
            Refusal::internal()
        }
    }
}
