//! The configuration engine.
pub mod assets;
