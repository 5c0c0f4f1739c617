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

/// As they came from the compiler with 0.1.1, which had rows in bulk first, and with 0.1.2, which tells their errors later.
#[tokio::test]
async fn components_of_later_versions_read_and_write_rows_in_bulk_for_ever() {
    for version in ["0.1.1", "0.1.2"] {
        let folder = root().join(format!("tests/fixtures/contract-{version}"));
        let imports = Component::from_file(&folder.join("bulk_interleaved.wasm"), 4 << 20).unwrap().interfaces().unwrap().imports;
        assert!(imports.contains(&format!("plinth:block/bulk@{version}")), "{imports:?}");
        let database = TestDatabase::empty().await;
        let tables = "create table large (id bigint primary key, n integer not null default 0);
                      insert into large select i from generate_series(1, 200000) i; create table doubled (id bigint, n integer)";
        database.client().await.batch_execute(tables).await.unwrap();
        let report = database.host().folder(folder).boot().await.unwrap();
        assert_eq!(report.block("bulk_interleaved").unwrap().rows["public.doubled"].inserted, 200_000, "{report:?}");
    }
}
