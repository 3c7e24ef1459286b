//! Promise 4 at the end of the day: what the journal, a participant and a bank have of
//! it is compared, and what differs is told once, kept once and resolved once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use jiff::civil::Date;
use onecard::{client::Terminal, identity::business_date, model::Fen, proto::transit::v1::TapKind};
use secrecy::ExposeSecret as _;

use crate::support::{
    Stage,
    acts::{Card, stations},
    expect::approved,
    in_a_town_of_its_own, program,
};

/// A ride that was paid.
#[derive(Debug, Clone)]
struct Ride {
    transaction: String,
    request: String,
    terminal: &'static str,
    fen: i64,
    tapped_at_ms: i64,
    date: Date,
}

async fn ride(card: &Card, gate: &Terminal, terminal: &'static str) -> Ride {
    let (from, to) = stations("beijing");
    approved(&gate.tap(card.tap(gate, TapKind::Entry, from)).await.expect("answered").answer);
    let request = card.tap(gate, TapKind::Exit, to);
    let header = request.header.clone().expect("a header");
    let left = gate.tap(request).await.expect("answered");
    let answer = approved(&left.answer);
    Ride {
        transaction: answer.transaction_id.clone(),
        request: header.request_id,
        terminal,
        fen: left.charge.expect("an exit is charged").amount_fen,
        tapped_at_ms: header.terminal_time_ms,
        date: business_date(answer.committed_at_ms),
    }
}

/// Five rides of one business date, the last at another gate; and those that midnight
/// parted from them.
async fn rides(stage: &Stage) -> Vec<Ride> {
    let (one, other) = (stage.terminal("bj-metro-gate-01").await, stage.terminal("bj-metro-gate-02").await);
    let cards = [stage.card("bj"), stage.card("tj")];
    let mut rides = Vec::new();
    loop {
        for card in cards.iter().cycle().take(4) {
            rides.push(ride(card, &one, "gate-01").await);
        }
        rides.push(ride(&cards[0], &other, "gate-02").await);
        let date = rides[rides.len() - 1].date;
        if rides.iter().rev().take(5).all(|ride| ride.date == date) {
            rides.retain(|ride| ride.date == date);
            return rides;
        }
    }
}

/// One line of the metro's file.
fn line(ride: &Ride) -> [String; 6] {
    let at = jiff::Timestamp::from_millisecond(ride.tapped_at_ms).expect("an instant");
    let at = at.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(8)));
    [
        ride.transaction.clone(),
        ride.request.clone(),
        ride.fen.to_string(),
        "成功".to_owned(),
        at.strftime("%Y%m%d%H%M%S").to_string(),
        ride.terminal.to_owned(),
    ]
}

fn write_gbk(path: &Path, text: &str) {
    fs::write(path, encoding_rs::GBK.encode(text).0).expect("written");
}

fn metro_file(path: &Path, lines: &[[String; 6]]) {
    let lines: String = lines.iter().map(|line| format!("{}\r\n", line.join(","))).collect();
    write_gbk(path, &format!("交易号,请求编号,金额,状态,交易时间,终端号\r\n{lines}"));
}

/// The command as an operator types it.
struct Reconcile<'a> {
    stage: &'a Stage,
    date: Date,
    file: PathBuf,
    out: PathBuf,
}

impl Reconcile<'_> {
    fn run(&self, more: &[&str]) -> Output {
        let mut command = Command::new(program());
        command
            .args(["reconcile", "--participant", "bj-metro", "--date", &self.date.to_string()])
            .arg("--config")
            .arg(self.stage.config("beijing"))
            .arg("--participant-file")
            .arg(&self.file)
            .arg("--out")
            .arg(&self.out)
            .args(more)
            .env("ONECARD_VAULT_PASSPHRASE", self.stage.prepared.passphrase.expose_secret());
        command.output().expect("it runs")
    }

    /// Runs it and answers with what it printed.
    #[track_caller]
    fn ends(&self, more: &[&str], status: i32) -> String {
        let output = self.run(more);
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        let wrong = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(status), "{said}{wrong}");
        if status == 1 { wrong } else { said }
    }

    /// Exception and state of every line of the report, and its transaction and id.
    fn report(&self) -> Vec<(String, String, String, String)> {
        let text = fs::read_to_string(&self.out).expect("a report");
        let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let heads = reader.headers().expect("a header").clone();
        let at = |name: &str| heads.iter().position(|head| head == name).expect("the column is there");
        let columns = [at("exception"), at("state"), at("transaction"), at("id")];
        let lines = reader.records().map(|line| {
            let line = line.expect("CSV");
            let [exception, state, transaction, id] = columns.map(|at| line[at].to_owned());
            (exception, state, transaction, id)
        });
        lines.collect()
    }

    fn entries(&self) -> u64 {
        self.stage.verified("beijing").entries
    }
}

/// Exceptions of a report with their state and transaction.
fn told(report: &[(String, String, String, String)]) -> Vec<(&str, &str, &str)> {
    report.iter().map(|(exception, state, id, _)| (exception.as_str(), state.as_str(), id.as_str())).collect()
}

#[test]
fn a_days_differences_are_told_kept_and_resolved_once() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let rides = rides(stage).await;
            let date = rides[0].date;
            let [missing, changed, double, by_request, unnamed] = &rides[rides.len() - 5..] else {
                panic!("five rides at least");
            };
            assert!(changed.fen > 0);
            let run = Reconcile {
                stage,
                date,
                file: stage.prepared.data.join("metro.csv"),
                out: stage.prepared.data.join("report.csv"),
            };
            let mut lines: Vec<_> = rides[..rides.len() - 5].iter().map(line).collect();
            let mut dearer = line(changed);
            dearer[2] = (changed.fen + 100).to_string();
            let (mut only_request, mut nothing) = (line(by_request), line(unnamed));
            only_request[0].clear();
            nothing[..2].iter_mut().for_each(String::clear);
            lines.extend([nothing, line(double), dearer, only_request, line(double)]);
            metro_file(&run.file, &lines);
            let three = |state| {
                [
                    ("MISSING_AT_PARTICIPANT", state, missing.transaction.as_str()),
                    ("AMOUNT_DIFFERS", state, changed.transaction.as_str()),
                    ("DOUBLE_IN_FILE", state, double.transaction.as_str()),
                ]
            };

            // While the region runs it can be looked at, and nothing more.
            let said = run.ends(&["--dry-run"], 3);
            assert_eq!(told(&run.report()), three("new"), "{said}");
            let refused = run.ends(&[], 1);
            assert!(refused.contains("--dry-run") && refused.contains("停止"), "{refused}");
            stage.kill("beijing").await;
            let before = run.entries();

            // A file with a bad line changes nothing, and says which.
            let right = run.file.clone();
            let wrong = stage.prepared.data.join("wrong.csv");
            let mut bad = line(double);
            bad[2] = "3.00".to_owned();
            metro_file(&wrong, &[line(missing), bad]);
            let refused = Reconcile { file: wrong, out: run.out.clone(), ..run }.ends(&[], 1);
            for words in ["第 3 行", "line 3", "`金额`", "1234"] {
                assert!(refused.contains(words), "{words}: {refused}");
            }
            assert_eq!(run_entries(stage), before);

            let run = Reconcile { stage, date, file: right, out: stage.prepared.data.join("report.csv") };
            let said = run.ends(&[], 3);
            let report = run.report();
            assert_eq!(told(&report), three("open"), "{said}");
            assert_eq!(run.entries(), before + 3, "an entry for each");
            let journal: i64 = rides.iter().map(|ride| ride.fen).sum();
            for words in [
                format!("{} 元", Fen::new(journal)),
                format!("{} 元", Fen::new(changed.fen + 100)),
                "3 笔差错待处理".to_owned(),
                "next steps".to_owned(),
            ] {
                assert!(said.contains(&words), "{words}: {said}");
            }

            // Run again, the same is told to the byte and nothing is written.
            let written = fs::read(&run.out).expect("a report");
            assert_eq!(run.ends(&[], 3), said);
            assert_eq!(fs::read(&run.out).expect("a report"), written);
            assert_eq!(run.entries(), before + 3);

            resolved_once(&run, &report, changed);
            bank(&run, &rides);
            stage.restart("beijing").await;
        },
    );
}

fn run_entries(stage: &Stage) -> u64 {
    stage.verified("beijing").entries
}

/// Three exceptions are resolved in three ways, and none of them twice.
fn resolved_once(run: &Reconcile<'_>, report: &[(String, String, String, String)], changed: &Ride) {
    let before = run.entries();
    let [missing, differs, double] = [0, 1, 2].map(|at| report[at].3.as_str());
    let by = |id, how, more: &[&str], status| {
        let mut words = vec!["--resolve", id, "--as", how, "--reason", "已核对凭据", "--operator", "李 li"];
        words.extend(more);
        run.ends(&words, status)
    };
    by("0123456789ab", "explained", &[], 1);
    by(differs, "corrected", &["--transaction", "110000-000-000000000000-000000000000"], 1);
    assert_eq!(run.entries(), before);
    by(&missing[..12], "written-off", &[], 3);
    by(differs, "corrected", &["--transaction", &changed.transaction], 3);
    let said = by(double, "explained", &[], 0);
    assert!(said.contains("无待处理差错"), "{said}");
    by(double, "written-off", &[], 1);
    assert_eq!(run.entries(), before + 3);
    let states: Vec<String> = run.report().into_iter().map(|(_, state, _, _)| state).collect();
    assert_eq!(states, ["written off", "corrected", "explained"]);
    assert_eq!(run.ends(&[], 0), said);
    assert_eq!(run.entries(), before + 3);
}

/// The bank paid all but one, and one that nobody rode.
fn bank(run: &Reconcile<'_>, rides: &[Ride]) {
    let file = run.stage.prepared.data.join("bank.csv");
    let pay = |id: &str, note: &str, fen| {
        format!("{id}|{note}|{}|成功|{}\n", Fen::new(fen), run.date.strftime("%Y%m%d"))
    };
    let mut text = "商户订单号|附言|金额|交易状态|清算日期\n".to_owned();
    for ride in &rides[1..] {
        text.push_str(&pay("", &ride.request, ride.fen));
    }
    text.push_str(&pay("", "slip-of-nobody", 300));
    write_gbk(&file, &text);
    let said = run.ends(&["--bank-file", file.to_str().expect("UTF-8")], 3);
    let report = run.report();
    let at_bank: Vec<_> = told(&report).into_iter().filter(|(_, state, _)| *state == "open").collect();
    assert_eq!(
        at_bank,
        [("MISSING_IN_JOURNAL", "open", ""), ("MISSING_AT_BANK", "open", rides[0].transaction.as_str())],
        "{said}"
    );
}
