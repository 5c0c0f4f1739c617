//! An auditor must see that no transaction was changed afterwards: each carries a hash of itself and of the one before. A
//! transaction under legal hold outlives every clean-up.

use plinth_block::prelude::*;

struct Compliance;

/// How many of the columns are there. Asked first, since `add column if not exists` locks the table even where they are.
const PRESENT: &str = "select count(*) from pg_attribute where attrelid = to_regclass('transactions') and not attisdropped
    and attname in ('integrity_hash', 'previous_hash', 'legal_hold')";

impl Migration for Compliance {
    fn apply(db: &Db) -> Result<Outcome> {
        if db.query_one::<i64>(PRESENT, &[])? < 3 {
            db.send(
                "alter table transactions
                     add column if not exists integrity_hash varchar(128),
                     add column if not exists previous_hash varchar(128),
                     add column if not exists legal_hold boolean not null default false",
                &[],
            )?;
        }
        if db.query_one("select to_regclass('transactions_integrity_hash_idx') is null", &[])? {
            db.send("create index if not exists transactions_integrity_hash_idx on transactions (integrity_hash)", &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks
            .column(db, "transactions", "integrity_hash", "character varying(128)")?
            .column(db, "transactions", "previous_hash", "character varying(128)")?
            .column(db, "transactions", "legal_hold", "boolean not null default false")?
            .index(
                db,
                "transactions_integrity_hash_idx",
                "CREATE INDEX transactions_integrity_hash_idx ON public.transactions USING btree (integrity_hash)",
            )?;
        Ok(checks)
    }
}

plinth_block::migration!(Compliance);

#[cfg(test)]
mod tests;
