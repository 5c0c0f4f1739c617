//! `make invariant`: the service's own check, as CI runs it: against production-like data, after a boot. Whatever breaks the
//! invariant ends this with an error. A check that cannot fail shows nothing, so it is tried on data that breaks it, too.

use anyhow::{Context, ensure};
use plinth_tests::{TestDatabase, blocks, plinth, service::program};
use std::process::{Command, Output};

/// Ways to break the invariant, each of one suite of a capability that always calls a language model.
const BREAKS: [(&str, &str); 3] = [
    ("scheduled", "scheduled_testing_eligible = true"),
    ("of no cost", "external_cost_cents = 0"),
    ("of unknown cost", "external_cost_cents = null"),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let database = TestDatabase::production_like().await;
    let booted = plinth().args(["run", "--blocks"]).arg(blocks()).env("DATABASE_URL", &database.url).output()?;
    ensure!(booted.status.success(), "the boot failed: {}", String::from_utf8_lossy(&booted.stderr));

    let found = check(&database)?;
    ensure!(found.status.success(), "after a boot: {}", String::from_utf8_lossy(&found.stderr));
    let held = String::from_utf8(found.stdout)?;
    print!("{held}");
    ensure!(held.contains(" 73 capabilities "), "it is to have looked at each of them");

    let client = database.client().await;
    for (name, set) in BREAKS {
        let suite = "(select id from test_suites where capability_slug = 'text-summarize' and active and test_mode = 'live'
                      and test_type = 'negative' order by id limit 1)";
        client.batch_execute(&format!("create table kept as select * from test_suites where id = {suite}")).await?;
        client.batch_execute(&format!("update test_suites set {set} where id = {suite}")).await?;
        let found = check(&database)?;
        let said = String::from_utf8(found.stderr)?;
        ensure!(found.status.code() == Some(1), "a suite {name} was not found: {}: {said}", found.status);
        let named = said.lines().find(|line| line.contains("text-summarize")).with_context(|| format!("who it is: {said}"))?;
        println!("a suite {name} is found:{named}");
        let back = "update test_suites s set scheduled_testing_eligible = k.scheduled_testing_eligible,
                        external_cost_cents = k.external_cost_cents from kept k where s.id = k.id; drop table kept";
        client.batch_execute(back).await?;
    }
    ensure!(check(&database)?.status.success(), "it does not hold again");
    Ok(())
}

fn check(database: &TestDatabase) -> anyhow::Result<Output> {
    let mut check = Command::new(program());
    check.arg("check").env("DATABASE_URL", &database.url).env("API_LOG", "warn");
    check.output().with_context(|| format!("{:?}", check.get_program()))
}
