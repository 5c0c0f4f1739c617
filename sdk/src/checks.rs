//! Post-conditions: what must be so when a block is done.

use crate::{Db, FromRow, Result, SqlError, ToValue, types::Check};
use std::fmt::Debug;

/// The post-conditions that a block looked at. All of them are told, not only the first that does not hold.
///
/// ```
/// # use plinth_block::prelude::*;
/// # fn f(db: &Db) -> Result<()> {
/// let mut checks = Checks::new();
/// checks
///     .column(db, "runs", "cost", "integer not null default 0")?
///     .no_rows(db, "no run costs less than nothing", "select from runs where cost < 0", &[])?
///     .value(db, "the first run is kept", "select count(*) from runs where id = 1", 1_i64)?;
/// # let held: Vec<bool> = checks.into_list().iter().map(|check| check.held).collect();
/// # assert_eq!(held, [true, false, true]);
/// # Ok(()) }
/// # plinth_test::example("create table runs (id int, cost int not null default 0); insert into runs values (1, 0), (2, -1)", f);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    /// None yet.
    pub fn new() -> Checks {
        Checks::default()
    }

    /// A condition, already looked at. The name is the statement that must be true.
    pub fn that(&mut self, name: impl Into<String>, held: bool) -> &mut Checks {
        self.push(name, held, None)
    }

    /// Two values that must be equal; the report shows both if they are not.
    pub fn equal<T: PartialEq + Debug>(&mut self, name: impl Into<String>, found: T, expected: T) -> &mut Checks {
        let held = found == expected;
        self.push(name, held, (!held).then(|| format!("found {found:?}, expected {expected:?}")))
    }

    /// A query that must find nothing; the report says how many rows it found.
    ///
    /// # Errors
    ///
    /// Those of the query.
    pub fn no_rows(
        &mut self,
        db: &Db,
        name: impl Into<String>,
        query: &str,
        params: &[&dyn ToValue],
    ) -> Result<&mut Checks, SqlError> {
        let count: i64 = db.query_one(&format!("select count(*) from ({query}) as found"), params)?;
        Ok(self.push(name, count == 0, (count != 0).then(|| format!("{count} rows differ"))))
    }

    /// A column that must exist as defined, by the catalog: `character varying(20) not null default 'draft'::character varying`.
    ///
    /// # Errors
    ///
    /// Those of the look into the catalog.
    pub fn column(&mut self, db: &Db, table: &str, column: &str, definition: &str) -> Result<&mut Checks, SqlError> {
        let found: Option<String> = db.query_opt(
            "select format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
                 || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
             from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             where a.attrelid = to_regclass($1) and a.attname = $2 and a.attnum > 0 and not a.attisdropped",
            &[&table, &column],
        )?;
        Ok(self.definition(format!("column {table}.{column} is {definition}"), found, definition))
    }

    /// An index that must exist, be valid, and read as `pg_get_indexdef` prints it.
    ///
    /// # Errors
    ///
    /// Those of the look into the catalog.
    pub fn index(&mut self, db: &Db, index: &str, definition: &str) -> Result<&mut Checks, SqlError> {
        let found: Option<(String, bool)> = db.query_opt(
            "select pg_get_indexdef(indexrelid), indisvalid and indisready from pg_index where indexrelid = to_regclass($1)",
            &[&index],
        )?;
        let valid = found.as_ref().is_none_or(|(_, valid)| *valid);
        self.definition(format!("index {index} is {definition}"), found.map(|(text, _)| text), definition);
        Ok(if valid { self } else { self.push(format!("index {index} is valid"), false, Some("it is invalid".to_owned())) })
    }

    /// Tables, indexes, views or sequences that must exist.
    ///
    /// # Errors
    ///
    /// Those of the look into the catalog.
    pub fn relations(&mut self, db: &Db, names: &[&str]) -> Result<&mut Checks, SqlError> {
        let missing: Vec<String> =
            db.query("select name from unnest($1::text[]) as name where to_regclass(name) is null", &[&names])?;
        let held = missing.is_empty();
        Ok(self.push(format!("{} exist", names.join(", ")), held, (!held).then(|| format!("missing: {}", missing.join(", ")))))
    }

    /// A query with one value that must be the given one.
    ///
    /// # Errors
    ///
    /// Those of the query.
    pub fn value<T>(&mut self, db: &Db, name: &str, query: &str, expected: T) -> Result<&mut Checks, SqlError>
    where
        T: FromRow + PartialEq + Debug,
    {
        let found: T = db.query_one(query, &[])?;
        Ok(self.equal(name, found, expected))
    }

    fn definition(&mut self, name: String, found: Option<String>, expected: &str) -> &mut Checks {
        let held = found.as_deref() == Some(expected);
        let detail = found.map_or_else(|| "it does not exist".to_owned(), |found| format!("it is {found}"));
        self.push(name, held, (!held).then_some(detail))
    }

    fn push(&mut self, name: impl Into<String>, held: bool, detail: Option<String>) -> &mut Checks {
        self.0.push(Check { name: name.into(), held, detail, extra: Vec::new() });
        self
    }

    /// The checks as the contract has them.
    pub fn into_list(self) -> Vec<Check> {
        self.0
    }
}
