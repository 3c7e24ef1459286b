//! SIGTERM drains: calls under way are answered, new ones find another gateway,
//! and the process ends as it should.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use onecard::{
    model::Purpose,
    proto::{common::v1::TransactionStatus, library::v1::CheckinRequest},
    sandbox::{
        ils::{Fault, IlsCharset, IlsOptions, IlsServer},
        town::RegionPlan,
    },
};
use secrecy::ExposeSecret as _;

use crate::support::{SOON, folder, http, prepare, program, run, until};

#[test]
fn a_call_under_way_is_answered_and_the_process_exits_0() {
    run(async || {
        let folder = folder();
        let prepared = prepare(folder.path());
        let beijing = prepared.plan.regions[0];
        let options =
            IlsOptions { charset: IlsCharset::Utf8, institution: "BJLIB".into(), ..IlsOptions::default() };
        let (_, library) =
            IlsServer::bind(RegionPlan::at(beijing.library), options).await.expect("a library");
        let log = File::create(folder.path().join("serve.log")).expect("a log");
        let mut gateway = Command::new(program())
            .args(["serve", "--config"])
            .arg(prepared.config_of(&beijing))
            .env("ONECARD_VAULT_PASSPHRASE", prepared.passphrase.expose_secret())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        let ops = RegionPlan::at(beijing.ops).to_string();
        until("it is ready", || {
            std::net::TcpStream::connect(&ops).is_ok() && http(&ops, "/readyz").0.contains("200")
        });

        let pem = |path: &str| std::fs::read(prepared.data.join("pki").join(path)).expect("PEM");
        let mut terminal = onecard::client::TerminalOptions::new(
            RegionPlan::at(beijing.grpc).to_string(),
            "beijing.onecard",
            pem("ca.pem"),
            pem("terminals/bj-capital-desk-01.pem"),
            pem("terminals/bj-capital-desk-01.key"),
        );
        terminal.retry = onecard::client::RetryPolicy::never();
        terminal.deadline = SOON;
        let desk = onecard::client::Terminal::connect(&terminal).await.expect("let in");
        let request = CheckinRequest {
            header: Some(desk.header(Purpose::LibraryLoan)),
            library: String::new(),
            item: "B0001".to_owned(),
        };
        // The library has heard the order and holds its answer back.
        library.fail_next("09", Fault::Held);
        let heard = library.heard("09");
        let under_way = tokio::spawn({
            let desk = desk.clone();
            async move { desk.checkin(request).await }
        });
        tokio::time::timeout(SOON, library.until_heard("09", heard + 1)).await.expect("the order arrives");

        let told =
            Command::new("kill").args(["-TERM", &gateway.id().to_string()]).status().expect("`kill` runs");
        assert!(told.success());
        until("it says that it is not ready any more", || !http(&ops, "/readyz").0.contains("200"));
        library.release();
        let answered = under_way.await.expect("no panic").expect("the call under way is answered");
        let status = answered.answer.expect("an answer").status();
        assert!(
            [TransactionStatus::Completed, TransactionStatus::Pending].contains(&status),
            "a real answer, {status:?}"
        );
        onecard::client::Terminal::connect(&terminal).await.expect_err("no new call is let in");
        let mut status = None;
        until("it ends", || {
            status = gateway.try_wait().expect("a child of ours");
            status.is_some()
        });
        let log = std::fs::read_to_string(folder.path().join("serve.log")).expect("a log");
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{log}");
        assert!(log.contains("drained") && log.contains("stopped"), "{log}");
    });
}
