//! Simulated worlds: sample people and cards, certificates, the town.

pub mod card_files;
pub mod files;
pub mod people;
pub mod pki;
pub mod town_file;
