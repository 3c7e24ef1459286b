//! What must still happen is seen and settled by operators, over a running region
//! and a stopped one.

use onecard::{
    client::{Terminal, TransactionKey},
    model::Purpose,
    proto::common::v1::{Decision, TransactionStatus},
};

use crate::support::{Stage, acts, edit, in_a_town_of_its_own, until_asked};

const REGION: &str = "tianjin";

/// A loan whose outcome nobody will find out while the library is away.
async fn pending(stage: &Stage, desk: &Terminal, item: &str) -> String {
    let session = acts::session(stage, &stage.card("tj"), desk, Purpose::LibraryLoan).await;
    let told = desk.checkout(acts::checkout(desk, &session, item)).await.expect("answered");
    let told = told.answer.expect("an answer");
    assert_eq!(told.decision(), Decision::Pending);
    told.transaction_id
}

async fn status(stage: &Stage, id: &str) -> TransactionStatus {
    let desk = stage.terminal("tj-library-desk-01").await;
    let found = desk.transaction(TransactionKey::Transaction(id.to_owned())).await.expect("found");
    found.answer.expect("an answer").status()
}

fn tasks(stage: &Stage) -> Vec<serde_json::Value> {
    let (status, body) = stage.ops(REGION, "/tasks");
    assert!(status.contains("200"), "{status}");
    serde_json::from_str(&body).expect("a list")
}

#[test]
fn operators_see_run_and_close_what_must_still_happen() {
    // An inquiry comes late, so that a person comes first.
    let late = |prepared: &onecard::sandbox::town::Prepared| {
        edit(&prepared.data.join("config").join(REGION).join("libraries.toml"), |libraries| {
            let inquiry = libraries["inquiry"].as_table_mut().expect("a table");
            inquiry.insert("first_after_ms".into(), 600_000.into());
            inquiry.insert("at_most_ms".into(), 600_000.into());
        });
    };
    in_a_town_of_its_own(late, async |stage| {
        let desk = stage.terminal("tj-library-desk-01").await;
        let (found, closed) =
            (pending(stage, &desk, "SILENT-AFTER-1").await, pending(stage, &desk, "SILENT-AFTER-2").await);
        let seen = tasks(stage);
        assert_eq!(seen.len(), 2);
        for (task, id) in seen.iter().zip([&found, &closed]) {
            assert_eq!(
                (&task["transaction"], &task["kind"]),
                (&id.as_str().into(), &"library.inquire".into())
            );
            assert_eq!((&task["state"], &task["tries"]), (&"waiting".into(), &0.into()));
            assert!(task["age_ms"].as_i64().is_some_and(|age| (0..600_000).contains(&age)));
        }
        until_asked("the tasks on the metric", async || {
            let labels = ["kind=\"library.inquire\"", "state=\"waiting\""];
            stage.metric(REGION, "onecard_tasks_open", &labels) == 2.0
        })
        .await;

        let by = ["--kind", "library.inquire", "--operator", "li.na", "--reason", "the library is back"];
        let act = |act: &'static str, id: &str| {
            let words = [["tasks", act, id].as_slice(), &by].concat();
            stage.run_on(REGION, &words)
        };
        let (ok, said) = act("retry", &found);
        assert!(ok && said.contains("runs again"), "{said}");
        until_asked("the end of the loan", async || {
            status(stage, &found).await == TransactionStatus::Completed
        })
        .await;
        let (ok, said) = act("retry", &found);
        assert!(!ok && said.contains("no such open task"), "{said}");
        let (ok, said) = stage.run_on(REGION, &["tasks", "list"]);
        assert!(ok && said.contains(&closed) && !said.contains(&found), "{said}");

        stage.kill(REGION).await;
        let (ok, said) = stage.run_on(REGION, &["tasks", "show", &closed]);
        assert!(ok && said.contains("library.inquire"), "{said}");
        let (ok, said) = act("close", &closed);
        assert!(ok && said.contains("closed"), "{said}");
        stage.restart(REGION).await;
        assert_eq!(status(stage, &closed).await, TransactionStatus::Reversed);
        assert!(tasks(stage).is_empty());
    });
}
