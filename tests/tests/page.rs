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
