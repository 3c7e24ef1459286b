//! The journal's messages, generated from `proto/onecard/journal/v1`. These are
//! the bytes that are hashed and kept; every old schema stays readable.
#![allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]

include!(concat!(env!("OUT_DIR"), "/journal/onecard.journal.v1.rs"));
