//! The contract is WIT and not Rust: a rule in C, from its source to a boot beside blocks in Rust and in SQL.

use plinth::Outcome;
use plinth_tests::{TestDatabase, copy_of_blocks, plinth, root};
use std::{
    fs,
    process::{Command, Output},
};

fn done(output: &Output) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

/// The block, packed, in a folder with its fixture; none where there was no compiler for it.
fn packed() -> Option<tempfile::TempDir> {
    let built = root().join("target/languages");
    if let Ok(why) = fs::read_to_string(built.join("absent")) {
        eprintln!("SKIPPED: no C compiler for WebAssembly: {why}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let component = fs::read(built.join("c.wasm")).expect("`make languages` was not run");
    fs::write(folder.path().join("block.wasm"), component).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(root().join("tests/languages/c/block.toml"))
        .arg(root().join("tests/languages/c/fixtures"))
        .arg(folder.path())
        .output();
    done(&copied.unwrap());
    done(&plinth().args(["pack", "block.wasm", "--out", "blocks"]).current_dir(folder.path()).output().unwrap());
    Some(folder)
}

const ID: &str = "0002_addresses_in_lower_case";

#[tokio::test]
async fn a_rule_in_c_passes_plinth_test_and_boots_beside_blocks_in_rust_and_sql() {
    let Some(built) = packed() else { return };
    let component = built.path().join(format!("blocks/{ID}.wasm"));
    let inspected = done(&plinth().arg("inspect").arg(&component).output().unwrap());
    assert!(inspected.contains("plinth:block/sql") && !inspected.contains("wasi"), "{inspected}");
    let fixtures = built.path().join("fixtures");
    let tested = done(&plinth().arg("test").arg(&component).arg("--fixtures").arg(fixtures).output().unwrap());
    for step in ["run", "post-conditions", "run again", "same result", "kills", "two at once", "manifest"] {
        assert!(tested.contains(&format!("ok      {step}")), "{tested}");
    }
    assert!(!tested.contains("  note"), "{tested}");

    // What it requires is made by a block of SQL, in the same boot; the others are the service's.
    let blocks = copy_of_blocks();
    fs::copy(&component, blocks.path().join(format!("{ID}.wasm"))).unwrap();
    let sql = "/*---\nid = \"0001_customers\"\nkind = \"migration\"\ntitle = \"The table of customers\"\nprovides = [{ table = \"customers\" }, { column = \"customers.email\", type = \"text\" }]\n---*/
               create table customers (id int primary key, email text);
               insert into customers values (1, 'Ada@example.org'), (2, 'alan@example.org');
               -- plinth: verify\nselect count(*) = 2 from customers;";
    fs::write(blocks.path().join("customers.sql"), sql).unwrap();
    done(&plinth().args(["pack", "customers.sql"]).current_dir(blocks.path()).output().unwrap());
    let database = TestDatabase::production_like().await;
    let host = database.host().folder(blocks.path());
    let report = host.boot().await.unwrap();
    assert_eq!(report.boot.ran, 13, "{report:?}");
    let ours = report.block(ID).unwrap();
    assert_eq!((ours.outcome, ours.rows["public.customers"].updated), (Outcome::Applied, 1), "{ours:?}");
    assert_eq!(ours.message.as_deref(), Some("1 addresses were not in lower case"));
    let report = host.boot().await.unwrap();
    assert_eq!(report.block(ID).unwrap().outcome, Outcome::Unchanged);

    // A statement that fails is told by its number and text, with the database's own error.
    database.client().await.batch_execute("update customers set email = 'Eve@example.org' where id = 2; alter table customers add check (email <> 'eve@example.org')").await.unwrap();
    let error = host.boot().await.unwrap_err().to_string();
    assert!(error.contains("customers_email_check") && error.contains("23514"), "{error}");
    assert_eq!(database.left_behind().await, 0);
}

#[test]
fn a_component_that_is_packed_without_a_manifest_or_with_two_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pack = |file: &str| {
        let output = plinth().args(["pack", file]).current_dir(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let blocks = plinth_tests::blocks();
    let with_one = blocks.join("0029_actual_cost_cents.wasm");
    fs::copy(with_one, folder.path().join("block.wasm")).unwrap();
    let (code, said) = pack("block.wasm");
    assert!(code == Some(2) && said.contains("block.toml, the component's manifest"), "{said}");
    fs::write(folder.path().join("block.toml"), "id = \"a\"\nkind = \"rule\"\ntitel = \"t\"").unwrap();
    let (code, said) = pack("block.wasm");
    assert!(code == Some(2) && said.contains("block.toml: line 3"), "{said}");
    fs::write(folder.path().join("block.toml"), "id = \"a\"\nkind = \"rule\"\ntitle = \"t\"").unwrap();
    let (code, said) = pack("block.wasm");
    assert!(code == Some(2) && said.contains("carries 2 manifests"), "{said}");
    fs::write(folder.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let (code, said) = pack("core.wasm");
    assert!(code == Some(2) && said.contains("wasm-tools component new"), "{said}");
    assert!(!folder.path().join("a.wasm").exists(), "nothing was written");
}
