//! No insert of the service states a cost, so a new suite of a capability that always calls a language model claims to be free.
//! A cost that somebody set stays, and so does one that is unknown (NULL).

use plinth_block::prelude::*;

struct AlwaysLlm;

/// The slugs of the capabilities that call a language model whatever their input is. The service's invariant reads them too.
pub fn always_llm() -> impl Iterator<Item = &'static str> {
    include_str!("../always_llm.txt").lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Their live suites that claim to be free; `$1` is the list.
const DRIFT: &str = "capability_slug = any($1::text[]) and external_cost_cents = 0
    and active and test_mode = 'live' and test_type in ('known_answer', 'edge_case', 'negative', 'known_bad')";

impl Rule for AlwaysLlm {
    fn reconcile(db: &Db) -> Result<Outcome> {
        let slugs: Vec<&str> = always_llm().collect();
        if db.query_one(&format!("select exists (select from test_suites where {DRIFT})"), &[&slugs])? {
            db.send(&format!("update test_suites set external_cost_cents = 1 where {DRIFT}"), &[&slugs])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let slugs: Vec<&str> = always_llm().collect();
        let mut checks = Checks::new();
        checks.no_rows(
            db,
            "no live suite of a capability that always calls a language model is free",
            &format!("select id from test_suites where {DRIFT}"),
            &[&slugs],
        )?;
        Ok(checks)
    }
}

plinth_block::rule!(AlwaysLlm);

#[cfg(test)]
mod tests;
