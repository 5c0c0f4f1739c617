//! Some capabilities may be sold directly but not through marketplaces. Everything is eligible until somebody says why not.

use plinth_block::prelude::*;

struct MarketplaceEligible;

/// How many of the columns are there. Asked first, since `add column if not exists` locks the table even where they are.
const PRESENT: &str = "select count(*) from pg_attribute where attrelid = to_regclass('capabilities') and not attisdropped
    and attname in ('marketplace_eligible', 'marketplace_eligible_reason')";

impl Migration for MarketplaceEligible {
    fn apply(db: &Db) -> Result<Outcome> {
        if db.query_one::<i64>(PRESENT, &[])? < 2 {
            db.send(
                "alter table capabilities
                     add column if not exists marketplace_eligible boolean not null default true,
                     add column if not exists marketplace_eligible_reason text",
                &[],
            )?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.column(db, "capabilities", "marketplace_eligible", "boolean not null default true")?;
        checks.column(db, "capabilities", "marketplace_eligible_reason", "text")?;
        Ok(checks)
    }
}

plinth_block::migration!(MarketplaceEligible);

#[cfg(test)]
mod tests;
