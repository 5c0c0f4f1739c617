//! The contract between blocks and hosts: components of its first version, and of another language.

use plinth::{Component, Outcome};
use plinth_tests::{TestDatabase, root};

/// Components that were built when 0.1.0 was all there was, kept as they came from the compiler.
#[tokio::test]
async fn components_of_the_first_version_load_and_run_for_ever() {
    let folder = root().join("tests/fixtures/contract-0.1.0");
    let imports = Component::from_file(&folder.join("writes_by_savepoint.wasm"), 4 << 20).unwrap().interfaces().unwrap().imports;
    assert!(imports.contains(&"plinth:block/sql@0.1.0".to_owned()), "{imports:?}");
    let database = TestDatabase::empty().await;
    let table = "create table t (id int primary key, a int, b int, updated_at timestamptz)";
    database.client().await.batch_execute(table).await.unwrap();
    let host = database.host().folder(&folder);
    let report = host.boot().await.unwrap();
    for (id, rows) in [("writes_by_savepoint", 1), ("rule_sets_a", 1)] {
        let block = report.block(id).unwrap();
        assert_eq!((block.outcome, block.rows["public.t"].total()), (Outcome::Applied, rows), "{report:?}");
    }
    assert_eq!(host.boot().await.unwrap().block("rule_sets_a").unwrap().outcome, Outcome::Unchanged);
    assert!(host.verify().await.unwrap().holds());
}
