//! No insert of the service states eligibility yet, so it follows from the cost at every boot. When every insert states it,
//! this block goes: deleting its component is the whole change.

use plinth_block::prelude::*;

struct Bridge;

/// What the cost says. An unknown cost is not free: NULL counts as not eligible.
const FREE: &str = "(external_cost_cents is not distinct from 0)";

impl Rule for Bridge {
    fn reconcile(db: &Db) -> Result<Outcome> {
        let drifted: Vec<(String, String)> = db.query(
            &format!(
                "select capability_slug, test_name from test_suites where scheduled_testing_eligible <> {FREE}
                 order by created_at desc limit 10"
            ),
            &[],
        )?;
        if drifted.is_empty() {
            return done();
        }
        // The newest tell which insert still forgets to state it; the journal keeps them in the ledger.
        for (capability, test) in &drifted {
            db.info(format!("{capability}: {test}"));
        }
        db.send(
            &format!("update test_suites set scheduled_testing_eligible = {FREE} where scheduled_testing_eligible <> {FREE}"),
            &[],
        )?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(
            db,
            "every suite is eligible exactly if it costs nothing",
            &format!("select id from test_suites where scheduled_testing_eligible <> {FREE}"),
            &[],
        )?;
        Ok(checks)
    }
}

plinth_block::rule!(Bridge);

#[cfg(test)]
mod tests;
