//! What is in a database, and what differs between two moments of it.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Tables with more rows than this are compared by a digest of their rows.
const MOST_ROWS: u32 = 20_000;

/// Rows of one table that a difference shows, and the most of each in characters.
const SHOWN: usize = 5;
const SHOWN_CHARACTERS: usize = 300;

/// Everything in a database but the ledger of a host: every definition and every row. Where sequences stand is not part of it,
/// since PostgreSQL rolls no sequence back.
///
/// Any client can take one: it sends [`Snapshot::statements`] and reads three text columns with [`Snapshot::read`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// How each object is defined, by what it is.
    definitions: BTreeMap<String, String>,
    tables: BTreeMap<String, Table>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    /// The columns of its primary key.
    key: BTreeSet<String>,
    rows: Vec<Map<String, Value>>,
    /// Instead of the rows, if there are many.
    digest: Option<String>,
}

/// Columns that two equal runs fill differently: the clock, random numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsteady(BTreeSet<(String, String)>);

/// What differs between two snapshots, a line each. Shown, it is ready to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference(Vec<String>);

impl Snapshot {
    /// Two statements for one session, outside or inside a transaction: the first makes a temporary function, the second calls it.
    pub fn statements(ledger: &str) -> [String; 2] {
        let ledger = ledger.replace('\'', "''");
        [
            include_str!("snapshot.sql").to_owned(),
            format!("select kind, object, line from pg_temp.plinth_snapshot('{ledger}', {MOST_ROWS})"),
        ]
    }

    /// Reads the rows of the second of [`Snapshot::statements`].
    pub fn read<S: AsRef<str>>(rows: impl IntoIterator<Item = [S; 3]>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for row in rows {
            let [kind, object, line] = row.each_ref().map(AsRef::as_ref);
            if kind == "definition" {
                snapshot.definitions.insert(object.to_owned(), line.to_owned());
                continue;
            }
            let table = snapshot.tables.entry(object.to_owned()).or_default();
            match kind {
                "key" => drop(table.key.insert(line.to_owned())),
                "digest" => table.digest = Some(line.to_owned()),
                _ => table.rows.extend(serde_json::from_str::<Map<String, Value>>(line).ok()),
            }
        }
        snapshot.tables.values_mut().for_each(Table::sort);
        snapshot
    }

    /// What is another way in `later`.
    pub fn difference(&self, later: &Snapshot) -> Difference {
        let mut lines = Vec::new();
        for (object, how) in &self.definitions {
            match later.definitions.get(object) {
                None => lines.push(format!("{object} is gone")),
                Some(now) if now != how => lines.push(format!("{object} was {how}, is {now}")),
                Some(_) => {}
            }
        }
        for (object, how) in later.definitions.iter().filter(|(object, _)| !self.definitions.contains_key(*object)) {
            lines.push(format!("{object} is new: {how}").trim_end_matches([':', ' ']).to_owned());
        }
        let none = Table::default();
        let names: BTreeSet<&String> = self.tables.keys().chain(later.tables.keys()).collect();
        for name in names {
            let (then, now) = (self.tables.get(name).unwrap_or(&none), later.tables.get(name).unwrap_or(&none));
            lines.extend(then.difference(now).into_iter().map(|line| format!("{name}: {line}")));
        }
        Difference(lines)
    }

    /// The columns that are filled differently in two runs of the same work.
    pub fn unsteady(&self, other: &Snapshot) -> Unsteady {
        let mut found = BTreeSet::new();
        for (name, table) in &self.tables {
            let Some(theirs) = other.tables.get(name).filter(|theirs| theirs.rows.len() == table.rows.len()) else { continue };
            let columns: BTreeSet<&String> = table.rows.iter().chain(&theirs.rows).flat_map(Map::keys).collect();
            let differs = |column: &&&String| table.values(column) != theirs.values(column);
            found.extend(columns.iter().filter(differs).map(|column| (name.clone(), (*column).clone())));
        }
        Unsteady(found)
    }

    /// The same without some columns.
    #[must_use]
    pub fn without(mut self, unsteady: &Unsteady) -> Snapshot {
        for (table, column) in &unsteady.0 {
            if let Some(table) = self.tables.get_mut(table) {
                table.key.remove(column);
                table.rows.iter_mut().for_each(|row| drop(row.remove(column)));
                table.sort();
            }
        }
        self
    }
}

impl Unsteady {
    /// The columns, as `table.column`.
    pub fn columns(&self) -> Vec<String> {
        self.0.iter().map(|(table, column)| format!("{table}.{column}")).collect()
    }
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its lines.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Table {
    fn sort(&mut self) {
        self.rows.sort_by_cached_key(text);
    }

    fn values(&self, column: &str) -> Vec<String> {
        let mut values: Vec<String> =
            self.rows.iter().map(|row| row.get(column).map_or_else(String::new, Value::to_string)).collect();
        values.sort_unstable();
        values
    }

    fn difference(&self, later: &Table) -> Vec<String> {
        if self == later {
            return Vec::new();
        }
        if self.digest != later.digest {
            let told = |table: &Table| table.digest.clone().unwrap_or_else(|| format!("{} rows", table.rows.len()));
            return vec![format!("was {}, is {}", told(self), told(later))];
        }
        let (then, now) = (self.by_key(later), later.by_key(self));
        let mut changes = Vec::new();
        for (key, rows) in &then {
            match now.get(key) {
                None => changes.extend(rows.iter().map(|row| format!("row gone {}", shown(row)))),
                Some(others) if rows != others => {
                    changes.extend(
                        rows.iter().zip(others).filter(|(row, other)| row != other).map(|(row, other)| changed(row, other)),
                    );
                    changes.extend(rows.iter().skip(others.len()).map(|row| format!("row gone {}", shown(row))));
                    changes.extend(others.iter().skip(rows.len()).map(|row| format!("row new {}", shown(row))));
                }
                Some(_) => {}
            }
        }
        let new = now.iter().filter(|(key, _)| !then.contains_key(*key));
        changes.extend(new.flat_map(|(_, rows)| rows).map(|row| format!("row new {}", shown(row))));
        let more = changes.len().saturating_sub(SHOWN);
        changes.truncate(SHOWN);
        if more > 0 {
            changes.push(format!("and {more} more rows"));
        }
        changes
    }

    /// Rows by their key; by all of themselves, if there is no key that both know.
    fn by_key(&self, other: &Table) -> BTreeMap<String, Vec<&Map<String, Value>>> {
        let mut rows: BTreeMap<String, Vec<&Map<String, Value>>> = BTreeMap::new();
        for row in &self.rows {
            let key = if self.key.is_empty() || self.key != other.key {
                text(row)
            } else {
                self.key
                    .iter()
                    .map(|column| row.get(column).map_or_else(String::new, Value::to_string))
                    .collect::<Vec<_>>()
                    .join(",")
            };
            rows.entry(key).or_default().push(row);
        }
        rows
    }
}

fn text(row: &Map<String, Value>) -> String {
    serde_json::to_string(row).unwrap_or_default()
}

fn shown(row: &Map<String, Value>) -> String {
    let text = text(row);
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Only what is another way, after the whole row.
fn changed(then: &Map<String, Value>, now: &Map<String, Value>) -> String {
    let columns: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let value = |row: &Map<String, Value>, column: &str| row.get(column).map_or_else(|| "nothing".to_owned(), Value::to_string);
    let changes: Vec<String> = columns
        .into_iter()
        .filter(|column| then.get(*column) != now.get(*column))
        .map(|column| format!("{column} was {}, is {}", value(then, column), value(now, column)))
        .collect();
    format!("{} in row {}", changes.join("; "), shown(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(rows: &[(&str, &str, &str)]) -> Snapshot {
        Snapshot::read(rows.iter().map(|(kind, object, line)| [*kind, *object, *line]))
    }

    #[test]
    fn a_changed_row_is_told_by_its_key() {
        let key = ("key", "t", "id");
        let then = snapshot(&[key, ("row", "t", r#"{"id": 1, "a": 0}"#), ("row", "t", r#"{"id": 2, "a": 0}"#)]);
        let now = snapshot(&[key, ("row", "t", r#"{"id": 2, "a": 5}"#), ("row", "t", r#"{"id": 3, "a": 0}"#)]);
        let difference = then.difference(&now);
        assert_eq!(
            difference.lines(),
            [r#"t: row gone {"a":0,"id":1}"#, r#"t: a was 0, is 5 in row {"a":0,"id":2}"#, r#"t: row new {"a":0,"id":3}"#]
        );
        assert!(then.difference(&then.clone()).is_empty());
    }

    #[test]
    fn a_definition_is_compared_whole() {
        let then = snapshot(&[("definition", "column t.a", "integer"), ("definition", "index i", "CREATE INDEX i")]);
        let now = snapshot(&[("definition", "column t.a", "integer not null"), ("definition", "table u", "")]);
        let said = then.difference(&now).to_string();
        assert_eq!(said, "column t.a was integer, is integer not null\nindex i is gone\ntable u is new");
    }

    #[test]
    fn rows_without_a_key_are_counted_one_by_one() {
        let one = snapshot(&[("row", "t", r#"{"a": 1}"#)]);
        let two = snapshot(&[("row", "t", r#"{"a": 1}"#), ("row", "t", r#"{"a": 1}"#)]);
        assert_eq!(one.difference(&two).lines(), [r#"t: row new {"a":1}"#]);
        assert_eq!(two.difference(&one).lines(), [r#"t: row gone {"a":1}"#]);
    }

    #[test]
    fn what_the_clock_fills_is_left_out() {
        let one = snapshot(&[("key", "t", "id"), ("row", "t", r#"{"id": "x", "a": 1}"#)]);
        let other = snapshot(&[("key", "t", "id"), ("row", "t", r#"{"id": "y", "a": 1}"#)]);
        let unsteady = one.unsteady(&other);
        assert_eq!(unsteady.columns(), ["t.id"]);
        assert!(one.without(&unsteady).difference(&other.without(&unsteady)).is_empty());
    }

    #[test]
    fn many_rows_are_compared_by_their_digest() {
        let then = snapshot(&[("digest", "t", "30000 rows aa")]);
        let now = snapshot(&[("digest", "t", "30000 rows ab")]);
        assert_eq!(then.difference(&now).lines(), ["t: was 30000 rows aa, is 30000 rows ab"]);
    }
}
