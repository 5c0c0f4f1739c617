//! Where the history of the database begins: an empty one gets the tables that the service had before its first block, and one
//! that is in production finds them present and is only looked at.

use plinth_block::prelude::*;

struct Baseline;

const TABLES: &str = include_str!("../tables.sql");
const COLUMNS: &str = include_str!("../columns.txt");
const INDEXES: [(&str, &str); 4] = [
    ("test_suites", "capability_slug"),
    ("test_results", "capability_slug"),
    ("test_results", "executed_at"),
    ("test_results", "test_suite_id"),
];

impl Migration for Baseline {
    fn apply(db: &Db) -> Result<Outcome> {
        for statement in TABLES.split_terminator(";\n") {
            db.send(statement, &[])?;
        }
        for (table, column) in INDEXES {
            // `if not exists` alone would wait for every open write to the table.
            if db.query_one("select to_regclass($1) is null", &[&format!("{table}_{column}_idx")])? {
                db.send(&format!("create index {table}_{column}_idx on {table} ({column})"), &[])?;
            }
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        for (name, definition) in COLUMNS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')) {
            let (table, column) = name.split_once('.').unwrap_or((name, ""));
            checks.column(db, table, column, definition)?;
        }
        for table in ["capabilities", "test_suites", "test_run_log", "test_results", "transactions"] {
            checks.index(
                db,
                &format!("{table}_pkey"),
                &format!("CREATE UNIQUE INDEX {table}_pkey ON public.{table} USING btree (id)"),
            )?;
        }
        for (table, column) in INDEXES {
            let index = format!("{table}_{column}_idx");
            checks.index(db, &index, &format!("CREATE INDEX {index} ON public.{table} USING btree ({column})"))?;
        }
        // By definition, since databases differ in the names.
        for (table, definition) in [
            ("capabilities", "UNIQUE (slug)"),
            ("test_results", "FOREIGN KEY (test_suite_id) REFERENCES test_suites(id) ON DELETE CASCADE"),
            ("transactions", "FOREIGN KEY (capability_id) REFERENCES capabilities(id)"),
        ] {
            let exists = "select exists (select from pg_constraint
                where conrelid = to_regclass($1) and convalidated and pg_get_constraintdef(oid) = $2)";
            checks.that(format!("{table}: {definition}"), db.query_one(exists, &[&table, &definition])?);
        }
        Ok(checks)
    }
}

plinth_block::migration!(Baseline);

#[cfg(test)]
mod tests;
