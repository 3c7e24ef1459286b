//! The insurer by itself, spoken to over its socket.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Fault, Insurance, Insured, Insurer, InsurerHandle, InsurerOptions, MessageKey};
use crate::{crypto::sm3, model::ManualClock};

const NOW: i64 = 1_795_000_000_000;
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const HOSPITAL: &str = "H11010100001";
const PERSON: &str = "1100000000000000000001";

struct World {
    addr: SocketAddr,
    insurer: InsurerHandle,
    sign_no: String,
    sent: u32,
}

fn person() -> Insured {
    let insurance = |kind: &str, balance_fen| Insurance {
        kind: kind.into(),
        place: "119900".into(),
        status: "1".into(),
        balance_fen,
    };
    Insured {
        number: PERSON.into(),
        document: "11010119900307001X".into(),
        name: "王样例".into(),
        sex: "1".into(),
        ethnicity: "01".into(),
        born: 19_900_307,
        cards: vec![("A00000019".into(), "00".repeat(16))],
        tokens: vec!["token-1".into()],
        insurances: vec![insurance("310", 30_000), insurance("330", 0)],
        retired: false,
        civil_servant: false,
        identity: None,
        family: None,
        filed: false,
    }
}

async fn world(change: impl FnOnce(&mut InsurerOptions)) -> World {
    let mut options = InsurerOptions {
        clock: Arc::new(ManualClock::at(NOW)),
        persons: vec![person()],
        ..InsurerOptions::default()
    };
    change(&mut options);
    let (addr, insurer) = Insurer::bind(ANY, options).await.unwrap();
    let mut world = World { addr, insurer, sign_no: String::new(), sent: 0 };
    let signed_in =
        world.ask("9001", json!({ "signIn": { "opter_no": "op1", "mac": "0", "ip": "0" } })).await;
    world.sign_no = signed_in["output"]["signinoutb"]["sign_no"].as_str().unwrap_or_default().to_owned();
    world
}

impl World {
    fn envelope(&mut self, infno: &str, input: &Value) -> Value {
        self.sent += 1;
        json!({
            "infno": infno,
            "msgid": format!("{HOSPITAL}20261122093000{:04}", self.sent),
            "mdtrtarea_admvs": "110101", "insuplc_admdvs": "119900", "recer_sys_code": "SANDBOX",
            "dev_no": "", "dev_safe_info": "", "cainfo": "", "signtype": "SM3", "infver": "V1.0",
            "opter_type": "1", "opter": "op1", "opter_name": "操作员", "inf_time": "2026-11-22 09:30:00",
            "fixmedins_code": HOSPITAL, "fixmedins_name": "北京沙箱三级医院",
            "sign_no": self.sign_no, "input": input,
        })
    }

    async fn ask(&mut self, infno: &str, input: Value) -> Value {
        let envelope = self.envelope(infno, &input);
        self.post(&envelope).await
    }

    async fn post(&self, envelope: &Value) -> Value {
        let body = envelope.to_string();
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let head = format!(
            "POST /hsa/api HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// Registers, describes and charges a visit; answers its `mdtrt_id`.
    async fn charged(&mut self, number: &str) -> String {
        let opened = self
            .ask(
                "2201",
                json!({ "data": {
                    "psn_no": PERSON, "insutype": "310", "begntime": "2026-11-22 09:00:00",
                    "mdtrt_cert_type": "03", "mdtrt_cert_no": "A00000019", "ipt_otp_no": number,
                    "atddr_no": "D1", "dr_name": "医生", "dept_code": "01", "dept_name": "内科", "caty": "A03",
                } }),
            )
            .await;
        let visit = opened["output"]["data"]["mdtrt_id"].as_str().unwrap().to_owned();
        let described = self
            .ask(
                "2203",
                json!({
                    "mdtrtinfo": { "mdtrt_id": visit, "psn_no": PERSON, "med_type": "11" },
                    "diseinfo": [{ "diag_type": "1", "diag_code": "I10", "diag_name": "高血压", "diag_dept": "内科" }],
                }),
            )
            .await;
        assert_eq!(described["infcode"], 0, "{described}");
        let line = |serial: &str, code: &str, sum: &str, count: &str, price: &str| {
            json!({
                "feedetl_sn": serial, "mdtrt_id": visit, "psn_no": PERSON, "chrg_bchno": "1",
                "fee_ocur_time": "2026-11-22 09:10:00", "med_list_codg": code, "medins_list_codg": code,
                "det_item_fee_sumamt": sum, "cnt": count, "pric": price,
            })
        };
        let charged = self
            .ask(
                "2204",
                json!({ "feedetail": [
                    line("1", "SANDBOX-S0001", "50.00", "1", "50"),
                    line("2", "SANDBOX-D0005", "72.15", "3", "24.05"),
                    line("3", "SANDBOX-D0008", "4000.00", "1", "4000"),
                    line("4", "SANDBOX-S0004", "3000.00", "10", "300"),
                ] }),
            )
            .await;
        assert_eq!(charged["infcode"], 0, "{charged}");
        assert_eq!(charged["output"]["result"][1]["overlmt_amt"], 12.15);
        assert_eq!(charged["output"]["result"][1]["preselfpay_amt"], 6.0);
        visit
    }

    fn bill(visit: &str) -> Value {
        json!({ "data": {
            "psn_no": PERSON, "mdtrt_cert_type": "03", "mdtrt_cert_no": "A00000019", "med_type": "11",
            "medfee_sumamt": 7122.15, "psn_setlway": "01", "mdtrt_id": visit, "chrg_bchno": "1",
            "acct_used_flag": "1", "insutype": "310", "invono": "1",
            "fulamt_ownpay_amt": 4000, "overlmt_selfpay": 12.15, "preselfpay_amt": "306.00",
            "inscp_scp_amt": 2804,
        } })
    }
}

fn fen(value: &Value) -> i64 {
    super::decimal::read(value, 2).unwrap()
}

#[tokio::test]
async fn a_visit_is_settled_and_its_sums_add_up() {
    let mut world = world(|_| {}).await;
    let visit = world.charged("MZ1").await;
    let trial = world.ask("2206", World::bill(&visit)).await;
    let settled = world.ask("2207", World::bill(&visit)).await;
    assert_eq!(settled["infcode"], 0, "{settled}");
    let (trial, info) = (&trial["output"]["setlinfo"], &settled["output"]["setlinfo"]);
    assert!(trial["setl_id"].is_null() && info["setl_id"].is_string());
    assert_eq!(trial["fund_pay_sumamt"], info["fund_pay_sumamt"]);
    // 2,804.00 in scope, 1,800.00 deductible, 70 % of the rest at level 3.
    assert_eq!(fen(&info["hifp_pay"]), 70_280);
    assert_eq!(fen(&info["hosp_part_amt"]), 1_215, "the hospital bears what is over the limit");
    assert_eq!(fen(&info["acct_pay"]), 30_000);
    let parts = fen(&info["fund_pay_sumamt"]) + fen(&info["psn_part_amt"]) + fen(&info["hosp_part_amt"]);
    assert_eq!(fen(&info["medfee_sumamt"]), parts);
    assert_eq!(world.insurer.balance(PERSON, "310"), Some(0));
    assert_eq!(world.insurer.totals(None).total, 712_215);
}

#[tokio::test]
async fn what_is_reversed_or_cancelled_leaves_no_trace_in_the_year() {
    let mut world = world(|_| {}).await;
    let visit = world.charged("MZ1").await;
    let settled = world.ask("2207", World::bill(&visit)).await;
    let settle_msgid = format!("{HOSPITAL}20261122093000{:04}", world.sent);
    let first = settled["output"]["setlinfo"]["fund_pay_sumamt"].clone();
    let number = settled["output"]["setlinfo"]["setl_id"].clone();
    let cancel = json!({ "data": { "setl_id": number, "mdtrt_id": visit, "psn_no": PERSON } });
    let cancelled = world.ask("2208", cancel).await;
    let cancel_msgid = format!("{HOSPITAL}20261122093000{:04}", world.sent);
    assert_eq!(fen(&cancelled["output"]["setlinfo"]["fund_pay_sumamt"]), -fen(&first));
    assert_eq!(world.insurer.totals(None), super::Totals { count: 2, ..Default::default() });

    // The cancellation is taken back, then the settlement itself.
    let reverse =
        |msgid: &str, infno: &str| json!({ "data": { "psn_no": PERSON, "omsgid": msgid, "oinfno": infno } });
    let taken_back = world.ask("2601", reverse(&cancel_msgid, "2208")).await;
    assert_eq!(taken_back["infcode"], 0);
    assert!(world.insurer.is_settled(&visit));
    assert_eq!(world.insurer.balance(PERSON, "310"), Some(0));
    world.ask("2601", reverse(&settle_msgid, "2207")).await;
    assert!(!world.insurer.is_settled(&visit));
    assert_eq!(world.insurer.totals(None), super::Totals::default());
    assert_eq!(world.insurer.balance(PERSON, "310"), Some(30_000));

    let again = world.ask("2207", World::bill(&visit)).await;
    assert_eq!(again["output"]["setlinfo"]["fund_pay_sumamt"], first, "the year is as before");
}

#[tokio::test]
async fn a_reversal_that_comes_first_keeps_the_message_out() {
    let mut world = world(|_| {}).await;
    let visit = world.charged("MZ1").await;
    let settle = world.envelope("2207", &World::bill(&visit));
    let data = json!({ "data": { "psn_no": PERSON, "omsgid": settle["msgid"], "oinfno": "2207" } });
    assert_eq!(world.ask("2601", data).await["infcode"], 0);
    assert_eq!(world.post(&settle).await["infcode"], -2);
    assert!(!world.insurer.is_settled(&visit));
}

#[tokio::test]
async fn a_message_that_is_there_already_is_not_booked_twice() {
    let mut world = world(|options| options.code_as_text = true).await;
    let visit = world.charged_stay().await;
    let bill = json!({ "data": {
        "psn_no": PERSON, "mdtrt_cert_type": "03", "med_type": "21", "medfee_sumamt": 7122.15,
        "psn_setlway": "01", "mdtrt_id": visit, "acct_used_flag": "1", "insutype": "310",
    } });
    let settle = world.envelope("2304", &bill);
    assert_eq!(world.post(&settle).await["infcode"], "0");
    assert_eq!(world.post(&settle).await["infcode"], "-2");
    assert_eq!(world.insurer.totals(None).count, 1);
}

impl World {
    /// A stay with one line, in a world that writes codes as text.
    async fn charged_stay(&mut self) -> String {
        let opened = self
            .ask(
                "2401",
                json!({ "mdtrtinfo": {
                    "psn_no": PERSON, "insutype": "310", "begntime": "2026-11-22 09:00:00",
                    "mdtrt_cert_type": "03", "med_type": "21", "ipt_otp_no": "ZY1", "atddr_no": "D1",
                    "adm_dept_codg": "01", "adm_dept_name": "内科",
                } }),
            )
            .await;
        let visit = opened["output"]["result"]["mdtrt_id"].as_str().unwrap().to_owned();
        let line = json!({
            "feedetl_sn": "1", "mdtrt_id": visit, "psn_no": PERSON, "chrg_bchno": "1",
            "fee_ocur_time": "2026-11-22 09:10:00", "med_list_codg": "SANDBOX-S0007",
            "medins_list_codg": "1", "det_item_fee_sumamt": 7122.15, "cnt": 1, "pric": 7122.15,
        });
        let added = self.ask("2301", json!({ "feedetail": [line] })).await;
        assert_eq!(added["infcode"], "0", "{added}");
        visit
    }
}

#[tokio::test]
async fn faults_come_when_they_are_asked_for() {
    let mut world = world(|_| {}).await;
    let visit = world.charged("SUMS-2207-1").await;
    let broken = world.ask("2207", World::bill(&visit)).await;
    let info = &broken["output"]["setlinfo"];
    assert_ne!(
        fen(&info["medfee_sumamt"]),
        fen(&info["fund_pay_sumamt"]) + fen(&info["psn_part_amt"]) + fen(&info["hosp_part_amt"])
    );
    assert!(world.insurer.is_settled(&visit), "the books are right");

    world.insurer.fail_next("1101", Fault::System);
    let card = json!({ "data": {
        "mdtrt_cert_type": "03", "mdtrt_cert_no": "A00000019", "card_sn": "00".repeat(16),
    } });
    assert_eq!(world.ask("1101", card.clone()).await["infcode"], -1);
    let found = world.ask("1101", card.clone()).await;
    assert_eq!(found["output"]["baseinfo"]["psn_no"], PERSON);
    world.insurer.fail_next("1101", Fault::Stale);
    let stale = world.ask("1101", card).await;
    assert_eq!(stale["inf_refmsgid"], found["inf_refmsgid"], "an answer that came before");
}

#[tokio::test]
async fn a_day_is_reconciled_by_totals_and_line_by_line() {
    let mut world = world(|_| {}).await;
    let visit = world.charged("MZ1").await;
    let settled = world.ask("2207", World::bill(&visit)).await;
    let info = &settled["output"]["setlinfo"];
    let statement = |total: Value| {
        json!({ "data": {
            "insutype": "310", "clr_type": "11", "setl_optins": "119900",
            "stmt_begndate": super::settling::day_of(NOW), "stmt_enddate": super::settling::day_of(NOW),
            "medfee_sumamt": total, "fund_pay_sumamt": info["fund_pay_sumamt"], "acct_pay": info["acct_pay"],
            "cash_payamt": 0, "fixmedins_setl_cnt": "1", "file_qury_no": "",
        } })
    };
    let agrees = world.ask("3201", statement(json!(7122.15))).await;
    assert_eq!(agrees["output"]["stmtinfo"]["stmt_rslt"], "0", "{agrees}");
    let differs = world.ask("3201", statement(json!(7122.16))).await;
    assert_eq!(differs["output"]["stmtinfo"]["stmt_rslt"], "1");

    let line = format!("{}\t{visit}\t{PERSON}\t7122.16\t0\t0\t0\r\n", info["setl_id"].as_str().unwrap());
    let file = json!({ "fsUploadIn": {
        "in": line.bytes().collect::<Vec<u8>>(), "filename": "a.txt", "fixmedins_code": HOSPITAL,
    } });
    let uploaded = world.ask("9101", file).await;
    let mut details = statement(json!(7122.15));
    details["data"]["file_qury_no"] = uploaded["output"]["file_qury_no"].clone();
    let compared = world.ask("3202", details).await;
    assert!(compared["output"]["fileinfo"]["file_qury_no"].is_string(), "{compared}");
}

#[tokio::test]
async fn nobody_is_let_in_without_the_signatures_that_are_wanted() {
    let mut world = world(|options| options.signature = Some(MessageKey::Sm3)).await;
    let sign = |envelope: &mut Value| {
        let text = |name: &str| envelope[name].as_str().unwrap().to_owned();
        let signed =
            format!("{}|{}|{}|{}", text("msgid"), text("infno"), text("inf_time"), envelope["input"]);
        envelope["cainfo"] = hex::encode(sm3(&[signed.as_bytes()])).into();
    };
    let sign_in = json!({ "signIn": { "opter_no": "op1", "mac": "0", "ip": "0" } });
    let mut envelope = world.envelope("9001", &sign_in);
    assert_eq!(world.post(&envelope).await["infcode"], -2);
    sign(&mut envelope);
    assert_eq!(world.post(&envelope).await["infcode"], 0);
    envelope["opter"] = json!("");
    assert_eq!(world.post(&envelope).await["infcode"], -2, "a field that must be there");
}
