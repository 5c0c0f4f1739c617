use super::*;
use plinth_test::updated;

#[test]
fn a_live_suite_that_calls_a_language_model_costs_a_cent() {
    let database = plinth_test::database!();
    database.reconcile::<AlwaysLlm>().expect_rows("test_suites", updated(2));
    let costs = "select string_agg(coalesce(external_cost_cents::text, 'null'), ' ' order by id) from test_suites";
    assert_eq!(database.value(costs).as_deref(), Some("1 1 7 null 0 0 0 0"));
    database.reconcile::<AlwaysLlm>().expect_nothing();
}

#[test]
fn every_capability_of_the_list_counts() {
    let database = plinth_test::database!();
    let slugs: Vec<&str> = always_llm().collect();
    assert_eq!(slugs.len(), 73);
    for (slug, id) in slugs.iter().zip(100..) {
        database.execute(&format!("insert into test_suites (id, capability_slug) values ({id}, '{slug}')"));
    }
    database.reconcile::<AlwaysLlm>().expect_rows("test_suites", updated(75));
}
