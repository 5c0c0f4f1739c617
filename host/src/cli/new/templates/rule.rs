//! Why the rule is there, and when it can go: deleting its component removes it.

use plinth_block::prelude::*;

struct NoAddressNoMail;

/// The rows that are not as they should be.
const DRIFT: &str = "wants_mail and email is null";

impl Rule for NoAddressNoMail {
    fn reconcile(db: &Db) -> Result<Outcome> {
        // Looks before it writes: an UPDATE that finds no row still locks its table.
        if db.query_one(&format!("select exists (select from customers where {DRIFT})"), &[])? {
            db.send(&format!("update customers set wants_mail = false where {DRIFT}"), &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "nobody without an address is sent mail", &format!("select id from customers where {DRIFT}"), &[])?;
        Ok(checks)
    }
}

plinth_block::rule!(NoAddressNoMail);

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_test::updated;

    #[test]
    fn who_has_no_address_is_sent_no_mail() {
        let database = plinth_test::database!(); // fixtures/*.sql have run in it
        database.reconcile::<NoAddressNoMail>().expect_rows("customers", updated(1));
        database.reconcile::<NoAddressNoMail>().expect_nothing();
    }
}
