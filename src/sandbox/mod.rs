//! Simulated worlds: sample people and cards, certificates, the town, and the
//! backends of the other side, which share no code with the adapters that talk
//! to them.

pub mod card_files;
pub mod clinic;
pub mod files;
pub mod ils;
pub mod insurer;
pub mod people;
pub mod pki;
pub mod tour;
pub mod town;
pub mod town_file;
