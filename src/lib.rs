//! onecard: the gateway behind the social security card as one card for
//! everything.
//!
//! # The map
//!
//! Floors, top to bottom; imports point down, never up and never sideways:
//!
//! | floor | rooms |
//! | --- | --- |
//! | command line | [`cli`] |
//! | worlds | [`sandbox`] |
//! | edges | [`net`], [`api`], [`federation`], [`client`] |
//! | the way of a request | [`gateway`] |
//! | outside and disk | [`adapters`], [`store`] |
//! | rules | [`scenes`], [`ledger`] |
//! | who is believed | [`trust`] |
//! | secrets | [`crypto`] |
//! | who and what | [`identity`] |
//! | engine | [`config`], [`telemetry`] |
//! | words | [`model`], [`limits`], [`fault`] |
//!
//! [`proto`] is the generated contract; only the edges and what stands above
//! them may name it. The journal's messages are generated into
//! [`model::record`], because rules and store speak of them.
//!
//! **Architecture Invariant:** `scenes` and `ledger` know no clock, no random
//! number, no disk and no network. They import `identity`, `model`, `limits`.
//!
//! **Architecture Invariant:** tonic is named in `net`, `api`, `federation`,
//! `client` and `sandbox` only; one day this edge is exchanged, and nothing else.
//!
//! **Architecture Invariant:** nothing is answered as done before the journal
//! has it on disk. `store` alone may say so.
//!
//! **Architecture Invariant:** an answer is a projection of its journal entry.
//! The first answer and every repeat are made by the same function from the
//! same bytes.
//!
//! **Architecture Invariant:** wire types never leave their edge: prost messages
//! of the contract stay in `api` and `federation`, SIP2 frames in
//! `adapters/sip2`.

pub mod adapters;
pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod crypto;
pub mod fault;
pub mod federation;
pub mod gateway;
pub mod identity;
pub mod ledger;
pub mod limits;
pub mod model;
pub mod net;
pub mod proto;
pub mod sandbox;
pub mod scenes;
pub mod store;
pub mod telemetry;
pub mod trust;
