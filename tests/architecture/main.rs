//! The habits of the house, as tests: imports point down, edges keep their
//! libraries, files stay readable, the contract only grows.
//!
//! Every checker here is also run on small trees that are wrong on purpose
//! (`goes_red`), so that a checker that sees nothing cannot pass for a clean house.

mod contract;
mod features;
mod floors;
mod goes_red;
mod imports;
mod paths;
mod resolve;
mod tidy;
mod tree;

use std::path::Path;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn assert_clean(findings: &[imports::Finding]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn imports_point_down_and_libraries_stay_at_their_edge() {
    let tree = tree::Tree::read(top()).expect("src is readable");
    assert!(tree.sources.len() > 20, "the sources were not found");
    assert_clean(&imports::check(&tree));
}

#[test]
fn every_source_says_what_it_is_for() {
    let tree = tree::Tree::read(top()).expect("src is readable");
    assert_clean(&tidy::heads(&tree));
}

#[test]
fn every_file_is_tidy() {
    let files = tidy::tracked(top()).expect("the repository is readable");
    assert!(files.len() > 20, "the files were not found");
    assert_clean(&tidy::check(&files));
}

#[test]
fn a_release_has_nothing_that_is_only_for_tests() {
    let wrong = features::check(top());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_contract_only_grows() {
    let golden = contract::golden(top()).expect("proto/golden/contract.binpb is readable");
    let broken = contract::compare(&golden, &contract::compiled());
    assert!(broken.is_empty(), "not compatible with proto/golden:\n{}", broken.join("\n"));
}
