//! What the ledger knows of each block.

use super::Ledger;
use crate::database::ResultSets;
use plinth_manifest::Kind;
use std::collections::BTreeMap;

/// What the ledger knows of the blocks of an application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(BTreeMap<String, Entry>);

/// What it knows of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// SHA-256 of the component that ran, in hexadecimal.
    pub(crate) digest: String,
    /// Whether it ever ran to its end.
    pub(crate) applied: bool,
    /// Whether it was started outside a transaction and did not finish.
    pub(crate) started: bool,
    /// Deferrals in a row.
    pub(crate) deferrals: u32,
    /// Whether its component is gone.
    pub(crate) retired: bool,
}

impl Known {
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Entry> {
        self.0.get(id)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(id, entry)| (id.as_str(), entry))
    }

    #[cfg(test)]
    pub(crate) fn of(entries: impl IntoIterator<Item = (&'static str, Entry)>) -> Known {
        Known(entries.into_iter().map(|(id, entry)| (id.to_owned(), entry)).collect())
    }

    /// Reads the rows of [`Ledger::known_query`].
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Known {
        let entry = |row: &tokio_postgres::SimpleQueryRow| {
            let field = |place| row.try_get(place).ok().flatten();
            let entry = Entry {
                kind: if field(1)? == "rule" { Kind::Rule } else { Kind::Migration },
                digest: field(2)?.to_owned(),
                applied: field(3)? == "t",
                started: field(4)? == "t",
                deferrals: field(5)?.parse().ok()?,
                retired: field(6)? == "t",
            };
            Some((field(0)?.to_owned(), entry))
        };
        Known(sets.set_from_end(place).iter().filter_map(entry).collect())
    }
}

impl Ledger {
    /// The query for [`Known`].
    pub(crate) fn known_query(&self) -> String {
        format!(
            "select id, kind, digest, first_applied is not null, started is not null, deferrals, retired_at is not null
             from {}.blocks where application = {}",
            self.quoted(),
            self.application()
        )
    }
}
