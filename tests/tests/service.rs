//! The reference service as a running process, over HTTP, on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth_tests::{
    TestDatabase, copy_of_blocks, guest, root,
    service::{Service, TOKEN, program, request, service},
    texts,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const BRIDGE: &str = "0066_reconcile_eligibility_from_cost";

/// Every way to make suites: a new capability, a recorded answer, made-up suites, a customer's call.
fn use_every_route(service: &Service, number: u32) {
    let slug = format!("new-capability-{number}");
    let new = json!({ "slug": slug, "name": "New", "price_cents": 10 });
    service.post("/capabilities", &new).with(201);
    for slug in [slug.as_str(), "dns-lookup", "text-summarize", "pep-check"] {
        service.post(&format!("/capabilities/{slug}/fixtures"), &json!({})).with(201);
        service.post(&format!("/capabilities/{slug}/generated"), &json!({})).with(201);
        service.post(&format!("/capabilities/{slug}/calls"), &json!({ "q": 1 })).with(201);
    }
}

/// Lets the scheduler look at every minute of the hour until nothing is overdue; returns what it ran and what that cost.
fn an_hour(service: &Service) -> (BTreeSet<String>, i64) {
    let (mut capabilities, mut cents) = (BTreeSet::new(), 0);
    loop {
        let before = capabilities.len();
        for minute in 0..60 {
            let ticked = service.operate("POST", &format!("/admin/ticks?minute={minute}")).with(200).json();
            capabilities.extend(ticked["capabilities"].as_array().unwrap().iter().map(|slug| slug.as_str().unwrap().to_owned()));
            cents += ticked["cost_cents"].as_i64().unwrap();
        }
        if capabilities.len() == before {
            return (capabilities, cents);
        }
    }
}

/// The suites that were run, told apart by capability and name.
async fn run_suites(database: &TestDatabase) -> BTreeSet<String> {
    let query = "select s.capability_slug || ': ' || s.test_name from test_results r join test_suites s on s.id = r.test_suite_id
                 where r.executed_at > now() - interval '1 day'";
    texts(&database.client().await, query).await.into_iter().collect()
}

fn without(folder: &Path, id: &str) {
    std::fs::remove_file(folder.join(format!("{id}.wasm"))).unwrap();
}

#[tokio::test]
async fn the_service_boots_validates_and_then_serves() {
    let database = TestDatabase::production_like().await;
    let mut service = service(&database).ready();
    let health = service.health().unwrap();
    assert_eq!((health["state"].as_str(), health["build"].as_str()), (Some("serving"), Some("test")));
    assert_eq!((health["last_boot"]["state"].as_str(), health["last_boot"]["ran"].as_u64()), (Some("complete"), Some(11)));
    assert_eq!(service.get("/health").json()["state"], "serving");

    // What REFERENCE expects of the data.
    let sql = std::fs::read_to_string(root().join("tests/data/expected.sql")).unwrap();
    let rows = database.client().await.query(&sql, &[]).await.unwrap();
    assert!(rows.len() > 5);
    for row in rows {
        assert_eq!(row.get::<_, i64>(1), 0, "{}", row.get::<_, &str>(0));
    }

    // The second start writes nothing.
    let before = database.snapshot().await;
    assert!(service.stop().success());
    let second = self::service(&database).ready();
    let health = second.health().unwrap();
    assert_eq!((health["last_boot"]["state"].as_str(), health["last_boot"]["ran"].as_u64()), (Some("complete"), Some(4)));
    assert_eq!(database.snapshot().await, before);

    let description = second.get("/openapi.json").json();
    assert!(description["paths"]["/schedule/overdue"]["get"].is_object());
    let metrics = second.get("/metrics").body;
    assert!(metrics.contains("plinth_boots_total{state=\"complete\"} 1"), "{metrics}");
    assert!(metrics.contains(&format!("plinth_block_statements{{block=\"{BRIDGE}\"}}")), "{metrics}");
}

#[tokio::test]
async fn the_readers_find_the_same_set_as_before_the_decoupling() {
    let database = TestDatabase::production_like().await;
    let service = service(&database).ready();
    // The reader of before: by the cost, written down here a second time on purpose.
    let by_cost = "select c.slug from capabilities c where c.is_active and exists (
            select from test_suites s where s.capability_slug = c.slug and s.active and s.external_cost_cents = 0)
        and (c.last_tested_at is null or c.last_tested_at < now() - (
            select greatest(interval '1 hour', max(case when s.test_status in ('upstream_broken', 'infra_limited') then interval '24 hours'
                                                       when s.test_status = 'quarantined' then interval '168 hours' end))
            from test_suites s where s.capability_slug = c.slug and s.active and s.external_cost_cents = 0)) order by 1";
    let before: BTreeSet<String> = texts(&database.client().await, by_cost).await.into_iter().collect();
    assert!(before.len() > 20, "more than one look finds: {}", before.len());

    let counts = service.get("/schedule/counts").json();
    assert_eq!(counts["overdue"].as_u64(), Some(before.len() as u64));
    assert!(counts["paid_skipped"].as_i64().unwrap() > 73);

    // Minute by minute, oldest first and at most 20, together all of them and none twice.
    let mut found = Vec::new();
    for minute in 0..60 {
        let some = service.get(&format!("/schedule/overdue?minute={minute}")).json();
        let some = some.as_array().unwrap().clone();
        assert!(some.len() <= 20);
        let times: Vec<Option<&str>> = some.iter().map(|one| one["last_tested_at"].as_str()).collect();
        assert!(times.is_sorted(), "{times:?}");
        found.extend(some.iter().map(|one| one["slug"].as_str().unwrap().to_owned()));
    }
    assert_eq!(found.len(), before.len());
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), before);
    assert_eq!(service.get("/schedule/overdue").json().as_array().unwrap().len(), 20);

    // And that is what is run, for nothing.
    let (run, cents) = an_hour(&service);
    assert_eq!((run, cents), (before, 0));
    let bill = database.number("select coalesce(sum(actual_cost_cents), 0) from test_run_log where tier = 'scheduled'").await;
    assert_eq!(bill, 0);
    let paid = database
        .number(
            "select count(*) from test_results r join test_suites s on s.id = r.test_suite_id
                 where r.executed_at > now() - interval '1 day' and s.external_cost_cents is distinct from 0",
        )
        .await;
    assert_eq!(paid, 0, "no suite that costs anything was run");
}

#[tokio::test]
async fn a_change_of_cadence_alone_schedules_no_paid_suite() {
    let database = TestDatabase::production_like().await;
    let service = service(&database).ready();
    an_hour(&service);
    // Everything is due at any time: tested long ago, and no status that slows it down.
    let client = database.client().await;
    client.batch_execute("update capabilities set last_tested_at = '2000-01-01', is_active = true").await.unwrap();
    client
        .batch_execute(
            "update test_suites set test_status = 'normal', active = true where external_cost_cents is distinct from 0",
        )
        .await
        .unwrap();
    let (run, cents) = an_hour(&service);
    assert!(run.len() > 90, "{}", run.len());
    assert_eq!(cents, 0, "by the bill, which does not come from the table");

    // A paid capability that has free suites is looked at, and only those are run.
    let diagnosis = service.get("/capabilities/pep-check/diagnosis").json();
    assert_eq!(diagnosis["would_be_picked"], true);
    for suite in diagnosis["suites"].as_array().unwrap() {
        assert_eq!(suite["eligible"].as_bool().unwrap(), suite["cost_cents"] == 0, "{suite}");
    }
    assert!(diagnosis["minute"].as_i64().is_some_and(|minute| (0..60).contains(&minute)));
    service.get("/capabilities/nobody/diagnosis").with(404);
}

#[tokio::test]
async fn with_every_insert_explicit_the_bridge_can_go_and_nothing_else_changes() {
    // The same history twice: once with the bridge, once without it from the third boot on.
    let mut run = Vec::new();
    for removed in [false, true] {
        let database = TestDatabase::production_like().await;
        let folder = copy_of_blocks();
        let start = || service(&database).env("API_BLOCKS", folder.path()).env("API_EXPLICIT", "all");
        let mut one = start().ready();
        for number in 0..3 {
            use_every_route(&one, number);
            let report = one.operate("POST", "/admin/boots").with(200).json();
            let bridge = report["blocks"].as_array().unwrap().iter().find(|block| block["id"] == BRIDGE).unwrap();
            assert_eq!(bridge["outcome"], "unchanged", "what is stated needs no correction");
        }
        let history = one.operate("GET", "/admin/boots").with(200).json();
        let evidence = history["rules"].as_array().unwrap().iter().find(|rule| rule["block"] == BRIDGE).unwrap().clone();
        assert_eq!((evidence["safe_to_remove"].as_bool(), evidence["quiet_boots"].as_u64()), (Some(true), Some(3)));
        assert!(one.stop().success());
        if removed {
            without(folder.path(), BRIDGE);
        }
        let two = start().ready();
        assert_eq!(two.health().unwrap()["warnings"].as_array().unwrap().len(), usize::from(removed), "the removal is noted");
        use_every_route(&two, 9);
        let (_, cents) = an_hour(&two);
        assert_eq!(cents, 0);
        run.push(run_suites(&database).await);
        let wrong = "select count(*) from test_suites where scheduled_testing_eligible is distinct from coalesce(external_cost_cents = 0, false)";
        assert_eq!(database.number(wrong).await, 0);
    }
    assert!(
        run[0].len() > 400 && run[0].iter().any(|suite| suite.starts_with("new-capability-9: onboarding")),
        "{}",
        run[0].len()
    );
    assert_eq!(run[0], run[1]);
}

#[tokio::test]
async fn one_forgotten_insert_is_named_by_the_ledger_and_missed_after_removal() {
    let database = TestDatabase::production_like().await;
    let folder = copy_of_blocks();
    let start = || service(&database).env("API_BLOCKS", folder.path()).env("API_EXPLICIT", "fixture,generator,traffic");
    let mut one = start().ready();
    use_every_route(&one, 1);
    let report = one.operate("POST", "/admin/boots").with(200).json();
    let bridge = report["blocks"].as_array().unwrap().iter().find(|block| block["id"] == BRIDGE).unwrap();
    assert_eq!(bridge["rows"]["public.test_suites"]["updated"], 5, "the five suites of onboarding");

    // The ledger names the rows, and says that the rule cannot go yet.
    let history = one.operate("GET", "/admin/boots").with(200).json();
    let evidence = history["rules"].as_array().unwrap().iter().find(|rule| rule["block"] == BRIDGE).unwrap();
    assert_eq!(evidence["safe_to_remove"], false);
    let journal = evidence["last"]["journal"].as_array().unwrap();
    assert_eq!(journal.len(), 5);
    assert!(
        journal.iter().all(|line| line["message"].as_str().unwrap().starts_with("new-capability-1: onboarding")),
        "{journal:?}"
    );
    assert!(one.stop().success());

    // Removed all the same: the start says what it was by the ledger, and what is missed from now on.
    without(folder.path(), BRIDGE);
    let mut two = start().ready();
    let notes = two.health().unwrap()["warnings"].to_string();
    assert!(notes.contains("it was not safe to remove"), "{notes}");
    use_every_route(&two, 2);
    assert!(two.stop().success());
    let three = start().ready();
    let warnings = three.health().unwrap()["warnings"].to_string();
    assert!(
        warnings.contains("5 suites cost nothing and are not scheduled") && warnings.contains("new-capability-2"),
        "{warnings}"
    );
    let (run, cents) = an_hour(&three);
    assert!(run.contains("new-capability-1") && cents == 0);
    // The capability is tested by what other routes made, never by what the forgotten one did.
    let suites = run_suites(&database).await;
    assert!(suites.iter().any(|suite| suite.starts_with("new-capability-1: onboarding")));
    assert!(!suites.iter().any(|suite| suite.starts_with("new-capability-2: onboarding")), "{suites:?}");
}

#[tokio::test]
async fn a_failed_boot_ends_the_process_with_one_report_and_no_route_was_ever_served() {
    // An empty database: what the block inserts into is not there.
    let database = TestDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(guest("fails_post_condition"), folder.path().join("fails_post_condition.wasm")).unwrap();
    let mut failed = service(&database).env("API_BLOCKS", folder.path()).start();
    let api = failed.api.clone();
    // As long as it lives, the API's address refuses connections.
    let watched = std::thread::spawn(move || {
        (0..200)
            .filter(|_| {
                std::thread::sleep(Duration::from_millis(5));
                request(&api, "GET", "/health", &[], None).is_ok()
            })
            .count()
    });
    assert_eq!(failed.ended().code(), Some(1));
    assert_eq!(watched.join().unwrap(), 0);
    let said = failed.said();
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    for part in
        ["the service does not start: block fails_post_condition failed", "SQLSTATE   42P01", "statement  ", "what to do "]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn each_phase_that_fails_says_which_it_was() {
    // Configuration.
    let database = TestDatabase::production_like().await;
    let mut failed = service(&database).env("DATABASE_URL", "").start();
    assert_eq!((failed.ended().code(), failed.said().contains("DATABASE_URL is not set")), (Some(2), true));
    // The health listener: its address is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut failed = service(&database).env("API_HEALTH_LISTEN", &address).start();
    assert_eq!(failed.ended().code(), Some(1));
    assert!(failed.said().contains(&format!("{address} cannot be listened on")), "{}", failed.said());
    assert!(
        !database.number("select count(*) from pg_namespace where nspname = 'plinth'").await.is_positive(),
        "nothing was booted"
    );
    // Connecting.
    let mut failed =
        service(&database).env("DATABASE_URL", "postgres://api@127.0.0.1:1/nothing").env("API_RETRY_SECONDS", "0").start();
    assert_eq!(failed.ended().code(), Some(1));
    assert!(failed.said().contains("no server answers at 127.0.0.1:1"), "{}", failed.said());
    // Loading: the build says that it ships a block that is not there.
    let mut failed = service(&database).env("API_EXPECT", "0099_forgotten").start();
    assert_eq!(failed.ended().code(), Some(1));
    assert!(failed.said().contains("0099_forgotten"), "{}", failed.said());
    // Validation: what is to be looked at is not there, since no block made it.
    let nothing = tempfile::tempdir().unwrap();
    let empty = TestDatabase::empty().await;
    let mut failed = service(&empty).env("API_BLOCKS", nothing.path()).start();
    assert_eq!(failed.ended().code(), Some(1));
    let said = failed.said();
    assert!(said.contains("the data cannot be validated") && said.contains("test_suites"), "{said}");
    // Validation: somebody scheduled what always calls a language model, and the rule that would correct it is gone.
    let folder = copy_of_blocks();
    let mut works = service(&database).env("API_BLOCKS", folder.path()).ready();
    assert!(works.stop().success());
    without(folder.path(), BRIDGE);
    let schedule = "update test_suites set scheduled_testing_eligible = true where capability_slug = 'text-summarize'";
    database.client().await.batch_execute(schedule).await.unwrap();
    let mut failed = service(&database).env("API_BLOCKS", folder.path()).start();
    assert_eq!(failed.ended().code(), Some(1));
    let said = failed.said();
    assert!(said.contains("the invariant is broken") && said.contains("text-summarize"), "{said}");
    // The same as a check, as CI runs it; and once it holds.
    let check = || {
        let said = Command::new(program()).arg("check").env("DATABASE_URL", &database.url).output().unwrap();
        (said.status.code(), String::from_utf8(said.stderr).unwrap())
    };
    let (code, said) = check();
    assert!(code == Some(1) && said.contains("text-summarize: 0 live suites without a cost"), "{said}");
    let correct = "update test_suites set scheduled_testing_eligible = (external_cost_cents is not distinct from 0)";
    database.client().await.batch_execute(correct).await.unwrap();
    assert_eq!(check().0, Some(0));
    // Listening: the API's own address is taken.
    let mut failed = service(&database).env("API_LISTEN", &address).start();
    assert_eq!(failed.ended().code(), Some(1));
    assert!(failed.said().contains(&format!("{address} cannot be listened on")), "{}", failed.said());
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn case_24_health_tells_block_and_seconds_while_a_boot_runs_and_no_request_is_served_before_it_is_complete() {
    let database = TestDatabase::production_like().await;
    // The first block that touches capabilities waits for a customer who holds it.
    let customer = database.client().await;
    customer.batch_execute("begin; lock table capabilities in access share mode").await.unwrap();
    let mut service = service(&database).start();
    let api = service.api.clone();
    // Load from before the first moment: whatever is answered must come after the boot.
    let (sent, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (api, sent, answered) = (api.clone(), sent.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                while answers.len() < 50 {
                    sent.fetch_add(1, Ordering::Relaxed);
                    if let Ok(answer) = request(&api, "GET", "/schedule/counts", &[], None) {
                        answered.fetch_add(1, Ordering::Relaxed);
                        answers.push(answer.status);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                answers
            })
        })
        .collect();
    service.until("a block waits for the customer", |service| {
        service.health().is_some_and(|health| {
            health["boot"]["block"] == "0060_marketplace_eligible" && health["boot"]["statement_seconds"].is_number()
        })
    });
    let health = service.health().unwrap();
    assert_eq!((health["state"].as_str(), health["boot"]["stage"].as_str()), (Some("booting"), Some("running")));
    assert!(health["boot"]["block_seconds"].as_f64().is_some() && health["boot"]["of"] == 11, "{health}");
    let ready = request(&service.health, "GET", "/ready", &[], None).unwrap();
    assert_eq!((ready.status, ready.json().as_str()), (503, Some("booting")));
    assert!(request(&service.api, "GET", "/health", &[], None).is_err(), "the API does not listen yet");
    service.until("there is load", |_| sent.load(Ordering::Relaxed) > 100);
    assert_eq!(answered.load(Ordering::Relaxed), 0, "nobody was answered before the boot was complete");
    customer.batch_execute("rollback").await.unwrap();
    service.until("it serves", |service| {
        request(&service.health, "GET", "/ready", &[], None).is_ok_and(|ready| ready.status == 200)
    });
    for client in load {
        let answers = client.join().unwrap();
        assert!(answers.iter().all(|status| *status == 200), "an answer of a service that was not ready: {answers:?}");
    }
    assert_eq!(service.health().unwrap()["last_boot"]["state"], "complete");
}

#[tokio::test]
async fn operators_prove_themselves_and_boots_run_one_at_a_time() {
    let database = TestDatabase::production_like().await;
    let service = service(&database).ready();
    let ask = |method: &str, headers: &[(&str, &str)]| request(&service.api, method, "/admin/boots", headers, None).unwrap();
    for wrong in ["Bearer a token of sixteen and mor", "Bearer ", "Basic b3BzOnNlY3JldA==", "Digest x"] {
        assert_eq!(ask("GET", &[("authorization", wrong)]).status, 401, "{wrong}");
    }
    assert_eq!((ask("GET", &[]).status, ask("POST", &[]).status), (401, 401));
    assert_eq!(request(&service.api, "GET", "/admin/", &[], None).unwrap().status, 401);
    // A browser may read, but what it sends by itself changes nothing.
    let basic = "Basic b3BzOmEgdG9rZW4gb2Ygc2l4dGVlbiBhbmQgbW9yZQ==";
    let page = request(&service.api, "GET", "/admin/", &[("authorization", basic)], None).unwrap().with(200);
    assert!(
        page.body.contains("Explicit inserts")
            && page
                .headers
                .iter()
                .any(|(name, value)| { name == "content-security-policy" && value.contains("default-src 'none'") })
    );
    assert_eq!(ask("POST", &[("authorization", basic)]).status, 401);

    // A boot that waits for a customer; a second one at the same time is refused, and both are over in the end.
    database
        .client()
        .await
        .batch_execute("update test_suites set scheduled_testing_eligible = true where capability_slug = 'pep-check'")
        .await
        .unwrap();
    let customer = database.client().await;
    customer.batch_execute("begin; lock table test_suites in share mode").await.unwrap();
    let api = service.api.clone();
    let first = std::thread::spawn(move || {
        request(&api, "POST", "/admin/boots", &[("authorization", &format!("Bearer {TOKEN}"))], None).unwrap()
    });
    let mut service = service;
    service
        .until("the boot runs", |service| service.health().is_some_and(|health| health["boot"]["statement"].as_i64() > Some(0)));
    assert_eq!(service.health().unwrap()["state"], "serving", "it serves while it boots again");
    service.operate("POST", "/admin/boots").with(409);
    customer.batch_execute("rollback").await.unwrap();
    let report: Value = first.join().unwrap().with(200).json();
    assert_eq!(report["boot"]["state"], "complete");

    // Without a token there are no operators.
    let closed = plinth_tests::service::service(&database).env("API_TOKEN", "").ready();
    closed.operate("GET", "/admin/boots").with(404);
}

#[tokio::test]
async fn what_is_put_off_is_seen_in_health_and_metrics() {
    let database = TestDatabase::production_like().await;
    database
        .client()
        .await
        .batch_execute("create table t (id int primary key, a int, b int, updated_at timestamptz)")
        .await
        .unwrap();
    let folder = copy_of_blocks();
    std::fs::copy(guest("defers"), folder.path().join("defers.wasm")).unwrap();
    let service = service(&database).env("API_BLOCKS", folder.path()).ready();
    let health = service.health().unwrap();
    assert_eq!(health["last_boot"]["state"], "deferred");
    assert_eq!((health["deferrals"][0]["block"].as_str(), health["deferrals"][0]["times"].as_i64()), (Some("defers"), Some(1)));
    assert!(health["deferrals"][0]["reason"].is_string());
    assert!(service.get("/metrics").body.contains("plinth_block_deferred{block=\"defers\"} 1"));
}

#[tokio::test]
async fn two_builds_with_different_blocks_overlap_during_a_deploy() {
    let database = TestDatabase::production_like().await;
    let old = copy_of_blocks();
    without(old.path(), "0060_marketplace_eligible");
    let mut before = service(&database).env("API_BLOCKS", old.path()).env("API_BUILD", "old").ready();
    // The new build brings one block more while the old one serves.
    let new = service(&database).env("API_BUILD", "new").ready();
    assert_eq!(new.health().unwrap()["last_boot"]["ran"], 5);
    use_every_route(&before, 1);
    use_every_route(&new, 2);
    // A restart of the old build in the middle of it, on the newer ledger: it starts, and says what it does not know.
    assert!(before.stop().success());
    let again = service(&database).env("API_BLOCKS", old.path()).env("API_BUILD", "old").ready();
    let warnings = again.health().unwrap()["warnings"].to_string();
    assert!(warnings.contains("0060_marketplace_eligible"), "{warnings}");
    use_every_route(&again, 3);
    // Both tick at once, and no capability is tested twice.
    let (left, right) = std::thread::scope(|both| {
        let one = both.spawn(|| an_hour(&new));
        let other = both.spawn(|| an_hour(&again));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert!(left.0.is_disjoint(&right.0) && left.1 + right.1 == 0);
    assert!(left.0.len() + right.0.len() > 20);
    let twice = "select count(*) from (select test_suite_id from test_results where executed_at > now() - interval '1 day'
                 group by 1 having count(*) > 1) twice";
    assert_eq!(database.number(twice).await, 0);
}

#[tokio::test]
async fn a_signal_ends_the_boot_and_later_the_service_in_order() {
    let database = TestDatabase::production_like().await;
    let customer = database.client().await;
    customer.batch_execute("begin; lock table capabilities in access share mode").await.unwrap();
    let mut booting = service(&database).start();
    booting.until("a block waits", |service| {
        service.health().is_some_and(|health| health["boot"]["block"] == "0060_marketplace_eligible")
    });
    assert_eq!(booting.stop().code(), Some(1));
    assert!(booting.said().contains("interrupted"), "{}", booting.said());
    customer.batch_execute("rollback").await.unwrap();
    assert_eq!(database.left_behind().await, 0);
    let mut serving = service(&database).env("API_TICK_SECONDS", "1").ready();
    serving.until("the scheduler looked", |service| service.said().contains("tick"));
    assert_eq!(serving.stop().code(), Some(0));
}

#[tokio::test]
async fn a_scheduler_that_cannot_look_says_why_and_looks_again_while_the_service_serves() {
    let database = TestDatabase::production_like().await;
    let mut service = service(&database).env("API_TICK_SECONDS", "1").ready();
    let client = database.client().await;
    client.batch_execute("alter table capabilities rename to elsewhere").await.unwrap();
    let why = "the scheduler could not look error=db error: ERROR: relation \"capabilities\" does not exist";
    service.until("it says so", |service| service.said().contains(why));
    assert_eq!(request(&service.health, "GET", "/ready", &[], None).unwrap().status, 200);
    service.get("/schedule/counts").with(503);
    client.batch_execute("alter table elsewhere rename to capabilities").await.unwrap();
    let looked = |service: &Service| service.said().matches(": tick ").count();
    let before = looked(&service);
    service.until("it looks again", |service| looked(service) > before);
    service.get("/schedule/counts").with(200);
}
