//! The scenes: one folder each, its rules as pure functions and its ports.
//! State and time come in, a decision goes out.
//!
//! What does not live here: clocks, chance, disks, networks, the contract's wire
//! types. A scene imports `identity`, `model` and `limits`, and no other scene.

pub mod card;
pub mod library;
pub mod medical;
pub mod transit;
