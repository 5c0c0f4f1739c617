use super::*;

#[test]
fn the_index_is_built_and_not_built_again() {
    let database = plinth_test::database!();
    database.apply::<SuiteExecutedIndex>().expect_change("index test_results_suite_executed_idx is new");
    database.apply::<SuiteExecutedIndex>().expect_nothing();
}

#[test]
fn an_invalid_index_is_not_taken_for_it() {
    let database = plinth_test::database!();
    database.apply::<SuiteExecutedIndex>();
    database.execute("update pg_index set indisvalid = false where indexrelid = 'test_results_suite_executed_idx'::regclass");
    let failed = database.try_apply::<SuiteExecutedIndex>().unwrap_err().to_string();
    assert!(failed.contains("it is invalid"), "{failed}");
}
