//! What fuzzing looks for, over what is committed: seeds, and bytes that were found once.

use plinth_tests::fuzzed::{TARGETS, corpus};
use proptest::prelude::*;

#[test]
fn the_corpus_is_as_it_must_be() {
    for (target, looks) in TARGETS {
        let files = corpus(target);
        assert!(files.len() >= 5, "{target} has seeds");
        for (file, bytes) in files {
            println!("{}", file.display());
            looks(&bytes);
        }
    }
}

/// Words that statements are made of, with what hides them.
const WORDS: [&str; 56] = [
    "commit",
    "rollback",
    "begin",
    "end",
    "abort",
    "savepoint",
    "release",
    "start",
    "transaction",
    "prepare",
    "work",
    "and",
    "chain",
    "to",
    "select",
    "1",
    "from",
    "t",
    "insert into t (id)",
    "values (7)",
    "update t set a = 1",
    "delete from t",
    "where",
    "id",
    "=",
    "with x as",
    "(",
    ")",
    ";",
    ",",
    "do",
    "call",
    "explain",
    "analyze",
    "create",
    "table",
    "view",
    "function f() returns int language sql as",
    "schema",
    "$$",
    "$a$",
    "'",
    "''",
    "\"",
    "--",
    "\n",
    "/*",
    "*/",
    "/* /* */ */",
    "e'\\'",
    "u&\"\\0063ommit\"",
    "\u{a0}",
    "\u{2003}",
    "\u{feff}",
    "\\",
    "set",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// PostgreSQL is the judge of what was let through.
    #[test]
    fn no_statement_that_is_sent_ends_its_transaction(
        words in proptest::collection::vec(proptest::sample::select(WORDS.to_vec()), 1..10),
        glue in proptest::sample::select(vec![" ", " ", "\n", "", "/**/"]),
        upper in any::<bool>(),
    ) {
        let text = words.join(glue);
        plinth_tests::fuzzed::policy(if upper { text.to_uppercase() } else { text }.as_bytes());
    }
}
