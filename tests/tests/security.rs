//! docs/SECURITY.md: every promise names the tests that attack it, and they are there.

use plinth_tests::root;
use std::{collections::BTreeSet, fs, path::Path};

fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut test = false;
            for line in text.lines().map(str::trim_start) {
                if let Some(name) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
                    if test {
                        found.extend(name.split_once('(').map(|(name, _)| name.to_owned()));
                    }
                    test = false;
                } else {
                    test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                }
            }
        }
    }
}

#[test]
fn every_promise_has_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for folder in ["tests/tests", "host/src", "sdk/manifest/src", "sdk/values/src"] {
        functions(&root().join(folder), &mut tests);
    }
    let text = fs::read_to_string(root().join("docs/SECURITY.md")).unwrap();
    let (promised, _) = text.split_once("## Not promised").unwrap();
    let promises: Vec<&str> = promised.lines().filter(|line| line.starts_with("- ")).collect();
    assert!(promises.len() > 20);
    for promise in promises {
        // What stands behind the last full stop.
        let (sentence, named) = promise.rsplit_once(". `").unwrap_or_else(|| panic!("names no test: {promise}"));
        let named: Vec<&str> = named.split(['`', ' ']).filter(|name| !name.is_empty()).collect();
        for name in named {
            assert!(tests.contains(name), "no such test: {name}, for {sentence}");
        }
    }
}
