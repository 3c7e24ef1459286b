//! What counts as moved, as gone, as new, and as not comparable.

use std::{collections::BTreeMap, path::Path};

use super::{baseline::Comparison, *};

fn measured(ratios: &[(&str, f64)]) -> Measured {
    Measured {
        name: "metro-morning-peak".to_owned(),
        conditions: BTreeMap::from([("rate".to_owned(), "1000".to_owned())]),
        recorded_at: "2026-01-01T00:00:00Z".to_owned(),
        machine: "a machine".to_owned(),
        ratios: ratios.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        broken: Vec::new(),
    }
}

fn recorded(ratios: &[(&str, f64)]) -> Baseline {
    let folder = tempfile::tempdir().expect("a folder");
    let mut baseline = Baseline::load_or_new(&folder.path().join("none.json")).expect("a new one");
    baseline.record(measured(ratios));
    baseline
}

fn compared(baseline: &Baseline, now: &[(&str, f64)]) -> Vec<Comparison> {
    let now = measured(now);
    baseline.of(&now, Path::new("b")).expect("comparable").against(&now)
}

#[track_caller]
fn check(name: &str, was: f64, is: f64, expect: Moved) {
    let found = compared(&recorded(&[(name, was)]), &[(name, is)]).remove(0);
    assert_eq!(found.moved, expect, "{}", found.sentence());
}

#[test]
fn a_ratio_may_move_within_its_tolerance_and_no_further_to_the_worse_side() {
    check("tap_in_p99_to_sync_p99", 3.0, 5.9, Moved::Held);
    check("tap_in_p99_to_sync_p99", 3.0, 6.1, Moved::Worse);
    check("tap_in_p99_to_sync_p99", 3.0, 1.6, Moved::Held);
    check("tap_in_p99_to_sync_p99", 3.0, 1.4, Moved::Better);
    check("tap_in_p50_to_sync_p50", 3.0, 4.6, Moved::Worse);
    check("tap_in_p50_to_sync_p50", 3.0, 1.4, Moved::Better);
    check("tap_in_approved_to_all", 1.0, 0.98, Moved::Worse);
    check("tap_in_approved_to_all", 1.0, 0.995, Moved::Held);
    check("unary_ratio", 0.5, 0.44, Moved::Worse);
    check("unary_ratio", 0.5, 0.56, Moved::Better);
    check("entries_to_batches", 8.0, 80.0, Moved::Held);
    check("something_ratio", 0.0, 0.0, Moved::Held);
}

#[test]
fn what_is_gone_fails_and_what_is_new_is_told() {
    let baseline = recorded(&[("a_ratio", 1.0), ("b_ratio", 1.0)]);
    let found = compared(&baseline, &[("b_ratio", 1.0), ("c_ratio", 1.0)]);
    let of = |name: &str| found.iter().find(|one| one.ratio == name).expect(name).moved;
    assert_eq!((of("a_ratio"), of("b_ratio"), of("c_ratio")), (Moved::Missing, Moved::Held, Moved::New));
    assert!(found[0].moved.fails(), "what fails stands first");
}

#[test]
fn results_under_other_conditions_are_not_compared() {
    let baseline = recorded(&[("a_ratio", 1.0)]);
    let mut other = measured(&[("a_ratio", 1.0)]);
    other.conditions.insert("rate".to_owned(), "50".to_owned());
    let refused = baseline.of(&other, Path::new("b")).expect_err("another rate").to_string();
    assert_eq!(refused, "not comparable with what was recorded: rate was 1000 and is 50");
    other.name = "mixed-day".to_owned();
    assert!(
        baseline.of(&other, Path::new("b")).expect_err("never recorded").to_string().contains("--record")
    );
}

#[test]
fn recording_again_keeps_what_people_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("docs/baseline.json");
    let mut baseline = recorded(&[("a_ratio", 1.0)]);
    baseline.save(&path).expect("saved");
    let text = std::fs::read_to_string(&path).expect("read").replace("0.1", "0.75");
    std::fs::write(&path, text).expect("edited");
    baseline = Baseline::load(&path).expect("read");
    baseline.record(measured(&[("a_ratio", 2.0), ("b_ratio", 1.0)]));
    baseline.save(&path).expect("saved");
    let baseline = Baseline::load_or_new(&path).expect("read");
    let found = compared(&baseline, &[("a_ratio", 0.6), ("b_ratio", 0.6)]);
    let of = |name: &str| found.iter().find(|one| one.ratio == name).expect(name).clone();
    assert_eq!((of("a_ratio").moved, of("a_ratio").was), (Moved::Held, Some(2.0)));
    assert_eq!(of("b_ratio").moved, Moved::Worse);
}

#[test]
fn the_last_line_of_a_command_gives_its_ratios_and_no_rates() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("headline.txt");
    let text = "a table\nheadline: echo_per_s=35933 unary_ratio=0.438 p99_ms=9.10 echo_to_tonic=0.941\n";
    std::fs::write(&path, text).expect("written");
    let measured = Measured::load(&path).expect("read");
    assert_eq!(measured.name, "headline");
    let ratios: Vec<_> = measured.ratios.into_iter().collect();
    assert_eq!(ratios, [("echo_to_tonic".to_owned(), 0.941), ("unary_ratio".to_owned(), 0.438)]);
    for bad in ["", "nothing here\n", "kill: kills=3 found=1\n"] {
        std::fs::write(&path, bad).expect("written");
        assert!(Measured::load(&path).is_err(), "{bad:?}");
    }
}

#[test]
fn nothing_is_compared_with_nothing() {
    let missing = Baseline::load(Path::new("/nowhere/baseline.json")).expect_err("there is none");
    assert!(missing.to_string().contains("record a result with --record"), "{missing}");
}
