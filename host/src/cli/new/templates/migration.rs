//! Why the change is made, for whoever finds the column in a year.

use plinth_block::prelude::*;

struct WantsMail;

impl Migration for WantsMail {
    fn apply(db: &Db) -> Result<Outcome> {
        db.send("alter table customers add column wants_mail boolean not null default false", &[])?;
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.column(db, "customers", "wants_mail", "boolean not null default false")?;
        Ok(checks)
    }
}

plinth_block::migration!(WantsMail);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_do_not_want_mail_until_they_say_so() {
        let database = plinth_test::database!(); // fixtures/*.sql have run in it
        database.apply::<WantsMail>().expect_no_rows().expect_change("column customers.wants_mail is new: boolean not null");
        assert_eq!(database.value("select count(*) from customers where wants_mail").as_deref(), Some("0"));
    }
}
