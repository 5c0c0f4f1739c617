//! The operators' page in a real browser: `plinth serve`, and the service's `/admin/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth_tests::{
    TestDatabase, copy_of_blocks, guest, plinth, root,
    service::{TOKEN, request, service},
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Ends the command with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a browser found on a page, and screenshots in `target/page/<name>`; nothing if there is no browser, which is said.
fn look(name: &str, url: &str, password: Option<&str>) -> Option<Value> {
    let modules = root().join("target/page");
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !modules.join("node_modules").is_dir() || !Path::new(&chromium).exists() {
        assert_ne!(std::env::var("PLINTH_BROWSER").as_deref(), Ok("required"), "there is no browser");
        eprintln!("SKIPPED: no browser looked at the page; tests/page/browser.sh gets one where it can");
        return None;
    }
    let shots = modules.join(name);
    std::fs::create_dir_all(&shots).unwrap();
    let mut node = Command::new("node");
    node.arg(root().join("tests/page/look.mjs")).arg(&modules).arg(url).arg(&shots).args(password);
    let said = node.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Some(serde_json::from_slice(&said.stdout).unwrap())
}

fn accessible(found: &Value) {
    assert_eq!(found["status"], 200);
    for nothing in ["foreign", "console", "spilling"] {
        assert_eq!(found[nothing], serde_json::json!([]), "{nothing}");
    }
    for view in ["wide", "narrow", "dark"] {
        assert_eq!(found["axe"][view], serde_json::json!([]), "{view}");
        assert_eq!(found["overflow"][view], 0, "{view}: the page itself does not scroll sideways");
    }
    assert_eq!((found["scripts"].as_i64(), found["styled"].as_str()), (Some(0), Some("solid")));
    assert_eq!(found["landmarks"], serde_json::json!([1, 1, 1, 1]));
    assert_eq!((found["first_focus"].as_str(), found["skipped_to"].as_str()), (Some("Skip to the content"), Some("#main")));
    assert_eq!(found["skip_link_visible"], true);
    let filled = |list: &Value| list.as_array().unwrap().iter().all(|text| text.as_str().is_some_and(|text| text.len() > 4));
    assert!(filled(&found["captions"]) && filled(&found["pictures"]), "{found}");
    assert_eq!(found["headings"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn plinth_serve_shows_boots_drift_and_order_to_a_browser_without_scripts_or_network() {
    let database = TestDatabase::production_like().await;
    let folder = copy_of_blocks();
    let host = database.host().folder(folder.path());
    for forgotten in [0, 0, 3, 0] {
        for _ in 0..forgotten {
            let insert = "insert into test_suites (capability_slug, test_name, test_type, input, validation_rules)
                          values ('dns-lookup', 'a <b>new</b> one', 'known_answer', '{}', '[]')";
            database.client().await.batch_execute(insert).await.unwrap();
        }
        host.boot().await.unwrap();
    }
    std::fs::copy(guest("fails_post_condition"), folder.path().join("fails_post_condition.wasm")).unwrap();
    host.boot().await.unwrap_err();

    let mut serve = plinth();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--title", "the shop", "--blocks"]).arg(folder.path());
    let child = serve.env("DATABASE_URL", &database.url).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    let mut url = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().trim_start_matches("http://").trim_end_matches('/');
    let page = request(address, "GET", "/", &[], None).unwrap().with(200).body;
    assert!(page.contains("a &lt;b&gt;new&lt;/b&gt; one") && !page.contains("<b>new"), "what a block says is text");
    assert!(page.contains("SQLSTATE 42P01"));
    assert_eq!(request(address, "GET", "/boots.json", &[], None).unwrap().json()["boots"].as_array().unwrap().len(), 5);

    let Some(found) = look("serve", url.trim(), None) else { return };
    accessible(&found);
    let bridge = &found["bars"].as_array().unwrap()[3];
    assert_eq!(bridge.as_array().unwrap()[1..], [serde_json::json!("3")], "two boots with work, the second with three rows");
    assert_eq!(found["boxes"].as_array().unwrap().len(), 12);
    assert!(found["arrows"].as_i64().unwrap() >= 11);
    let text = found["text"].as_str().unwrap();
    for part in ["failed number 5", "Pending", "fails_post_condition", "not safe to remove", "The last 5 boots"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn the_services_own_page_wants_the_token_and_shows_what_it_knows_besides() {
    let database = TestDatabase::production_like().await;
    let service = service(&database).ready();
    let Some(found) = look("admin", &format!("http://{}/admin/", service.api), Some(TOKEN)) else { return };
    accessible(&found);
    let text = found["text"].as_str().unwrap();
    for part in [
        "This process",
        "Explicit inserts",
        "none of the routes",
        "capabilities are overdue",
        "0066_reconcile_eligibility_from_cost",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Blocks of SQL alone, with long ids: a chain that widens, so that the order is a long graph.
fn long_chain(into: &Path, count: u32) {
    let source = tempfile::tempdir().unwrap();
    let id = |number: u32| format!("{:04}_customers_preferences_and_everything_that_hangs_on_them_{number}", 100 + number);
    for number in 0..count {
        let after = match number {
            0 => String::new(),
            number if number % 4 == 3 => format!("after = [\"{}\", \"{}\"]\n", id(number - 1), id(number - 2)),
            number => format!("after = [\"{}\"]\n", id((number - 1) / 4 * 4)),
        };
        let sql = format!(
            "/*---\nid = \"{}\"\nkind = \"migration\"\ntitle = \"Step {number}\"\n{after}provides = [{{ table = \"step_{number}\" }}]\n---*/\n
             create table step_{number} (id int primary key);\n-- plinth: verify\nselect to_regclass('step_{number}') is not null;\n",
            id(number)
        );
        let file = source.path().join(format!("{number}.sql"));
        std::fs::write(&file, sql).unwrap();
        let packed = plinth().arg("pack").arg(&file).arg("--out").arg(into).output().unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    }
}

#[tokio::test]
async fn a_long_life_is_legible_with_many_boots_long_ids_deferrals_a_failure_and_a_boot_that_was_killed() {
    let database = TestDatabase::production_like().await;
    let client = database.client().await;
    let tables = "create table t (id int primary key, a int, b int, updated_at timestamptz);
                  create table large (id bigint primary key, n integer not null default 0);
                  insert into large select i from generate_series(1, 5000) i; create sequence begun";
    client.batch_execute(tables).await.unwrap();
    let folder = copy_of_blocks();
    long_chain(folder.path(), 24);
    for name in ["defers", "fills_later"] {
        std::fs::copy(guest(name), folder.path().join(format!("{name}.wasm"))).unwrap();
    }
    let host = database.host().folder(folder.path()).build("2026.11.26-rc.1+0a1b2c3d4e5f");
    for boot in 0..44 {
        if boot % 9 == 4 {
            let insert = format!(
                "insert into test_suites (capability_slug, test_name, test_type, input, validation_rules)
                 select 'dns-lookup', 'forgotten ' || i, 'known_answer', '{{}}', '[]' from generate_series(1, {}) i",
                boot * boot
            );
            client.batch_execute(&insert).await.unwrap();
        }
        // It puts its work off three times at most.
        if boot == 2 {
            std::fs::remove_file(folder.path().join("defers.wasm")).unwrap();
        }
        if boot == 42 {
            std::fs::copy(guest("defers"), folder.path().join("defers.wasm")).unwrap();
        }
        host.boot().await.unwrap();
    }
    std::fs::copy(guest("fails_post_condition"), folder.path().join("fails_post_condition.wasm")).unwrap();
    host.boot().await.unwrap_err();
    // A backfill in the middle, and a boot that was killed while its block slept.
    let half = "insert into plinth.backfills (application, id, cursor, batches, rows, done, total)
                values ('api', 'fills_later', '2000', 7, '{\"public.large\": {\"inserted\": 0, \"updated\": 2000, \"deleted\": 0}}', 2000, 5000)";
    client.batch_execute(half).await.unwrap();
    std::fs::remove_file(folder.path().join("fails_post_condition.wasm")).unwrap();
    std::fs::copy(guest("slow"), folder.path().join("slow.wasm")).unwrap();
    let mut killed = plinth();
    killed
        .args(["run", "--accept-removal", "fails_post_condition", "--blocks"])
        .arg(folder.path())
        .env("DATABASE_URL", &database.url);
    let mut killed = Running(killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let sleeping = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' and datname = current_database()";
    while database.number(sleeping).await == 0 {
        assert_eq!(killed.0.try_wait().unwrap(), None, "it sleeps");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let mut serve = plinth();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--title", "the shop", "--blocks"]).arg(folder.path());
    let child = serve.env("DATABASE_URL", &database.url).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    let mut url = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let page =
        request(url.trim().trim_start_matches("http://").trim_end_matches('/'), "GET", "/", &[], None).unwrap().with(200).body;
    assert!(page.contains("<dt>Running</dt>") && page.contains("select pg_sleep(60)"), "{page}");
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    let Some(found) = look("long", url.trim(), None) else { return };
    accessible(&found);
    let text = found["text"].as_str().unwrap();
    for part in ["interrupted number 46", "2000 of 5000", "put off", "Failed", "The last 40 boots"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
