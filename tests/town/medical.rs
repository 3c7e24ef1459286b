//! A visit is settled once and to the fen, whatever becomes of the insurer's answer.

use std::{collections::BTreeMap, process::Command};

use onecard::{
    client::TransactionKey,
    proto::{
        common::v1::{Decision, TransactionStatus},
        medical::v1::{GetVisitRequest, Settlement, VisitStage},
    },
    sandbox::insurer::Totals,
};

use crate::{
    configured::reload,
    support::{
        Stage,
        clinic::Counter,
        edit,
        expect::{approved, declined},
        in_a_town_of_its_own, on_the_town, program, until, until_asked,
    },
};

const COUNTER: &str = "bj-hospital-counter-01";
const HOSPITAL: &str = "H11010100001";
/// An employee with an account.
const HOLDER: &str = "bj-001";
const PERSON: &str = "11000000000000000001";

/// Fen by account in the journal of Beijing's medical scene.
fn booked(stage: &Stage) -> BTreeMap<String, i64> {
    let journal = stage.prepared.data.join("beijing/journal");
    let mut export = Command::new(program());
    let export = export.args(["journal", "export", "--scene", "medical"]).arg(journal);
    let told = export.output().expect("the program runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let mut accounts = BTreeMap::new();
    for line in String::from_utf8(told.stdout).expect("text").lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let mut sum = 0;
        for posting in entry["postings"].as_array().expect("a list") {
            let fen = posting["amount_fen"].as_i64().expect("fen");
            let account = posting["account"].as_str().expect("an account").to_owned();
            *accounts.entry(account).or_insert(0) += fen;
            sum += fen;
        }
        assert_eq!(sum, 0, "every entry is balanced: {line}");
    }
    accounts
}

/// The sum of all accounts whose path begins so.
fn of(accounts: &BTreeMap<String, i64>, beginning: &str) -> i64 {
    accounts.iter().filter(|(account, _)| account.starts_with(beginning)).map(|(_, fen)| fen).sum()
}

/// What was booked is what the insurer has in its own books.
#[track_caller]
fn agrees(stage: &Stage, totals: Totals) {
    let accounts = booked(stage);
    assert_eq!(of(&accounts, "participant/bj-hospital/care"), -totals.total, "{accounts:?}");
    assert_eq!(of(&accounts, "fund/"), totals.fund, "{accounts:?}");
    assert_eq!(of(&accounts, "account/"), totals.account, "{accounts:?}");
    assert_eq!(of(&accounts, "participant/bj-hospital/cash"), totals.cash, "{accounts:?}");
    until("the ledger's sum is zero", || {
        stage.ops("beijing", "/metrics").1.lines().any(|line| line == "onecard_ledger_sum_fen 0")
    });
}

fn totals_of(settlement: &Settlement, count: u64) -> Totals {
    Totals {
        total: settlement.total_fen,
        fund: settlement.funds_fen,
        account: settlement.account_fen + settlement.family_account_fen,
        cash: settlement.cash_fen,
        count,
    }
}

#[test]
fn a_visit_is_settled_and_taken_back_to_the_fen_of_the_insurers_own_books() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let insurer = stage.insurer("beijing");
            let balance = insurer.balance(PERSON, "310").expect("insured");
            let counter = Counter::of(stage, COUNTER, &stage.named_card(HOLDER)).await;
            let (visit, shown) = counter.bill("MZ-0001").await;
            let bought: i64 = counter.basket.iter().map(|bought| bought.fen()).sum();
            assert_eq!(shown.total_fen, bought);
            assert!(shown.funds_fen > 0 && shown.account_fen > 0, "a bill worth a test: {shown:?}");
            let parts = [shown.funds_fen, shown.account_fen, shown.family_account_fen, shown.cash_fen];
            assert_eq!(parts.iter().sum::<i64>() + shown.hospital_fen, bought);

            let request = counter.settling(&visit, &shown);
            let settled = counter.terminal.settle(request.clone()).await.expect("answered");
            approved(&settled.answer);
            let standing = settled.visit.clone().expect("a visit");
            assert_eq!(standing.stage(), VisitStage::Settled);
            let settlement = settled.settlement.clone().expect("who pays what");
            assert_eq!(totals_of(&settlement, 1), totals_of(&shown, 1), "as it was shown");
            assert_eq!(insurer.totals(Some(HOSPITAL)), totals_of(&settlement, 1));
            assert_eq!(insurer.balance(PERSON, "310"), Some(balance - settlement.account_fen));
            assert!(insurer.is_settled(&standing.mdtrt_id));
            agrees(stage, insurer.totals(Some(HOSPITAL)));

            // The repeat says the same and settles nothing.
            assert_eq!(counter.terminal.settle(request).await.expect("answered"), settled);
            assert_eq!(insurer.heard("2207"), 1);

            let taken_back = counter.cancel(&visit, &settlement.setl_id).await;
            approved(&taken_back.answer);
            assert_eq!(taken_back.settlement.expect("negated").total_fen, -bought);
            assert_eq!(insurer.totals(Some(HOSPITAL)), Totals { count: 2, ..Totals::default() });
            assert_eq!(insurer.balance(PERSON, "310"), Some(balance));
            assert!(booked(stage).values().all(|fen| *fen == 0), "{:?}", booked(stage));
            agrees(stage, insurer.totals(Some(HOSPITAL)));

            let labels = ["adapter=\"bj-nhsa\"", "outcome=\"answered\""];
            assert!(stage.metric("beijing", "onecard_adapter_calls_total", &labels) >= 7.0, "on the metric");
        },
    );
}

/// Settles a visit whose number asks for a fault and waits for the end.
async fn settled_in_silence(stage: &Stage, number: &str) -> (TransactionStatus, VisitStage) {
    let counter = Counter::of(stage, COUNTER, &stage.named_card(HOLDER)).await;
    let (visit, shown) = counter.bill(number).await;
    let request = counter.settling(&visit, &shown);
    let told = counter.terminal.settle(request.clone()).await.expect("answered").answer.expect("an answer");
    assert_eq!((told.decision(), told.status()), (Decision::Pending, TransactionStatus::Pending), "{told:?}");
    assert_eq!(told.reason, "OUTCOME_PENDING");
    declined(&counter.pre_settle(&visit).await.answer, "VISIT_STEP_PENDING");

    let mut ended = TransactionStatus::Pending;
    until_asked("the end of the settlement", async || {
        let key = TransactionKey::Transaction(told.transaction_id.clone());
        let found = counter.terminal.transaction(key).await.expect("found");
        assert_eq!(found.steps[0].status(), TransactionStatus::Pending, "the intent stands first");
        ended = found.answer.expect("an answer").status();
        ended != TransactionStatus::Pending
    })
    .await;
    let insurer = stage.insurer("beijing");
    let again = counter.terminal.settle(request).await.expect("answered").answer.expect("an answer");
    assert_eq!(again.transaction_id, told.transaction_id, "the repeat orders nothing");
    assert_eq!(insurer.heard("2207"), 1, "settled once");
    let header = Some(counter.terminal.header(onecard::model::Purpose::MedicalCare));
    let standing = GetVisitRequest { header, visit_id: visit };
    let standing = counter.terminal.get_visit(standing).await.expect("answered").visit.expect("a visit");
    assert!(!standing.step_pending);
    (ended, standing.stage())
}

#[test]
fn a_settlement_whose_answer_is_lost_is_found_again_and_booked_once() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let (ended, stands) = settled_in_silence(stage, "SILENT-AFTER-2207-1").await;
            assert_eq!((ended, stands), (TransactionStatus::Completed, VisitStage::Settled));
            let totals = stage.insurer("beijing").totals(Some(HOSPITAL));
            assert_eq!((totals.count, stage.insurer("beijing").heard("2601")), (1, 0));
            agrees(stage, totals);
        },
    );
}

#[test]
fn a_settlement_that_cannot_be_found_is_taken_back_and_nothing_is_booked() {
    let never_found = |prepared: &onecard::sandbox::town::Prepared| {
        edit(&prepared.data.join("config/beijing/insurers.toml"), |insurers| {
            let line = insurers["nhsa"]["bj-nhsa"].as_table_mut().expect("a line");
            line.insert("inquires_by_visit".into(), false.into());
        });
    };
    in_a_town_of_its_own(never_found, async |stage| {
        let (ended, stands) = settled_in_silence(stage, "SILENT-AFTER-2207-1").await;
        assert_eq!((ended, stands), (TransactionStatus::Reversed, VisitStage::PreSettled));
        assert_eq!(stage.insurer("beijing").heard("2601"), 1);
        let totals = stage.insurer("beijing").totals(Some(HOSPITAL));
        assert_eq!(totals, Totals::default());
        assert_eq!(booked(stage), BTreeMap::new());
    });
}

#[test]
fn a_step_out_of_order_names_the_one_that_is_missing() {
    on_the_town(async |stage| {
        let counter = Counter::of(stage, "tj-hospital-counter-01", &stage.named_card("tj-001")).await;
        declined(&counter.register("MZ-1").await.answer, "PERSON_NOT_READ");
        approved(&counter.read().await.answer);
        let registered = counter.register("MZ-1").await;
        approved(&registered.answer);
        let visit = registered.visit.expect("a visit").visit_id;
        let nothing = Settlement { total_fen: 1, cash_fen: 1, ..Settlement::default() };
        let settle = async || counter.terminal.settle(counter.settling(&visit, &nothing)).await;
        declined(&counter.charge(&visit).await.answer, "VISIT_NOT_RECORDED");
        declined(&settle().await.expect("answered").answer, "VISIT_NOT_RECORDED");
        approved(&counter.record(&visit).await.answer);
        declined(&counter.pre_settle(&visit).await.answer, "FEES_MISSING");
        approved(&counter.charge(&visit).await.answer);
        let told = settle().await.expect("answered");
        let told = declined(&told.answer, "NOT_PRE_SETTLED");
        assert!(told.text_zh.contains("2206") && told.text_en.contains("2206"), "{told:?}");
        approved(&counter.pre_settle(&visit).await.answer);
        declined(&settle().await.expect("answered").answer, "SETTLEMENT_DIFFERS");
        assert_eq!(stage.insurer("tianjin").heard("2207"), 0, "the insurer was not asked");
    });
}

#[test]
fn a_reload_keeps_a_line_that_is_as_it_was_and_takes_one_that_is_not() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let counter = Counter::of(stage, COUNTER, &stage.named_card(HOLDER)).await;
            let (here, elsewhere) = (stage.insurer("beijing"), stage.insurer("hebei"));
            approved(&counter.read().await.answer);
            reload(stage, "the configuration was reloaded");
            approved(&counter.read().await.answer);
            assert_eq!(here.heard("9001"), 1, "the sign-in stands, so the line is the same");

            // The platform moves; nobody of Beijing is insured at the new one.
            let url = |region: &str| {
                let file = std::fs::read_to_string(stage.config(region).join("insurers.toml")).expect("read");
                let file: toml::Table = file.parse().expect("TOML");
                let lines = file["nhsa"].as_table().expect("lines").values().next().expect("a line").clone();
                lines["url"].clone()
            };
            let moved = url("hebei");
            edit(&stage.config("beijing").join("insurers.toml"), |file| {
                file["nhsa"]["bj-nhsa"].as_table_mut().expect("a line").insert("url".into(), moved);
            });
            reload(stage, "the configuration was reloaded");
            let told = counter.read().await;
            declined(&told.answer, "INSURER_REFUSED");
            assert!(told.message.contains("未查到参保人员"), "in its own words: {}", told.message);
            assert_eq!((here.heard("1101"), elsewhere.heard("1101")), (2, 1));

            // A line that cannot be used is refused with the whole configuration.
            edit(&stage.config("beijing").join("insurers.toml"), |file| {
                let line = file["nhsa"]["bj-nhsa"].as_table_mut().expect("a line");
                line.insert("account".into(), "bj".into());
                line.insert("token_env".into(), "ONECARD_NO_SUCH_TOKEN".into());
            });
            reload(stage, "the configuration was not reloaded");
            declined(&counter.read().await.answer, "INSURER_REFUSED");
            assert_eq!(elsewhere.heard("9001"), 1);
        },
    );
}
