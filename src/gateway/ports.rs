//! What the gateway needs of the other regions. Federation implements it; tests
//! and a region that stands alone implement it in a few lines.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use crate::{
    crypto::ChipChallenge,
    identity::CardIdentifier,
    model::{Millis, PairwiseHolder, Purpose, Reason, RequestId, Token16, TransactionId},
    scenes::card::{DenyFact, HolderData, LossKind},
};

/// Who stands behind a forwarded request, for the home region's journal.
#[derive(Debug, Clone)]
pub struct Origin {
    pub request: RequestId,
    pub participant: String,
    pub terminal: String,
    pub purpose: Purpose,
    pub operator: String,
    /// The serving region's transaction.
    pub transaction: TransactionId,
    /// W3C traceparent, empty when the caller gave none.
    pub traceparent: String,
}

/// Why a home region did not vouch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not on the trust list.
    #[error("the region {0} is not on the trust list")]
    Unknown(u32),
    /// No answer, or none that could be trusted. Asking again under the same
    /// request id is safe.
    #[error("the home region did not answer: {0}")]
    Unreachable(String),
    /// A rule of the home region said no.
    #[error("the home region declined: {}", .0.code())]
    Declined(Reason),
    /// The home region did not understand or allow it.
    #[error("the home region refused: {}", .0.code())]
    Refused(Reason),
}

/// The home region has begun a chip relay.
#[derive(Debug, Clone)]
pub struct ChipBegun {
    pub session: Token16,
    pub expires_at_ms: Millis,
    pub internal_authenticator: [u8; 16],
    pub external_authenticator: [u8; 16],
}

/// The home region vouches for a holder towards one participant.
#[derive(Debug, Clone)]
pub struct HolderConfirmed {
    pub card: CardIdentifier,
    pub pairwise: PairwiseHolder,
    /// AAZ502 digit.
    pub state: u8,
    pub attributes: BTreeMap<String, String>,
}

/// A card's standing as its home region says it.
#[derive(Debug, Clone)]
pub struct CardSaid {
    /// AAZ502 digit.
    pub state: u8,
    pub expires_at_ms: Millis,
    pub deny_list_version: u64,
    pub pairwise: PairwiseHolder,
}

/// What is asked of a card's home region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardAsk {
    ReportLoss(LossKind),
    LiftLoss,
    ReadState,
}

/// Changes of our deny list after `since` up to `version`, each with the version
/// that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyDelta {
    /// Whose list: 110000 style.
    pub province: u32,
    /// The list's epoch; 0 of a region that knows of none.
    pub epoch: u64,
    pub since: u64,
    pub version: u64,
    pub facts: Vec<(u64, DenyFact)>,
}

/// What a peer knows of our deny list: a part of the cards it refuses, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyTold {
    /// Each with the version of our list that made it.
    pub facts: Vec<(u64, DenyFact)>,
    /// There are more above the last of them.
    pub more: bool,
}

/// The other regions. `home` is a province, 110000 style. Every call is
/// idempotent by the origin's request.
pub trait Peers: Send + Sync + 'static {
    fn begin_chip(
        &self,
        home: u32,
        origin: Origin,
        challenge: ChipChallenge,
        card: CardIdentifier,
    ) -> BoxFuture<'_, Result<ChipBegun, PeerError>>;

    fn finish_chip(
        &self,
        home: u32,
        origin: Origin,
        session: Token16,
        data: HolderData,
    ) -> BoxFuture<'_, Result<HolderConfirmed, PeerError>>;

    /// Settles the single use of a code with the region that issued it; `code` is
    /// the code's bytes as signed. `stood_in_at` says when we answered for that
    /// region; `None` when the holder is here now.
    fn settle_code(
        &self,
        home: u32,
        origin: Origin,
        code: Vec<u8>,
        stood_in_at: Option<Millis>,
    ) -> BoxFuture<'_, Result<HolderConfirmed, PeerError>>;

    fn ask_card(
        &self,
        home: u32,
        origin: Origin,
        card: CardIdentifier,
        ask: CardAsk,
    ) -> BoxFuture<'_, Result<CardSaid, PeerError>>;

    /// Our deny list has a new version: tell the peers at once. Returns without
    /// waiting for them.
    fn deny_list_changed(&self, version: u64);
}
