//! The public contract as generated from `proto/onecard/`. Nothing is written
//! here by hand; the comments of the `.proto` files are the documentation.
//!
//! Only the edges (`net`, `api`, `federation`, `client`) and what stands above
//! them may name this module.
#![allow(clippy::all, clippy::pedantic, rustdoc::all)]

macro_rules! packages {
    ($($module:ident),* $(,)?) => {$(
        pub mod $module {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/onecard.", stringify!($module), ".v1.rs"));
            }
        }
    )*};
}

packages!(auth, card, common, federation, ledger, library, medical, transaction, transit);

/// The encoded `FileDescriptorSet` of the contract, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));
