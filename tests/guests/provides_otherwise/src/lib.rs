//! Case 18: each mistake is one that a check of column names does not see.

use plinth_block::prelude::*;

struct ProvidesOtherwise;

impl Migration for ProvidesOtherwise {
    fn apply(db: &Db) -> Result<Outcome> {
        let mistake: String = db.query_one("select mistake from choice", &[])?;
        let or = |name: &str, right: &'static str, wrong: &'static str| if mistake == name { wrong } else { right };
        let statements = [
            format!(
                "create table w (amount {} {} default {}, state varchar(20) not null default 'new' {}) partition by list (state)",
                or("type", "numeric(10,2)", "integer"),
                or("nullable", "not null", ""),
                or("default", "0", "1"),
                or("missing constraint", ", constraint w_positive check (amount >= 0)", ""),
            ),
            // An index of the parent alone is invalid until each partition has its own.
            "create table w_new partition of w for values in ('new')".to_owned(),
            format!(
                "create {} index w_key on {} w (state, amount {}) {}",
                or("unique", "unique", ""),
                or("invalid", "", "only"),
                or("order", "desc", "asc"),
                or("predicate", "where amount > 0", ""),
            ),
            "create index w_lower on w (lower(state))".to_owned(),
            or("kind", "create view w_open as select amount from w", "create table w_open (amount int)").to_owned(),
            "create sequence w_numbers".to_owned(),
            "create function w_touch() returns trigger language plpgsql as $$ begin return new; end $$".to_owned(),
            format!(
                "create trigger w_touch after update on {} for each row execute function w_touch()",
                or("trigger", "w", "w_new")
            ),
            format!("create type w_mood as enum ('sad'{})", or("value", ", 'happy'", "")),
        ];
        for statement in statements {
            db.execute(&statement, &[])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        // What the old check looked at: that the names are there.
        checks.relations(db, &["w", "w_key"])?;
        Ok(checks)
    }
}

plinth_block::migration!(ProvidesOtherwise);
