//! The command's options about what blocks may do and who may bring them.

use plinth_tests::{TestDatabase, guests, plinth};
use std::process::Output;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn every_limit_is_an_option() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["memory_bomb"]);
    let run = |limit: &str| {
        let mut command = plinth();
        command.args(["run", "--database-url", &database.url, "--limit", limit, "--blocks"]).arg(folder.path());
        command.output().unwrap()
    };
    let refused = run("fuel=1");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("there is no limit fuel; there are: component-bytes, compile, memory"), "{}", text(&refused));
    assert_eq!(run("memory=much").status.code(), Some(2));
    let failed = run("memory=3M");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).contains("wanted more memory than its 3 MiB"), "{}", text(&failed));
}
