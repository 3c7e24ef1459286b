//! Compiles the contract without a system protoc: protox parses, prost and
//! tonic generate. The journal's messages are generated apart, without tonic,
//! because the store may know them and must not know gRPC.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // A file added to config/ must reach the embedded copy without a clean build.
    println!("cargo:rerun-if-changed=config");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let services = [
        "onecard/common/v1/common.proto",
        "onecard/card/v1/card.proto",
        "onecard/auth/v1/auth.proto",
        "onecard/transit/v1/transit.proto",
        "onecard/library/v1/library.proto",
        "onecard/medical/v1/medical.proto",
        "onecard/transaction/v1/transaction.proto",
        "onecard/ledger/v1/ledger.proto",
        "onecard/federation/v1/federation.proto",
    ];
    let contract = protox::compile(services, ["proto"])?;
    fs::write(out.join("contract.binpb"), contract.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".onecard.federation.v1.Envelope").compile_fds(contract)?;

    let journal = [
        "onecard/journal/v1/journal.proto",
        "onecard/journal/v1/card.proto",
        "onecard/journal/v1/transit.proto",
        "onecard/journal/v1/library.proto",
        "onecard/journal/v1/medical.proto",
        "onecard/journal/v1/reconciliation.proto",
        "onecard/journal/v1/payment.proto",
    ];
    let records = protox::compile(journal, ["proto"])?;
    fs::write(out.join("records.binpb"), records.encode_to_vec())?;
    let journal_out = out.join("journal");
    fs::create_dir_all(&journal_out)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .out_dir(journal_out)
        .compile_fds(records)?;
    Ok(())
}
