use super::*;
use plinth_test::updated;

#[test]
fn a_live_suite_of_a_vendor_costs_what_the_vendor_charges() {
    let database = plinth_test::database!();
    database.reconcile::<PaidVendors>().expect_rows("test_suites", updated(2));
    let costs = "select string_agg(coalesce(external_cost_cents::text, 'null'), ' ' order by id) from test_suites";
    assert_eq!(database.value(costs).as_deref(), Some("1 1 7 null 0 0 0 0"));
    database.reconcile::<PaidVendors>().expect_nothing();
}

#[test]
fn each_vendor_has_its_price() {
    let database = plinth_test::database!();
    database.execute("insert into test_suites (id, capability_slug) values (9, 'risk-narrative-generate')");
    database.reconcile::<PaidVendors>().expect_rows("test_suites", updated(3));
    assert_eq!(database.value("select external_cost_cents from test_suites where id = 9").as_deref(), Some("3"));
}
