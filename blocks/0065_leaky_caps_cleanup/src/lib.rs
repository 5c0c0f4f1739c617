//! Two capabilities call a paid service that their cost does not show: website-to-company always, us-company-data only when it
//! must look up a ticker. The first is charged; the suites of the second ask by the number that needs no look-up.

use plinth_block::prelude::*;

struct LeakyCaps;

const LIVE: &str = "active and test_mode = 'live' and test_type in ('known_answer', 'edge_case', 'negative', 'known_bad')";
const WEBSITE: &str = "capability_slug = 'website-to-company' and external_cost_cents = 0";
const TICKER: &str = "capability_slug = 'us-company-data' and input->>'company' = 'AAPL'";

impl Migration for LeakyCaps {
    fn apply(db: &Db) -> Result<Outcome> {
        db.send(&format!("update test_suites set external_cost_cents = 1 where {WEBSITE} and {LIVE}"), &[])?;
        db.send(
            &format!("update test_suites set input = jsonb_set(input, '{{company}}', '\"320193\"') where {TICKER} and {LIVE}"),
            &[],
        )?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let live = |suites| format!("select id from test_suites where {suites} and {LIVE}");
        let mut checks = Checks::new();
        checks.no_rows(db, "no live suite of website-to-company is free", &live(WEBSITE), &[])?;
        checks.no_rows(db, "no live suite of us-company-data asks for a ticker", &live(TICKER), &[])?;
        Ok(checks)
    }
}

plinth_block::migration!(LeakyCaps);

#[cfg(test)]
mod tests;
