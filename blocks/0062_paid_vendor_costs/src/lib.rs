//! No insert of the service states a cost, so a new suite of a paid vendor claims to be free and would be scheduled every hour.
//! A cost that somebody set stays, and so does one that is unknown (NULL).

use plinth_block::prelude::*;

struct PaidVendors;

const VENDORS: &str = "(values ('pep-check', 1), ('sanctions-check', 1), ('adverse-media-check', 1), ('uk-cop-check', 1),
    ('risk-narrative-generate', 3)) as vendor (slug, cents)";

/// The live suites of a vendor that claim to be free.
const DRIFT: &str = "capability_slug = vendor.slug and external_cost_cents = 0
    and active and test_mode = 'live' and test_type in ('known_answer', 'edge_case', 'negative', 'known_bad')";

impl Rule for PaidVendors {
    fn reconcile(db: &Db) -> Result<Outcome> {
        if db.query_one(&format!("select exists (select from test_suites, {VENDORS} where {DRIFT})"), &[])? {
            db.send(&format!("update test_suites set external_cost_cents = vendor.cents from {VENDORS} where {DRIFT}"), &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(
            db,
            "no live suite of a paid vendor is free",
            &format!("select id from test_suites, {VENDORS} where {DRIFT}"),
            &[],
        )?;
        Ok(checks)
    }
}

plinth_block::rule!(PaidVendors);

#[cfg(test)]
mod tests;
