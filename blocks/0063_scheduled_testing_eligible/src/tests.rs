use super::*;
use plinth_test::updated;

#[test]
fn what_is_free_is_eligible_and_nothing_else() {
    let database = plinth_test::database!();
    database
        .apply::<ScheduledTestingEligible>()
        .expect_rows("test_suites", updated(2))
        .expect_change("column test_suites.scheduled_testing_eligible is new: boolean not null default false");
    let eligible = "select string_agg(id::text, ' ' order by id) from test_suites where scheduled_testing_eligible";
    assert_eq!(database.value(eligible).as_deref(), Some("1 2"));
    database.apply::<ScheduledTestingEligible>().expect_no_rows();
}
