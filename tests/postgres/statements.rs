//! What the engine sends, read from the server's own log: on the way of a request
//! every statement and every transaction is one shard's affair.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use onecard::{model::*, store::*};

use crate::{server::Server, units::*, world::*};

/// A statement as the server logged it.
#[derive(Debug, Clone)]
struct Said {
    backend: String,
    text: String,
    /// The first parameter.
    shard: Option<String>,
}

/// Reads the log: `PID|LOG:  execute s1: TEXT` and `PID|DETAIL:  parameters: $1 = '0', …`.
fn said(log: &str) -> Vec<Said> {
    let mut said = Vec::<Said>::new();
    for line in log.lines() {
        let Some((backend, rest)) = line.split_once('|') else { continue };
        if let Some(parameters) = rest.strip_prefix("DETAIL:  parameters: $1 = '") {
            let last = said.iter_mut().rev().find(|one| one.backend == backend);
            last.expect("a statement before its parameters").shard =
                parameters.split('\'').next().map(str::to_owned);
        } else if let Some(text) = rest.strip_prefix("LOG:  ") {
            let text = match text.split_once(": ") {
                Some((how, text)) if how == "statement" || how.starts_with("execute ") => text,
                _ => continue,
            };
            said.push(Said { backend: backend.to_owned(), text: text.to_owned(), shard: None });
        }
    }
    said
}

/// Why a statement is not one shard's affair.
fn crosses(said: &Said) -> Option<String> {
    let text = &said.text;
    if !text.contains("onecard.") {
        return None;
    }
    let one = match text.split_once(" VALUES ") {
        Some((head, rows)) => {
            let rows = rows.split(" ON CONFLICT").next().unwrap_or_default();
            head.contains("(shard, ") && rows.matches('(').count() == rows.matches("($1, ").count()
        }
        // Tables are distributed by the same column: joined on it, rows of one shard meet.
        None if text.contains(" JOIN ") => {
            text.contains(" ON e.shard = h.shard AND ")
                && text.contains("WHERE h.shard = $1 ")
                && text.matches("shard = ").count() == 2
                && text.matches(" JOIN ").count() == 1
        }
        None => text.contains("WHERE shard = $1 ") && text.matches("shard = ").count() == 1,
    };
    match one && said.shard.is_some() && !text.contains("unnest") {
        true => None,
        false => Some(format!("{said:?}")),
    }
}

/// The shards that each transaction named, in the order of their ends.
fn transactions(said: &[Said]) -> Vec<BTreeSet<String>> {
    let mut open = HashMap::<&str, BTreeSet<String>>::new();
    let mut done = Vec::new();
    for one in said {
        match one.text.as_str() {
            "BEGIN" => {
                open.insert(&one.backend, BTreeSet::new());
            }
            "COMMIT" | "ROLLBACK" => done.extend(open.remove(one.backend.as_str())),
            _ => {
                if let (Some(shards), Some(shard)) = (open.get_mut(one.backend.as_str()), &one.shard) {
                    shards.insert(shard.clone());
                }
            }
        }
    }
    done
}

/// What is said while `work` is done.
async fn listen(server: &Server, work: impl Future<Output = ()>) -> Vec<Said> {
    let before = server.log().len();
    work.await;
    said(&server.log()[before..])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_on_the_way_of_a_request_names_one_shard() {
    let server = Server::start("log_statement = 'all'\nlog_line_prefix = '%p|'\n");
    let database = server.database();
    let world = World::at(Server::url(&[&server], &database), 4);
    let open = world.open().await;
    let heard = listen(&server, async {
        let taps = (0..200).map(|at| open.commit(tap_at_home(at, at, (at % 20) as u8)));
        join_all(taps).await.into_iter().for_each(|tap| drop(tap.expect("committed")));
        let step = |status| step_with_task(900, Step::Next, status, false, 10);
        open.commit(step_with_task(900, first(900), Status::Pending, false, 10)).await.expect("first");
        open.commit(step(Status::Pending)).await.expect("next");
        open.commit(step_with_task(900, Step::Next, Status::Completed, true, 0)).await.expect("last");
        open.commit(tap_at_home(7, 8_000, 7)).await.expect("a repeat");
        let delete = unit_with(901, Step::Note, vec![], |_, _| Ok(Decision::new(Outcome::Approved)));
        open.commit(delete).await.expect("a note");
        for holder in 0..20 {
            open.store().load(&transit(holder)).await.expect("readable").expect("there");
        }
        open.store().find(&participant(), request(7)).await.expect("readable").expect("there");
        open.store().steps(transaction(900)).await.expect("readable");
        open.store().about(subject(1), Scene::Transit, 5).await.expect("readable");
        open.store().scan(AggregateKind::Transit).await.expect("readable");
        open.store().due_tasks(i64::MAX, 5).await.expect("readable");
    })
    .await;
    let settings = "INSERT INTO onecard.settings (name, value) VALUES ('settled'";
    let crossing: Vec<_> =
        heard.iter().filter(|one| !one.text.starts_with(settings)).filter_map(crosses).collect();
    assert!(crossing.is_empty(), "{crossing:#?}");
    for table in ["entries", "claims", "aggregates", "postings", "tasks", "batches", "writers", "holder_keys"]
    {
        let named = heard.iter().any(|one| one.text.contains(&format!("onecard.{table}")));
        assert!(named, "nothing was heard of {table}");
    }
    let batches = transactions(&heard);
    let wide: Vec<_> = batches.iter().filter(|shards| shards.len() > 1).collect();
    assert!(wide.is_empty(), "{wide:?}");
    let used: BTreeSet<_> = batches.iter().flatten().collect();
    assert_eq!(used.len(), 4, "work went to every shard");

    // And the other way round: what does cross shards is seen as such.
    let heard = listen(&server, async {
        for at in 0..8 {
            open.commit(tap(5_000 + at, 5_000 + at, at as u8)).await.expect("committed");
        }
    })
    .await;
    assert!(transactions(&heard).iter().any(|shards| shards.len() > 1));
    assert!(heard.iter().filter_map(crosses).next().is_none(), "even then no statement does");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unique_key_begins_with_the_shard() {
    let server = crate::server::shared();
    let database = server.database();
    let world = World::at(Server::url(&[server], &database), 1);
    world.open().await.close().await;
    let keys = "SELECT t.relname, a.attname FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
        JOIN pg_namespace n ON n.oid = t.relnamespace \
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0] \
        WHERE n.nspname = 'onecard' AND i.indisunique AND t.relname NOT IN ('settings', 'migrations')";
    let keys = server.psql(&database, keys);
    assert!(keys.lines().count() >= 8, "{keys}");
    for key in keys.lines() {
        assert!(key.ends_with("|shard"), "{key}");
    }
}

/// Stands where Citus's functions would and writes down what it is asked.
const PRETENDED: &str = "CREATE TABLE public.asked (what text);
    CREATE FUNCTION pg_catalog.create_distributed_table(t regclass, c text, colocate_with text) RETURNS void
        LANGUAGE sql AS $$ INSERT INTO public.asked VALUES (t::text || ' ' || c || ' ' || colocate_with) $$;
    CREATE FUNCTION pg_catalog.create_reference_table(t regclass) RETURNS void
        LANGUAGE sql AS $$ INSERT INTO public.asked VALUES (t::text || ' everywhere') $$;";

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_distributed_by_its_shard() {
    let server = crate::server::shared();
    let database = server.database();
    let url = Server::url(&[server], &database);
    let options = PostgresOptions::at(url.into(), 110_000, "node-1");
    let without = PostgresStore::distribute(&options).await.err();
    assert!(matches!(without, Some(PostgresOpenError::Schema(SchemaError::NoCitus))), "{without:?}");
    server.psql(&database, PRETENDED);
    let done = PostgresStore::distribute(&options).await.expect("distributed");
    let tables = "SELECT string_agg('onecard.' || relname, ' ' ORDER BY relname) FROM pg_class \
        WHERE relnamespace = 'onecard'::regnamespace AND relkind = 'r'";
    let mut sorted = done.clone();
    sorted.sort();
    assert_eq!(sorted.join(" "), server.psql(&database, tables), "none is forgotten");
    let asked = server.psql(&database, "SELECT what FROM public.asked");
    assert_eq!(asked.lines().next(), Some("onecard.entries shard none"));
    for line in asked.lines().skip(1) {
        assert!(line.ends_with(" shard onecard.entries") || line.ends_with(" everywhere"), "{line}");
    }
}
