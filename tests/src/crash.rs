//! A set of blocks whose every statement leaves a trace if it runs twice, and what must be true once a boot is through.

use crate::{TestDatabase, guests, texts, value};
use plinth::{Host, Report};

/// A migration that makes a table, one that adds, one that builds an index concurrently, a rule that follows.
pub const BLOCKS: [&str; 4] = ["crash_first", "crash_second", "crash_rule", "outside"];

/// The folder of the set.
pub fn folder() -> tempfile::TempDir {
    guests(&BLOCKS)
}

/// What is not as it must be after a boot came through; empty if all is: everything ran exactly once, ledger and effects
/// agree, nothing is left behind.
pub async fn differences(database: &TestDatabase) -> Vec<String> {
    let mut wrong = differences_of_data(database).await;
    let left = database.left_behind().await;
    if left != 0 {
        wrong.push(format!("{left} sessions, locks or prepared transactions are left behind"));
    }
    wrong
}

/// The same behind a pooler, which keeps connections that do nothing.
pub async fn differences_in_a_pool(database: &TestDatabase) -> Vec<String> {
    let mut wrong = differences_of_data(database).await;
    let left = database.left_behind_in_a_pool().await;
    if left != 0 {
        wrong.push(format!("{left} sessions, locks or prepared transactions are left behind"));
    }
    wrong
}

async fn differences_of_data(database: &TestDatabase) -> Vec<String> {
    let client = database.client().await;
    let mut wrong = Vec::new();
    for (what, query, expected) in [
        (
            "marks",
            "select string_agg(block || ' ' || number, ', ' order by block, number) from crash",
            "crash_first 1, crash_first 2, crash_second 1, crash_second 2, crash_second 3",
        ),
        ("rows", "select string_agg(distinct format('%s %s %s', a, b, c), ', ') from t", "1 1 "),
        ("number of rows", "select count(*) from t", "10"),
        (
            "indexes",
            "select string_agg(indexrelid::regclass || ' ' || indisvalid, ', ' order by indexrelid::regclass::text) from pg_index where indrelid = 't'::regclass",
            "t_a_idx true, t_pkey true",
        ),
        (
            "applied, by the ledger's outcomes",
            "select string_agg(format('%s %s', block, n), ', ' order by block) from (select block, count(*) n from plinth.outcomes where outcome = 'applied' and block <> 'crash_rule' group by block) o",
            "crash_first 1, crash_second 1, outside 1",
        ),
        (
            "applied, by the ledger's blocks",
            "select string_agg(id || ' ' || (first_applied is not null and started is null), ', ' order by id) from plinth.blocks",
            "crash_first true, crash_rule true, crash_second true, outside true",
        ),
        ("boots that run", "select count(*) from plinth.boots where state = 'running'", "0"),
        ("the last boot", "select state from plinth.boots order by id desc limit 1", "complete"),
        ("runners", "select count(*) from plinth.runners where released is null", "0"),
        ("ledgers", "select count(*) from plinth.ledger", "1"),
    ] {
        let found = match client.simple_query(query).await {
            Ok(_) => value(&client, query).await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if found != expected {
            wrong.push(format!("{what}: {found}, not {expected}"));
        }
    }
    wrong
}

/// What a report says that the ledger does not; empty if it is true.
pub async fn lies(database: &TestDatabase, report: &serde_json::Value) -> Vec<String> {
    let client = database.client().await;
    let boot = report["boot"]["id"].as_i64().unwrap_or_default();
    let mut ran = texts(&client, &format!("select block || ' ' || outcome from plinth.outcomes where boot = {boot}")).await;
    ran.sort();
    let mut wrong = Vec::new();
    let state = value(&client, &format!("select state from plinth.boots where id = {boot}")).await.unwrap_or_default();
    if state != "complete" {
        wrong.push(format!("boot {boot} is {state} in the ledger"));
    }
    let said = |outcome: &str| -> Vec<String> {
        let blocks = report["blocks"].as_array().into_iter().flatten();
        blocks.filter(|block| block["outcome"] == outcome).filter_map(|block| block["id"].as_str().map(str::to_owned)).collect()
    };
    match report["boot"]["state"].as_str() {
        Some("complete") => {
            let ours: Vec<String> = ["applied", "unchanged", "retired"]
                .iter()
                .flat_map(|outcome| said(outcome).into_iter().map(move |id| format!("{id} {outcome}")))
                .collect();
            // What an earlier try of the same process did is in the boot of that try.
            let earlier =
                texts(&client, &format!("select block || ' ' || outcome from plinth.outcomes where boot < {boot}")).await;
            let retried = report["boot"]["retries"].as_array().is_some_and(|retries| !retries.is_empty());
            for line in &ours {
                let known = ran.contains(line) || (retried && earlier.contains(line));
                if !known {
                    wrong.push(format!("the report says {line}, the ledger of boot {boot} says {ran:?}"));
                }
            }
            if !retried && ran.len() != ours.len() {
                wrong.push(format!("the ledger of boot {boot} says {ran:?}, the report {ours:?}"));
            }
        }
        Some("joined") => {
            for id in said("joined") {
                if !ran.iter().any(|line| line.starts_with(&format!("{id} "))) {
                    wrong.push(format!("the report says that boot {boot} ran {id}, the ledger {ran:?}"));
                }
            }
        }
        other => wrong.push(format!("the report's state is {other:?}")),
    }
    wrong
}

/// Boots, and says what is wrong afterwards.
pub async fn next_boot(host: &Host, database: &TestDatabase) -> Vec<String> {
    match host.boot().await {
        Ok(report) => {
            let mut wrong = differences(database).await;
            wrong.extend(lies(database, &json(&report)).await);
            wrong
        }
        Err(error) => vec![format!("the next boot failed: {error}")],
    }
}

fn json(report: &Report) -> serde_json::Value {
    serde_json::to_value(report).unwrap()
}
