use super::*;
use plinth_test::updated;

#[test]
fn the_leaks_are_closed_and_nothing_else_is_touched() {
    let database = plinth_test::database!();
    database
        .apply::<LeakyCaps>()
        .expect_rows("test_suites", updated(2))
        .expect_change("test_suites: external_cost_cents was 0, is 1")
        .expect_change(r#"test_suites: input was {"company":"AAPL","form":"10-K"}, is {"company":"320193","form":"10-K"}"#);
    database.apply::<LeakyCaps>().expect_no_rows();
}
