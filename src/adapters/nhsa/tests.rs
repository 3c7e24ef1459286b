//! The JSON against the field table, which is data with its source
//! (`tests/data/nhsa-fields.md`): every field of an input is there under its name and
//! within its length, and no output is read under a name that nobody has.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{NhsaOptions, envelope, write};
use crate::{
    model::{Fen, SystemRng, TransactionId},
    scenes::medical::{
        MedicalAct, MedicalOrder, MsgId, OpenOrder, PortError, Sender,
        orders::{
            AddFees, Admit, CancelFees, CancelSettlement, Certificate, CheckEntitlement, Diagnosis, FeeLine,
            ReadPerson, Reconcile, RecordVisit, Register, Settle, VisitRef,
        },
    },
};

const TABLE: &str = include_str!("../../../tests/data/nhsa-fields.md");
const NOW: i64 = 1_795_000_000_000;

/// Fields without an underscore, which prose could not be told from otherwise.
const PLAIN: [&str; 20] = [
    "insutype", "begntime", "endtime", "certno", "tel", "pric", "cnt", "rxno", "caty", "invono", "omsgid",
    "oinfno", "balc", "gend", "naty", "brdy", "memo", "filename", "begndate", "enddate",
];

/// A field of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    required: bool,
    /// Digits and decimal places, or characters.
    length: Option<(usize, usize)>,
}

/// The fields that a cell names.
fn fields(cell: &str) -> Vec<Field> {
    let bytes = cell.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let mut found: Vec<Field> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_lowercase() || (at > 0 && is_word(bytes[at - 1])) {
            at += 1;
            continue;
        }
        let end = (at..bytes.len()).find(|&end| !is_word(bytes[end])).unwrap_or(bytes.len());
        let word = &cell[at..end];
        // `code/name` is two fields of one stem.
        let stem = found.last().filter(|_| at > 0 && bytes[at - 1] == b'/' && !word.contains('_'));
        let stem = stem.and_then(|last| last.name.rsplit_once('_').map(|(stem, _)| format!("{stem}_{word}")));
        let name = match stem {
            Some(name) => name,
            None if word.contains('_') || PLAIN.contains(&word) => word.to_owned(),
            None => {
                at = end;
                continue;
            }
        };
        let stars = cell[end..].chars().take_while(|&mark| mark == '*').count();
        let rest = cell[end + stars..].trim_start().trim_start_matches(['C', 'N', 'D']);
        // `01 e-voucher token` is a code and what it means.
        let rest = rest.strip_prefix('0').map_or(rest, |_| "");
        let digits: String = rest.chars().take_while(|mark| mark.is_ascii_digit() || *mark == ',').collect();
        let mut parts = digits.trim_end_matches(',').split(',');
        let whole = parts.next().and_then(|whole| whole.parse().ok());
        let places = parts.next().and_then(|places| places.parse().ok()).unwrap_or(0);
        // Two of three stars are the end of bold type.
        found.push(Field { name, required: stars % 2 == 1, length: whole.map(|whole| (whole, places)) });
        at = end;
    }
    found
}

/// A text without what stands in parentheses.
fn without_remarks(cell: &str) -> String {
    let mut depth = 0;
    cell.chars()
        .filter(|&mark| {
            depth += i32::from(mark == '(');
            let keeps = depth == 0;
            depth -= i32::from(mark == ')');
            keeps
        })
        .collect()
}

/// The inputs of the table, by transaction.
fn inputs() -> BTreeMap<String, Vec<Field>> {
    let mut inputs = BTreeMap::new();
    for line in TABLE.lines().filter(|line| line.starts_with("| ") && !line.contains("txn")) {
        let cells: Vec<&str> = line.trim_matches('|').splitn(2, '|').collect();
        // What is answered, what some send besides, and remarks are not the input.
        let cell = ["→", "; extra", "; file columns", "—"]
            .iter()
            .fold(cells[1], |cell, end| cell.split(end).next().unwrap_or_default());
        let cell = without_remarks(cell);
        for number in cells[0].split(',').map(str::trim) {
            inputs.insert(number.to_owned(), fields(&cell));
        }
    }
    let mut settle = inputs["2206"].clone();
    settle.extend(inputs["2207"].clone());
    inputs.insert("2207".into(), settle);
    inputs
}

fn visit() -> VisitRef {
    VisitRef { psn_no: "1".into(), mdtrt_id: "2".into(), ipt_otp_no: "3".into() }
}

fn card() -> Certificate {
    Certificate { kind: "03".into(), number: "A00000019".into(), card_sn: "00".repeat(16) }
}

fn fees() -> AddFees {
    let line = FeeLine {
        serial: "1".into(),
        charged_at_ms: NOW,
        catalogue_code: "X".into(),
        institution_code: "Y".into(),
        sum: Fen::new(1_234),
        count: "2.5".parse().unwrap(),
        price: "4.936".parse().unwrap(),
        department_code: "01".into(),
        department_name: "内科".into(),
        doctor_code: "D1".into(),
        doctor_name: "医生".into(),
        approval: 1,
        ..FeeLine::default()
    };
    AddFees { visit: visit(), batch: "1".into(), disease_code: "I10".into(), lines: vec![line] }
}

fn settle() -> Settle {
    Settle {
        visit: visit(),
        certificate: card(),
        insutype: "310".into(),
        med_type: "11".into(),
        total: Fen::new(1_234),
        way: "01".into(),
        batch: "1".into(),
        invoice: "1".into(),
        ..Settle::default()
    }
}

/// A full order of every transaction that the table has.
fn orders() -> Vec<MedicalOrder> {
    let diagnosis = Diagnosis {
        kind: "1".into(),
        order: 1,
        code: "I10".into(),
        name: "高血压".into(),
        department: "内科".into(),
        doctor_code: "D1".into(),
        doctor_name: "医生".into(),
        at_ms: NOW,
        valid: true,
    };
    let register = Register {
        psn_no: "1".into(),
        insutype: "310".into(),
        begins_at_ms: NOW,
        certificate: card(),
        ipt_otp_no: "3".into(),
        doctor_code: "D1".into(),
        doctor_name: "医生".into(),
        department_code: "01".into(),
        department_name: "内科".into(),
        department_category: "A03".into(),
    };
    let check = CheckEntitlement {
        psn_no: "1".into(),
        insutype: "310".into(),
        med_type: "11".into(),
        begins_at_ms: NOW,
        ..CheckEntitlement::default()
    };
    let read = ReadPerson {
        certificate: card(),
        begins_at_ms: NOW,
        document_kind: "01".into(),
        ..ReadPerson::default()
    };
    let record = RecordVisit {
        visit: visit(),
        med_type: "11".into(),
        begins_at_ms: NOW,
        diagnoses: vec![diagnosis.clone()],
        ..RecordVisit::default()
    };
    let admit = Admit { psn_no: "1".into(), diagnoses: vec![diagnosis], ..Admit::default() };
    let cancel = CancelSettlement { visit: visit(), setl_id: "9".into() };
    let statement = Reconcile {
        insutype: "310".into(),
        clearing_type: "11".into(),
        office: "119900".into(),
        from: 20_261_122,
        until: 20_261_122,
        settlements: 1,
        file: "F1".into(),
        ..Reconcile::default()
    };
    vec![
        MedicalOrder::ReadPerson(read),
        MedicalOrder::CheckEntitlement(check),
        MedicalOrder::Register(register),
        MedicalOrder::CancelRegistration(visit()),
        MedicalOrder::RecordVisit(record),
        MedicalOrder::AddFees(fees()),
        MedicalOrder::CancelFees(CancelFees { visit: visit(), batch: "0000".into() }),
        MedicalOrder::PreSettle(settle()),
        MedicalOrder::Settle(settle()),
        MedicalOrder::CancelSettlement(cancel.clone()),
        MedicalOrder::CancelStaySettlement(cancel),
        MedicalOrder::PreSettleStay(settle()),
        MedicalOrder::Admit(admit),
        MedicalOrder::ReconcileTotals(statement.clone()),
        MedicalOrder::ReconcileDetails(statement),
        MedicalOrder::SignIn,
    ]
}

fn sender() -> Sender {
    Sender {
        msgid: MsgId::new("H11010100001", "20261122093000", 1).unwrap(),
        transaction: TransactionId::new(110_000, 0, NOW, &SystemRng),
        institution: "H11010100001".into(),
        institution_name: "北京沙箱三级医院".into(),
        care_region: "110101".into(),
        insured_region: "119900".into(),
        operator: "".into(),
        sent_at_ms: NOW,
        trace_id: None,
    }
}

/// Every field of an input, from all its objects and lists.
fn sent(input: &Value) -> BTreeMap<String, String> {
    let mut sent = BTreeMap::new();
    let nodes = input.as_object().unwrap().values();
    let objects = nodes.flat_map(|node| node.as_array().map_or(vec![node], |rows| rows.iter().collect()));
    for (name, value) in objects.filter_map(Value::as_object).flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        sent.insert(name.clone(), text);
    }
    sent
}

#[test]
fn every_input_has_the_fields_of_the_table() {
    let table = inputs();
    let mut walked = BTreeSet::new();
    for order in orders() {
        let number = order.act().infno().to_string();
        let sent = sent(&write::input(&order, &sender(), &NhsaOptions::at("http://x/y")));
        for field in &table[&number] {
            let of_stem =
                || sent.keys().any(|name| field.name.ends_with('_') && name.starts_with(&field.name));
            let Some(value) = sent.get(&field.name) else {
                assert!(of_stem(), "{number}: {} is not sent", field.name);
                continue;
            };
            assert!(!field.required || !value.is_empty(), "{number}: {} is empty", field.name);
            match field.length {
                Some((_, places)) if places > 0 => {
                    let sent_places = value.split_once('.').map_or(0, |(_, places)| places.len());
                    assert!(sent_places <= places, "{number}: {} has {value}", field.name);
                }
                Some((longest, _)) => {
                    assert!(value.chars().count() <= longest, "{number}: {} has {value}", field.name);
                }
                None => {}
            }
        }
        walked.insert(number);
    }
    let left: Vec<_> = table.keys().filter(|number| !walked.contains(*number)).collect();
    assert_eq!(left, ["2601", "9101"], "rows that another test walks");
}

#[test]
fn a_reversal_names_the_message_it_takes_back() {
    let open = OpenOrder {
        act: MedicalAct::Settle,
        msgid: sender().msgid,
        psn_no: "1".into(),
        mdtrt_id: "2".into(),
        ipt_otp_no: "3".into(),
        setl_id: String::new(),
        batch: "1".into(),
        sent_at_ms: NOW,
    };
    let sent = sent(&write::reversal(&open, "2207"));
    for field in &inputs()["2601"] {
        assert!(field.required, "{field:?}");
        assert!(!sent[&field.name].is_empty() && sent[&field.name].len() <= field.length.unwrap().0);
    }
    assert_eq!((sent["omsgid"].as_str(), sent["oinfno"].as_str()), (sender().msgid.as_str(), "2207"));
}

#[test]
fn no_output_is_read_under_a_name_that_nobody_has() {
    let (_, outputs) = TABLE.split_once("\n## 1101 output").unwrap();
    let answered: String =
        TABLE.lines().filter_map(|line| line.split_once('→')).map(|(_, out)| out).collect();
    let known: BTreeSet<String> =
        fields(outputs).into_iter().chain(fields(&answered)).map(|field| field.name).collect();
    // Read from the answer to 2201 and 2401, which is a visit's number.
    let named = ["mdtrt_id", "warn_msg", "age"];
    let source = include_str!("read.rs");
    let mut read = 0;
    for call in [
        ".text(\"",
        ".money(\"",
        ".money_or_zero(\"",
        ".maybe_money(\"",
        ".day(\"",
        ".instant(\"",
        ".flag(\"",
    ] {
        for rest in source.split(call).skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(known.contains(name) || named.contains(&name), "{name} is in no table");
            read += 1;
        }
    }
    assert!(read > 60, "{read} fields are read");
}

#[test]
fn an_infcode_is_a_number_or_a_text() {
    let options = NhsaOptions { refusals: vec!["-5".into()], ..NhsaOptions::at("http://x/y") };
    let read =
        |code: &str| envelope::read(format!("{{\"infcode\":{code},\"err_msg\":\"x\"}}").as_bytes(), &options);
    for zero in ["0", "\"0\""] {
        assert!(read(zero).is_ok());
    }
    for failed in ["-1", "\"-1\""] {
        assert!(matches!(read(failed), Err(PortError::SystemFailed(_))));
    }
    for refused in ["-2", "\"-2\"", "\"-5\""] {
        assert!(matches!(read(refused), Err(PortError::Refused(_))), "{refused}");
    }
    for nothing in ["null", "\"\"", "\"ok\"", "{}", "-3", "500", "\"7\""] {
        assert!(matches!(read(nothing), Err(PortError::Unknown(_))), "{nothing}");
    }
    assert!(matches!(envelope::read(b"<html>", &options), Err(PortError::Unknown(_))));
}

#[test]
fn the_headers_signature_is_that_of_the_facts() {
    let options = NhsaOptions { account: "a".into(), ..NhsaOptions::at("http://x/y") };
    let header: BTreeMap<_, _> = envelope::header(&options, "token", "nonce", 5).into_iter().collect();
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"5tokennonce5");
    assert_eq!(header["x-tif-signature"], hex::encode(expected));
    assert_eq!(header["x-tif-timestamp"], "5");
}
