//! No insert of the service states a cost, so a new suite of invoice-extract claims to be free, and each run of it is charged.
//! A cost that somebody set stays, and so does one that is unknown (NULL).

use plinth_block::prelude::*;

struct InvoiceExtract;

/// Its live suites that claim to be free.
const DRIFT: &str = "capability_slug = 'invoice-extract' and external_cost_cents = 0
    and active and test_mode = 'live' and test_type in ('known_answer', 'edge_case', 'negative', 'known_bad')";

impl Rule for InvoiceExtract {
    fn reconcile(db: &Db) -> Result<Outcome> {
        if db.query_one(&format!("select exists (select from test_suites where {DRIFT})"), &[])? {
            db.send(&format!("update test_suites set external_cost_cents = 1 where {DRIFT}"), &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(
            db,
            "no live suite of invoice-extract is free",
            &format!("select id from test_suites where {DRIFT}"),
            &[],
        )?;
        Ok(checks)
    }
}

plinth_block::rule!(InvoiceExtract);

#[cfg(test)]
mod tests;
