//! What the ledger knows of each block.

use super::{Ledger, Recall};
use crate::database::{ResultSets, literal};
use plinth_manifest::{Kind, Object};
use std::collections::BTreeMap;

/// Statements of [`Ledger::known_query`].
pub(crate) const KNOWN: usize = 3;

/// What the ledger knows of the blocks of an application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    entries: BTreeMap<String, Entry>,
    /// Whether a boot with the same set of components was complete before: then this one rolls a release back.
    pub(crate) ran_before: bool,
}

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
    /// What a rule asked when it last found nothing to do.
    pub(crate) recall: Option<Recall>,
}

impl Entry {
    /// Of a migration that was applied, which is all that there is to say of most.
    fn applied(digest: &str) -> Entry {
        Entry {
            kind: Kind::Migration,
            digest: digest.to_owned(),
            applied: true,
            started: false,
            deferrals: 0,
            retired: false,
            recall: None,
        }
    }
}

impl Known {
    pub(crate) fn has(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(id, entry)| (id.as_str(), entry))
    }

    #[cfg(test)]
    pub(crate) fn of(entries: impl IntoIterator<Item = (&'static str, Entry)>) -> Known {
        Known { entries: entries.into_iter().map(|(id, entry)| (id.to_owned(), entry)).collect(), ran_before: false }
    }

    /// Reads the rows of [`Ledger::known_query`].
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Known {
        let entry = |row: &tokio_postgres::SimpleQueryRow| {
            let field = |place| row.try_get(place).ok().flatten();
            let entry = Entry {
                kind: match field(1)? {
                    "rule" => Kind::Rule,
                    "backfill" => Kind::Backfill,
                    _ => Kind::Migration,
                },
                digest: field(2)?.to_owned(),
                applied: field(3)? == "t",
                started: field(4)? == "t",
                deferrals: field(5)?.parse().ok()?,
                retired: field(6)? == "t",
                recall: field(7).and_then(|json| serde_json::from_str(json).ok()),
            };
            Some((field(0)?.to_owned(), entry))
        };
        let applied = |line: &str| {
            let (id, digest) = line.split_once(' ')?;
            Some((id.to_owned(), Entry::applied(digest)))
        };
        let lines = sets.set_from_end(place + 2).first().and_then(|row| row.try_get(0).ok().flatten()).unwrap_or_default();
        let others = sets.set_from_end(place + 1).iter().filter_map(entry);
        Known {
            entries: lines.lines().filter_map(applied).chain(others).collect(),
            ran_before: !sets.set_from_end(place).is_empty(),
        }
    }
}

impl Ledger {
    /// The [`KNOWN`] queries for [`Known`], given the digest of the set that is to run, and whether the ledger has the format of this host.
    /// Migrations that were applied, which is most of a ledger, come as lines of one text, which is less to take apart than a row each.
    pub(crate) fn known_query(&self, digest: &str, stands: bool) -> String {
        let (schema, application) = (self.quoted(), self.application());
        let applied =
            "kind = 'migration' and first_applied is not null and started is null and deferrals = 0 and retired_at is null";
        // A ledger of format 4 has no such column. Where it is known to be there, naming it is cheaper.
        let recall = if stands { "recall" } else { "to_jsonb(b) -> 'recall'" };
        format!(
            "select string_agg(id || ' ' || digest, e'\n') from {schema}.blocks where application = {application} and {applied};
             select id, kind, digest, first_applied is not null, started is not null, deferrals, retired_at is not null, {recall}
             from {schema}.blocks b where application = {application} and ({applied}) is not true;
             select 1 from {schema}.boots where application = {application} and set_digest = {} and state in ('complete', 'deferred') limit 1",
            literal(digest)
        )
    }

    /// What blocks provided, by the manifests that they had: for [`Provided`].
    pub(crate) fn provided_query<'a>(&self, ids: impl Iterator<Item = &'a str>) -> String {
        let ids = ids.map(literal).collect::<Vec<_>>().join(", ");
        let (schema, application) = (self.quoted(), self.application());
        format!("select id, manifest -> 'provides' from {schema}.blocks where application = {application} and id in ({ids})")
    }
}

/// What blocks provided whose components are gone, by their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Provided(BTreeMap<String, Vec<Object>>);

impl Provided {
    /// Reads the rows of [`Ledger::provided_query`].
    pub(crate) fn read(sets: &ResultSets) -> Provided {
        let provided = |row: &tokio_postgres::SimpleQueryRow| {
            let field = |place| row.try_get(place).ok().flatten();
            // A manifest of a newer host may name what this one does not know.
            let objects = field(1).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
            Some((field(0)?.to_owned(), objects))
        };
        Provided(sets.last().iter().filter_map(provided).collect())
    }

    /// What one provided.
    pub(crate) fn by(&self, id: &str) -> &[Object] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}
