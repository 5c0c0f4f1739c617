//! What holds of the policy for any text.

use super::{Phase, Policy};
use proptest::prelude::*;

/// Everything that can be declared is.
fn lenient() -> Policy {
    Policy::of_tests(true)
}

/// Statements that are never sent, word by word.
const NEVER: [&str; 24] = [
    "commit",
    "commit and chain",
    "end transaction",
    "rollback",
    "abort work",
    "rollback to savepoint plinth_verify",
    "begin isolation level serializable",
    "start transaction",
    "savepoint a",
    "release savepoint a",
    "prepare transaction 'a'",
    "commit prepared 'a'",
    "set transaction read write",
    "set local role postgres",
    "set session authorization default",
    "reset all",
    "set statement_timeout = 0",
    "discard all",
    "listen a",
    "declare c cursor for select 1",
    "prepare p as select 1",
    "copy t from program 'id'",
    "alter system set fsync = off",
    "explain analyse delete from t",
];

fn written(separators: Vec<usize>, upper: Vec<bool>, statement: &str, after: usize) -> String {
    const BETWEEN: [&str; 6] = [" ", "\n", "\t ", "/* a */", " -- b\n", "/* c /* d */ ' */"];
    let pick = |list: &[usize], at: usize| BETWEEN[list[at % list.len()] % BETWEEN.len()];
    let mut text = String::from(pick(&separators, 0));
    for (at, word) in statement.split(' ').enumerate() {
        // The case of a literal is part of it.
        let word = if upper[at % upper.len()] && !word.contains('\'') { word.to_uppercase() } else { word.to_owned() };
        text += &word;
        text += pick(&separators, at + 1);
    }
    text += ["", ";", "; ", " ; -- e", ";;"][after % 5];
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_written_no_transaction_statement_is_sent(
        separators in proptest::collection::vec(0_usize..6, 1..8),
        upper in proptest::collection::vec(any::<bool>(), 1..8),
        which in 0_usize..NEVER.len(),
        after in 0_usize..5,
    ) {
        let text = written(separators, upper, NEVER[which], after);
        for phase in [Phase::Work, Phase::Outside, Phase::Verify] {
            prop_assert!(lenient().check(&text, phase).is_err(), "{text}");
        }
        // Nor behind or before another statement.
        for two in [format!("select 1; {text}"), format!("{text}; select 1"), format!("insert into t values (1);{text}")] {
            prop_assert!(lenient().check(&two, Phase::Work).is_err(), "{two}");
        }
    }

    #[test]
    fn no_text_makes_the_policy_panic(
        words in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "select", "from", "with", "insert", "into", "values", "update", "set", "delete", "create", "table", "function",
                    "language", "as", "do", "$$", "$a$", "'", "\"", "(", ")", ",", ";", "--", "/*", "*/", "\\", "u&\"", "e'", "begin",
                    "end", "explain", "(analyze)", "grant", "on", "to", "owner", "merge", "using", "::", "[", "]", "$1", "\0", "é",
                ]).prop_map(str::to_owned),
                ".{0,4}",
            ],
            0..30,
        ),
        glue in proptest::sample::select(vec!["", " ", "\n"]),
    ) {
        let _ = lenient().check(&words.join(glue), Phase::Work);
    }
}
