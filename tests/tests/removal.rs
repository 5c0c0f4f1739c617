//! What speaks for and against the removal of a rule: from the ledger, before its file is deleted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth::{Evidence, Host};
use plinth_tests::{TestDatabase, copy_of_blocks, guests, plinth};

const BRIDGE: &str = "0066_reconcile_eligibility_from_cost";

/// An insert that states neither cost nor eligibility, as the service's inserts did.
const FORGOTTEN: &str = "insert into test_suites (capability_slug, test_name, test_type, input, validation_rules)
                         values ('dns-lookup', 'onboarding, known_answer', 'known_answer', '{}', '[]')";

async fn evidence(host: &Host) -> Evidence {
    host.plan().await.unwrap().rules.into_iter().find(|rule| rule.block == BRIDGE).unwrap()
}

#[tokio::test]
async fn a_plan_tells_for_how_many_boots_in_a_row_a_rule_had_nothing_to_do_and_what_it_did_before() {
    let database = TestDatabase::production_like().await;
    let folder = copy_of_blocks();
    let host = database.host().folder(folder.path());
    assert!(host.plan().await.unwrap().rules.is_empty(), "nothing is known before the first boot");

    let first = host.boot().await.unwrap().boot.id.unwrap();
    let found = evidence(&host).await;
    assert_eq!((found.quiet_boots, found.safe_to_remove), (0, false));
    assert_eq!(found.last.as_ref().unwrap().boot, first);
    assert!(found.last.unwrap().rows["public.test_suites"].updated > 0);

    for quiet in 1..=Evidence::ENOUGH {
        host.boot().await.unwrap();
        let found = evidence(&host).await;
        assert_eq!((found.quiet_boots, found.safe_to_remove), (quiet, quiet >= Evidence::ENOUGH));
        assert_eq!(found.last.as_ref().unwrap().boot, first);
    }

    let say = || {
        let said = plinth().args(["plan", "--blocks"]).arg(folder.path()).env("DATABASE_URL", &database.url).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    let sentence =
        format!("rule {BRIDGE}: safe to remove: nothing to do in the last {} boots in a row, since ", Evidence::ENOUGH);
    assert!(say().contains(&sentence), "{}", say());

    // One forgotten insert, and the count starts again. The ledger names the row.
    database.client().await.batch_execute(FORGOTTEN).await.unwrap();
    host.boot().await.unwrap();
    let found = evidence(&host).await;
    assert_eq!((found.quiet_boots, found.safe_to_remove), (0, false));
    let last = found.last.as_ref().unwrap();
    assert_eq!(last.rows["public.test_suites"].updated, 1);
    assert_eq!(last.journal[0].message, "dns-lookup: onboarding, known_answer");
    assert!(found.sentence().starts_with("not safe to remove: it was not without work in the last boot"), "{}", found.sentence());

    // The command says so too, before and after the file is gone, and so does the boot that records it.
    let sentence = format!("rule {BRIDGE}: not safe to remove: it was not without work in the last boot");
    assert!(say().contains(&sentence), "{}", say());
    std::fs::remove_file(folder.path().join(format!("{BRIDGE}.wasm"))).unwrap();
    assert!(say().contains(&sentence), "{}", say());
    let report = host.boot().await.unwrap();
    assert!(
        report.boot.notes.iter().any(|note| note.contains(BRIDGE) && note.contains("it was not safe to remove")),
        "{:?}",
        report.boot.notes
    );
    assert!(host.plan().await.unwrap().rules.iter().all(|rule| rule.block != BRIDGE), "what is retired is told no more");
}

#[tokio::test]
async fn history_tells_boots_newest_first_with_what_each_block_did() {
    let database = TestDatabase::production_like().await;
    let folder = copy_of_blocks();
    let host = database.host().folder(folder.path());
    let empty = host.history(10).await.unwrap();
    assert!(!empty.status.ledger && empty.boots.is_empty() && empty.rules.is_empty());

    host.clone().build("one").boot().await.unwrap();
    host.clone().build("two").boot().await.unwrap();
    let wrong = guests(&["fails_post_condition"]);
    host.clone().folder(wrong.path()).build("three").boot().await.unwrap_err();
    let history = host.history(10).await.unwrap();
    let told: Vec<(&str, &str)> =
        history.boots.iter().map(|boot| (boot.build.as_deref().unwrap(), boot.state.as_str())).collect();
    assert_eq!(told, [("three", "failed"), ("two", "complete"), ("one", "complete")]);
    assert!(history.boots[0].error.is_some() && history.boots[0].finished.is_some());
    let drift = |boot: usize| {
        let outcome = history.boots[boot].outcomes.iter().find(|outcome| outcome.block == BRIDGE).unwrap();
        (outcome.outcome.clone(), outcome.changed() > 0)
    };
    assert_eq!((drift(1), drift(2)), (("unchanged".into(), false), ("applied".into(), true)));
    assert_eq!(history.boots[2].outcomes.len(), 11);
    assert_eq!(host.history(1).await.unwrap().boots.len(), 1);
}
