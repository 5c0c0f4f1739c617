use super::*;

#[test]
fn everything_is_eligible_until_somebody_says_why_not() {
    let database = plinth_test::database!();
    database
        .apply::<MarketplaceEligible>()
        .expect_no_rows()
        .expect_change("column capabilities.marketplace_eligible is new: boolean not null default true")
        .expect_change("column capabilities.marketplace_eligible_reason is new: text");
    assert_eq!(database.value("select count(*) from capabilities where not marketplace_eligible").as_deref(), Some("0"));
    database.apply::<MarketplaceEligible>().expect_nothing();
}
