//! A block, written and tested alone: `plinth new`, `plinth build`, `plinth test`.

use plinth_tests::{blocks, campaign, guest, guests, plinth, root};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `plinth test … --format json`: whether it passed, and the blocks by id.
fn tested(command: &mut Command) -> (bool, Value) {
    let output = command.args(["--format", "json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    assert_eq!(output.status.code(), Some(if told["passed"] == true { 0 } else { 1 }), "{}", said(&output));
    (output.status.success(), told)
}

fn check<'a>(told: &'a Value, block: &str, name: &str) -> (&'a str, &'a str) {
    let blocks = told["blocks"].as_array().unwrap();
    let block = blocks.iter().find(|found| found["id"] == block).unwrap_or_else(|| panic!("no {block} in {told:#}"));
    let checks = block["checks"].as_array().unwrap();
    let check = checks.iter().find(|found| found["name"] == name).unwrap_or_else(|| panic!("no {name} in {block:#}"));
    (check["result"].as_str().unwrap(), check["message"].as_str().unwrap())
}

/// A folder with a component and a fixture beside it.
fn beside(component: &[u8], name: &str, fixture: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{name}.wasm")), component).unwrap();
    std::fs::create_dir(folder.path().join("fixtures")).unwrap();
    std::fs::write(folder.path().join("fixtures/1.sql"), fixture).unwrap();
    folder
}

/// The guests' table `t`, as in the other tests.
const T: &str = "create table t (id int primary key, a int, b int, updated_at timestamptz);
                 insert into t (id, a, b) select i, 0, 0 from generate_series(101, 110) i";

fn guest_beside(name: &str, fixture: &str) -> tempfile::TempDir {
    beside(&std::fs::read(guest(name)).unwrap(), name, fixture)
}

#[test]
fn every_block_of_the_service_passes_alone() {
    let (passed, told) = tested(plinth().arg("test").arg(root().join("blocks")).arg("--components").arg(blocks()));
    assert!(passed, "{told:#}");
    let all = told["blocks"].as_array().unwrap();
    assert_eq!(all.len(), std::fs::read_dir(blocks()).unwrap().count(), "every block was tested");
    for block in all {
        let id = block["id"].as_str().unwrap();
        assert!(root().join("blocks").join(id).join("src/tests.rs").is_file(), "{id} has tests of its own");
        assert_eq!(block["required"].as_array().unwrap().len(), 0, "{id} runs on its fixture alone");
        let (_, kills) = check(&told, id, "kills");
        assert!(kills.contains("as before") && kills.contains("as after"), "{id}: {kills}");
        assert!(!block["statements"].as_array().unwrap().is_empty(), "{id}: {block:#}");
        assert_eq!(block["notes"], serde_json::json!([]), "{id}: nothing is left that its author could act on");
    }
}

/// What stayed green with the stub that compared SQL text.
#[test]
fn case_22_if_not_exists_turned_into_if_exists_is_caught() {
    let mut mutated = 0;
    for entry in std::fs::read_dir(blocks()).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_stem().unwrap().to_str().unwrap();
        let fixture = root().join("blocks").join(id).join("fixtures");
        let component = std::fs::read(&path).unwrap();
        // As long as the original, so that the component stays one.
        let Some(changed) = replaced(&component, b"if not exists", b"if     exists") else { continue };
        mutated += 1;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mutated.wasm");
        std::fs::write(&file, changed).unwrap();
        let (passed, told) = tested(plinth().arg("test").arg(&file).arg("--fixtures").arg(&fixture));
        assert!(!passed, "{id} passed with IF EXISTS: {told:#}");
        assert_eq!(check(&told, id, "run").0, "failed", "{id}");
    }
    assert!(mutated >= 5, "{mutated} blocks say IF NOT EXISTS");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|place| bytes[*place..].starts_with(from)).collect();
    for place in &places {
        out[*place..place + to.len()].copy_from_slice(to);
    }
    (!places.is_empty()).then_some(out)
}

/// A second run without IF NOT EXISTS: found where the block may run twice by its manifest.
#[test]
fn case_22_a_block_that_may_run_twice_and_cannot_is_caught() {
    let id = "0031_test_results_suite_executed_idx";
    let component = std::fs::read(blocks().join(format!("{id}.wasm"))).unwrap();
    let changed = replaced(&component, b"if not exists", b"             ").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mutated.wasm");
    std::fs::write(&file, changed).unwrap();
    let fixture = root().join("blocks").join(id).join("fixtures");
    let (passed, told) = tested(plinth().arg("test").arg(&file).arg("--fixtures").arg(&fixture));
    assert!(!passed, "{told:#}");
    assert_eq!(check(&told, id, "run").0, "passed");
    let (result, message) = check(&told, id, "run again");
    assert!(result == "failed" && message.contains("may run twice") && message.contains("already exists"), "{message}");
}

#[test]
fn a_block_that_leaves_what_it_did_not_declare_is_caught() {
    let folder = guest_beside("writes_elsewhere", T);
    let (passed, told) = tested(plinth().arg("test").arg(folder.path()));
    assert!(!passed);
    let (_, message) = check(&told, "writes_elsewhere", "run");
    assert!(message.contains("add \"t.updated_at\" to writes"), "{message}");
    assert_eq!(check(&told, "writes_elsewhere", "kills").0, "skipped");
}

#[test]
fn a_rule_that_does_not_converge_is_caught() {
    let folder = guest_beside("counts_b", T);
    let (passed, told) = tested(plinth().arg("test").arg(folder.path()));
    assert!(!passed, "{told:#}");
}

#[test]
fn what_a_block_requires_comes_from_the_blocks_that_provide_it() {
    let folder = guest_beside("missing_column", T);
    let command = || {
        let mut command = plinth();
        command.arg("test").arg(folder.path().join("missing_column.wasm"));
        command
    };
    let (passed, told) = tested(&mut command());
    let (result, message) = check(&told, "missing_column", "fixture");
    assert!(!passed && result == "failed" && message.contains("--with"), "{message}");
    let with = guests(&["provides_column"]);
    let (passed, told) = tested(command().arg("--with").arg(with.path()));
    for step in ["fixture", "run", "kills", "two at once"] {
        assert_eq!(check(&told, "missing_column", step).0, "passed", "{told:#}");
    }
    // The guest states no post-condition, which is a failure of its own.
    assert!(!passed && check(&told, "missing_column", "post-conditions").1.contains("states none"), "{told:#}");
    assert_eq!(told["blocks"][0]["required"][0], "provides_column");
}

#[test]
fn a_fixture_that_fails_is_named_and_the_results_are_read_by_a_build_server() {
    let folder = guest_beside("claims", "create table t (id int primary key)");
    let junit = |folder: &Path| {
        let output = plinth().arg("test").arg(folder).args(["--format", "junit"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    std::fs::write(folder.path().join("fixtures/2.sql"), "insert into nowhere values ('<&>')").unwrap();
    let (code, xml) = junit(folder.path());
    assert_eq!(code, Some(1));
    assert!(xml.contains("<testsuite name=\"claims\"") && xml.contains("2.sql: relation &quot;nowhere&quot;"), "{xml}");
    std::fs::remove_file(folder.path().join("fixtures/2.sql")).unwrap();
    let (code, xml) = junit(folder.path());
    assert!(xml.contains("name=\"kills\"") && xml.ends_with("</testsuites>\n"), "{code:?} {xml}");
}

#[test]
fn wrong_paths_are_usage() {
    let empty = tempfile::tempdir().unwrap();
    let output = plinth().arg("test").arg(empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("neither crates of blocks nor components"), "{}", said(&output));
    let output = plinth().args(["new", "Bad Id", "--kind", "rule"]).current_dir(empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("is no block id"), "{}", said(&output));
}

/// `plinth test` of the service's blocks, while it runs.
struct Testing {
    child: Child,
    /// Where its blocks' folders are.
    temporary: tempfile::TempDir,
}

/// A process below another one, and what it was started with.
struct Process {
    id: u32,
    words: Vec<String>,
}

impl Testing {
    /// Starts it, and waits until hosts of its own are at work on its server.
    fn start() -> (Testing, Vec<Process>) {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = plinth();
        command.arg("test").arg(root().join("blocks")).arg("--components").arg(blocks()).env("TMPDIR", temporary.path());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let testing = Testing { child, temporary };
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let below = below(testing.child.id());
            if below.iter().any(Process::is_server) && below.iter().any(Process::is_host) {
                return (testing, below);
            }
            assert!(Instant::now() < until, "no host of its own began to work");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its end, with nothing left: no process, no folder.
    fn ended(self, before: &[Process]) -> Output {
        let output = self.child.wait_with_output().unwrap();
        let left = || before.iter().filter(|process| process.lives()).map(|process| process.words.join(" ")).collect::<Vec<_>>();
        let until = Instant::now() + Duration::from_secs(30);
        while !left().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(left().is_empty(), "{:?}", left());
        let folders: Vec<PathBuf> = before.iter().flat_map(Process::folders).collect();
        assert!(folders.len() >= 3, "the server's data and socket, and a host's socket: {folders:?}");
        for folder in folders {
            assert!(!folder.exists(), "{} was left behind", folder.display());
        }
        assert_eq!(std::fs::read_dir(self.temporary.path()).unwrap().count(), 0, "folders of blocks were left behind");
        output
    }
}

impl Process {
    fn is_server(&self) -> bool {
        self.words.first().is_some_and(|program| program.ends_with("/postgres")) && self.words.iter().any(|word| word == "-D")
    }

    fn is_host(&self) -> bool {
        self.words.get(1).is_some_and(|word| word == "run")
    }

    fn lives(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    /// The temporary folders that its words name.
    fn folders(&self) -> Vec<PathBuf> {
        let words = self.words.iter().map(|word| word.replace("%2F", "/"));
        let at = |word: &str| Some(word[word.find("/tmp/plinth-").or(word.find("/dev/shm/plinth-"))?..].to_owned());
        let end = |path: String| path.split(['&', ' ']).next().unwrap_or_default().to_owned();
        words.filter(|word| word.contains("plinth-")).filter_map(|word| at(&word)).map(|path| PathBuf::from(end(path))).collect()
    }
}

/// The processes that a process started, and those that they started.
fn below(parent: u32) -> Vec<Process> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let state = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = state.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (id, parent)));
    }
    let mut found = vec![parent];
    let mut place = 0;
    while let Some(id) = found.get(place).copied() {
        found.extend(parents.iter().filter(|(_, parent)| *parent == id).map(|(child, _)| *child));
        place += 1;
    }
    let words = |id: u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    };
    found.into_iter().skip(1).map(|id| Process { id, words: words(id) }).collect()
}

#[test]
fn a_test_that_is_interrupted_leaves_nothing_behind() {
    for signal in ["INT", "TERM"] {
        let (testing, processes) = Testing::start();
        // To the command alone, as a build server sends it; a terminal sends it to the hosts, too.
        campaign::signal(signal, testing.child.id());
        let output = testing.ended(&processes);
        assert_eq!(output.status.code(), Some(130), "{signal}: {}", said(&output));
        assert!(output.stdout.is_empty() && said(&output).contains("interrupted"), "{}", said(&output));
    }
}

#[test]
fn a_server_that_dies_in_the_middle_fails_the_test_and_leaves_nothing_behind() {
    let (testing, processes) = Testing::start();
    campaign::kill(processes.iter().find(|process| process.is_server()).unwrap().id);
    let output = testing.ended(&processes);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(output.stdout.is_empty() && said(&output).contains("the server of the tests is gone"), "{}", said(&output));
}

/// The whole way, in a folder that knows nothing of this repository but where the SDK is.
#[test]
fn new_blocks_build_and_their_tests_pass_outside_of_the_repository() {
    let outside = tempfile::tempdir().unwrap();
    let kinds = ["migration", "rule", "backfill"];
    for kind in kinds {
        let output = plinth()
            .args(["new", &format!("0070_new-{kind}"), "--kind", kind, "--sdk"])
            .arg(root())
            .current_dir(outside.path())
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", said(&output));
        // Compiled dependencies of this workspace serve the crate's own tests too.
        let folder = outside.path().join(format!("0070_new-{kind}"));
        let output = Command::new("cargo")
            .arg("test")
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", root().join("target/outside"))
            .output();
        let output = output.unwrap();
        assert!(output.status.success() && said(&output).contains("1 passed"), "{kind}: {}", said(&output));
    }
    let output = plinth().args(["new", "0070_new-rule", "--kind", "rule"]).current_dir(outside.path()).output().unwrap();
    assert!(output.status.code() == Some(2) && said(&output).contains("nothing in it was touched"), "{}", said(&output));
    let mut command = plinth();
    command
        .arg("test")
        .arg(outside.path())
        .env("PLINTH_TOOLS", root().join("target/tools"))
        .env("XDG_CACHE_HOME", root().join("target/outside"));
    let (passed, told) = tested(&mut command);
    assert!(passed, "{told:#}");
    let all = told["blocks"].as_array().unwrap();
    assert!(all.len() == kinds.len() && all.iter().all(|block| block["notes"] == serde_json::json!([])), "{told:#}");
}

/// The second tier: the component that is shipped, in an author's own test.
#[test]
fn a_component_boots_on_a_tests_database() {
    let database = plinth_test::TestDatabase::empty();
    database.execute(T);
    let before = database.snapshot();
    let failed = database.try_boot(&[guest("writes_elsewhere")]).unwrap_err();
    assert!(failed.report().unwrap().failure().unwrap().contains("updated_at"), "{failed}");
    assert!(before.difference(&database.snapshot()).is_empty());
    database.execute("insert into t (id, a) values (1, 0)");
    let report = database.boot(&[guest("array_parameter")]);
    assert_eq!(report.boot.ran, 1);
    assert!(report.block("array_parameter").unwrap().rows.contains_key("public.t"), "{report:?}");
}

/// Writes a file, packs it, and returns what the command said and where the component would be.
fn packed(folder: &Path, sql: &str) -> (Output, std::path::PathBuf) {
    std::fs::write(folder.join("block.sql"), sql).unwrap();
    let output = plinth().args(["pack", "block.sql"]).current_dir(folder).env("PATH", "").output().unwrap();
    (output, folder.join("0072_packed.wasm"))
}

#[test]
fn sql_alone_becomes_a_block_without_a_toolchain() {
    let folder = beside(b"", "unused", T);
    std::fs::remove_file(folder.path().join("unused.wasm")).unwrap();
    let (output, component) = packed(
        folder.path(),
        "/*---
id = \"0072_packed\"
kind = \"rule\"
title = \"a is at least one\"
requires = [{ column = \"t.a\", type = \"integer\" }]
writes = [\"t.a\"]
---*/
-- plinth: reconcile
-- if: select exists (select from t where a < 1)
update t set a = 1 where a < 1;

-- plinth: verify
-- nothing is below one
select id from t where a < 1;
select count(*) = 10 from t;
",
    );
    assert!(output.status.success(), "{}", said(&output));
    let (passed, told) = tested(plinth().arg("test").arg(&component));
    assert!(passed, "{told:#}");
    assert_eq!(told["blocks"][0]["rows"]["public.t"]["updated"], 10);
    assert!(check(&told, "0072_packed", "post-conditions").1.starts_with("2 conditions hold"));
}

#[test]
fn a_packed_migration_makes_functions_and_its_post_conditions_count() {
    let folder = beside(b"", "unused", "create table t (id int primary key)");
    std::fs::remove_file(folder.path().join("unused.wasm")).unwrap();
    let file = |check: &str| {
        format!(
            "/*---
id = \"0072_packed\"
kind = \"migration\"
title = \"a function and its column\"
requires = [{{ table = \"t\" }}]
provides = [{{ column = \"t.a\", type = \"integer\" }}, {{ function = \"one\" }}]
allow = [\"create-function\"]
---*/
create function one() returns int language plpgsql as $$ begin return 1; -- plinth: verify
end $$;
alter table t add column a int default one();
-- plinth: verify
-- one is one
{check};
"
        )
    };
    let (output, component) = packed(folder.path(), &file("select one() = 1"));
    assert!(output.status.success(), "{}", said(&output));
    let (passed, told) = tested(plinth().arg("test").arg(&component));
    assert!(passed, "{told:#}");
    let (output, component) = packed(folder.path(), &file("select one() = 2"));
    assert!(output.status.success(), "{}", said(&output));
    let (passed, told) = tested(plinth().arg("test").arg(&component));
    assert!(!passed && check(&told, "0072_packed", "run").1.contains("one is one (it is not true)"), "{told:#}");
}

#[test]
fn the_guides_example_is_one() {
    let guide = std::fs::read_to_string(root().join("docs/AUTHORING.md")).unwrap();
    let example = guide.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0000_customers.sql"), example).unwrap();
    let output = plinth().args(["pack", "0000_customers.sql", "--out", "blocks"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let (passed, told) = tested(plinth().arg("test").arg(folder.path().join("blocks/0000_customers.wasm")));
    assert!(passed, "{told:#}");
}

#[test]
fn what_cannot_be_packed_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let head = "/*---\nid = \"0072_packed\"\nkind = \"rule\"\ntitle = \"t\"\n---*/\n";
    for (rest, says) in [
        ("update t set a = 1;\n-- plinth: verify\nselect true;", "block.sql: line 6: the block writes t.a"),
        ("select 1;", "states no post-condition"),
        ("select 1;\ncommit;\n-- plinth: verify\nselect true;", "block.sql: line 7: "),
        ("select 1 fro t;\n-- plinth: verify\nselect true;", "block.sql: line 6: "),
    ] {
        let (output, component) = packed(folder.path(), &format!("{head}{rest}"));
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(says) && !component.exists(), "{}", said(&output));
    }
    let large = format!("{head}select '{}';\n-- plinth: verify\nselect true;", "x".repeat(2 << 20));
    let (output, _) = packed(folder.path(), &large);
    assert!(output.status.code() == Some(2) && said(&output).contains("there is room for 1048576"), "{}", said(&output));
}
