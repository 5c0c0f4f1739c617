use super::*;
use plinth_test::updated;

#[test]
fn a_live_suite_of_invoice_extract_costs_a_cent() {
    let database = plinth_test::database!();
    database.reconcile::<InvoiceExtract>().expect_rows("test_suites", updated(2));
    let costs = "select string_agg(coalesce(external_cost_cents::text, 'null'), ' ' order by id) from test_suites";
    assert_eq!(database.value(costs).as_deref(), Some("1 1 7 null 0 0 0 0"));
    database.reconcile::<InvoiceExtract>().expect_nothing();
}
