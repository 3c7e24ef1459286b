use jiff::civil::Date;
use proptest::prelude::*;

use super::*;
use crate::{
    identity::business_day_start_ms,
    ledger::matching::{Record, State},
    model::{Fen, Scene},
};

const DAY: Date = Date::constant(2026, 11, 21);

fn format(text: &str) -> Format {
    let format: Format = toml::from_str(text).expect("a format");
    assert_eq!(format.problems(), Vec::<String>::new());
    format
}

fn plain() -> Format {
    format(
        r#"
        amount = "yuan"
        [columns]
        transaction = "transaction"
        reference = "reference"
        amount = "amount"
        status = "status"
        date = "date"
        time = "time"
        terminal = "terminal"
        scene = "scene"
        kind = "kind"
        account = "account"
        [status]
        captured = "captured"
        reversed = "reversed"
        "#,
    )
}

const HEADER: &str = "transaction,reference,amount,status,date,time,terminal,scene,kind,account\n";

fn read(lines: &str) -> Result<Vec<Record>, BadFile> {
    parse(format!("{HEADER}{lines}").as_bytes(), &plain(), DAY)
}

#[test]
fn a_line_is_read_whole() {
    let records = read(
        "110000-000-0192a3b4c5d6-9f8e7d6c5b4a,67E55044-10B1-426F-9247-BB680E5FE0C8,\" 3.5\",reversed,2026-11-20,2026-11-21 00:00:01,gate-01,transit,Tap,participant/bj-metro/fares\n",
    );
    let record = records.expect("right").remove(0);
    assert_eq!(
        record,
        Record {
            transaction: Some("110000-000-0192a3b4c5d6-9f8e7d6c5b4a".parse().expect("an id")),
            reference: Some("67e55044-10b1-426f-9247-bb680e5fe0c8".into()),
            date: Date::constant(2026, 11, 20),
            at: Some(business_day_start_ms(DAY) + 1_000),
            terminal: Some("gate-01".into()),
            amount: Fen::new(350),
            state: State::Reversed,
            scene: Some(Scene::Transit),
            kind: Some("Tap".into()),
            account: Some("participant/bj-metro/fares".into()),
            line: 2,
        }
    );
}

#[test]
fn what_a_line_leaves_out_follows_from_the_rest() {
    let records = read(",slip-1,-3,,,,,,,\n,slip-2,0.05,,,2026-11-22 07:00:00,,,,\n").expect("right");
    let said: Vec<_> =
        records.iter().map(|record| (record.date, record.amount.get(), record.state)).collect();
    let next = Date::constant(2026, 11, 22);
    assert_eq!(said, [(DAY, -300, State::Captured), (next, 5, State::Captured)]);
}

#[test]
fn a_gbk_file_with_chinese_columns_in_fen_is_read() {
    let format = format(
        r#"
        encoding = "gbk"
        delimiter = "|"
        amount = "fen"
        date = "%Y%m%d"
        [columns]
        reference = "流水号"
        amount = "金额"
        date = "清算日期"
        status = "状态"
        [status]
        "成功" = "captured"
        "冲正" = "reversed"
        "#,
    );
    let text =
        "流水号|备注|金额|清算日期|状态\nslip-1|\"含|竖线\"|350|20261120|成功\nslip-2||-1|20261121|冲正\n";
    let (bytes, _, _) = encoding_rs::GBK.encode(text);
    let records = parse(&bytes, &format, DAY).expect("right");
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].amount, records[0].date), (Fen::new(350), Date::constant(2026, 11, 20)));
    assert_eq!((records[1].amount, records[1].state), (Fen::new(-1), State::Reversed));

    let not_gbk = parse(b"x|y\n\xff\xff|1\n", &format, DAY).expect_err("not GBK");
    assert_eq!(not_gbk.lines[0].line, 2);
    let said = parse(&bytes, &plain(), DAY).expect_err("not UTF-8").to_string();
    assert!(said.contains("encoding = \"gbk\""), "{said}");
}

#[track_caller]
fn wrong(lines: &str, expect: &[(u64, &str)]) -> String {
    let bad = read(lines).expect_err("wrong");
    let places: Vec<_> = bad.lines.iter().map(|line| (line.line, line.field.as_str())).collect();
    assert_eq!(places, expect, "{bad}");
    for line in &bad.lines {
        assert!(line.right.zh.chars().any(|c| c > '\u{2e80}') && !line.right.en.is_empty(), "{line:?}");
    }
    bad.to_string()
}

#[test]
fn bad_lines_are_told_with_line_and_field_and_what_would_be_right() {
    let good = ",slip-1,3.00,,,,,,,\n";
    wrong(&format!("{good},slip-2,3.000,,,,,,,\n{good}"), &[(3, "amount")]);
    wrong(",slip,,,,,,,,\n", &[(2, "amount")]);
    for amount in ["1,000.00", "+3", "3.", "-.5", "¥3", "3e2", "99999999999999999"] {
        wrong(&format!(",slip,\"{amount}\",,,,,,,\n"), &[(2, "amount")]);
    }
    wrong(
        "110000,slip 7,x,gone,20261121,12:00,GATE,tram,T p,fares\n",
        &[
            (2, "amount"),
            (2, "transaction"),
            (2, "reference"),
            (2, "status"),
            (2, "date"),
            (2, "time"),
            (2, "terminal"),
            (2, "scene"),
            (2, "kind"),
            (2, "account"),
        ],
    );
    wrong("slip,3.00\n", &[(2, "")]);
    wrong(",,3.00,,,,,,,\n", &[(2, "")]);
    // However lines end, blank ones included.
    wrong(&format!("{good}\n\n,slip-2,x,,,,,,,\n"), &[(5, "amount")]);
    let lines = format!("{HEADER}{good}\n{good},slip-2,x,,,,,,,\n").replace('\n', "\r\n");
    let bad = parse(lines.as_bytes(), &plain(), DAY).expect_err("wrong");
    assert_eq!(bad.lines.iter().map(|line| line.line).collect::<Vec<_>>(), [5]);
    // A quote that is never closed swallows the rest; it must not pass.
    wrong(&format!(",\"slip-1,3.00,,,,,,,\n{good}"), &[(2, "")]);
    let said = wrong(",张三的卡 6217,3.00,,,,,,,\n", &[(2, "reference")]);
    assert!(!said.contains("6217"), "a value may be about a person: {said}");
}

#[test]
fn a_header_must_name_every_declared_column_once() {
    for (header, field) in [
        ("", ""),
        ("transaction,reference,status,date,time,terminal,scene,kind,account\n", "amount"),
        ("amount,transaction,reference,amount,status,date,time,terminal,scene,kind,account\n", "amount"),
    ] {
        let bad = parse(header.as_bytes(), &plain(), DAY).expect_err("no header");
        assert_eq!((bad.lines[0].line, bad.lines[0].field.as_str()), (1, field));
    }
    assert_eq!(parse(format!("\u{feff}{HEADER}").as_bytes(), &plain(), DAY), Ok(Vec::new()));
}

#[test]
fn what_is_told_of_a_broken_file_is_bounded() {
    let lines = ",slip,x,,,,,,,\n".repeat(limits_problems() + 7);
    let bad = read(&lines).expect_err("wrong");
    assert_eq!((bad.lines.len(), bad.untold), (limits_problems(), 7));
}

fn limits_problems() -> usize {
    crate::limits::SETTLEMENT_PROBLEMS_MAX
}

#[test]
fn a_declaration_that_cannot_work_is_told() {
    let check = |text: &str, words: &str| {
        let problems = toml::from_str::<Format>(text).expect("TOML").problems().join("\n");
        assert!(problems.contains(words), "{words}: {problems}");
    };
    let with = |line: &str, columns: &str| {
        format!("amount = \"fen\"\n{line}\n[columns]\namount = \"金额\"\n{columns}")
    };
    check(&with("", ""), "transaction, reference, terminal");
    check(&with("delimiter = \"，\"", "terminal = \"t\""), "delimiter");
    check(&with("date = \"%d\"", "terminal = \"t\""), "date");
    check(&with("time = \"%H:%M\"", "terminal = \"t\""), "time");
    check(&with("", "terminal = \"金额\""), "columns.terminal");
    check(&with("", "terminal = \"t\"\nstatus = \"s\""), "status");
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), lines in "[0-9a-z,\"\n.\\-]{0,200}") {
        let _ = parse(&bytes, &plain(), DAY);
        let _ = read(&lines);
    }

    #[test]
    fn amounts_are_read_as_money_is_written(fen in -1_000_000_000i64..1_000_000_000) {
        let records = read(&format!(",slip,{},,,,,,,\n", Fen::new(fen))).expect("right");
        prop_assert_eq!(records[0].amount, Fen::new(fen));
    }
}
