//! What is written into the ledger. One literal carries all of it, so that it rides with COMMIT.

use super::{FORMAT, Ledger, Recall, Token};
use crate::{
    database::literal,
    load::Component,
    report::{BlockReport, BootState, JournalLine, Lock, ObjectChange, ReportError, RowCounts},
};
use plinth_manifest::Manifest;
use serde::Serialize;
use std::collections::BTreeMap;

/// A row of `outcomes`, and what it means for `blocks`.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    id: &'a str,
    kind: &'static str,
    title: &'a str,
    team: Option<&'a str>,
    /// None if the component is gone.
    digest: Option<String>,
    /// So that a later boot knows what a block was whose component is gone.
    manifest: Option<&'a Manifest>,
    outcome: &'static str,
    duration_ms: f64,
    attempt: u32,
    statements: u64,
    rows: &'a BTreeMap<String, RowCounts>,
    objects: &'a [ObjectChange],
    locks: &'a [Lock],
    message: Option<&'a str>,
    error: Option<&'a ReportError>,
    journal: &'a [JournalLine],
    recall: Option<&'a Recall>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(report: &'a BlockReport, component: Option<&'a Component>) -> Row<'a> {
        let manifest = component.map(|component| &component.manifest);
        Row {
            id: &report.id,
            kind: report.kind.as_str(),
            title: manifest.map_or("", |manifest| &manifest.title),
            team: manifest.and_then(|manifest| manifest.team.as_deref()),
            digest: component.map(|component| component.digest.to_string()),
            manifest,
            outcome: report.outcome.as_str(),
            duration_ms: report.duration_ms,
            attempt: report.attempts,
            statements: report.statements,
            rows: &report.rows,
            objects: &report.objects,
            locks: &report.locks,
            message: report.message.as_deref(),
            error: report.error.as_ref(),
            journal: &report.journal,
            recall: report.recall.as_deref(),
        }
    }
}

/// A boot that is being recorded.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) ledger: Ledger,
    pub(crate) boot: i64,
    /// None in a rehearsal, which records nothing.
    pub(crate) token: Option<Token>,
}

impl Ledger {
    /// Opens a boot; its row has the boot's id. What a killed runner left as running is told as interrupted: under the
    /// lock nobody else runs.
    pub(crate) fn open_boot(&self, digest: &str, build: Option<&str>, instance: &str, found: usize) -> String {
        let (schema, application) = (self.quoted(), self.application());
        let build = build.map_or_else(|| "null".to_owned(), literal);
        format!(
            "update {schema}.boots set state = 'interrupted', finished = clock_timestamp() where application = {application} and state = 'running';
             insert into {schema}.boots (application, state, set_digest, host_version, build, instance, found)
             values ({application}, 'running', {}, {}, {build}, {}, {found}) returning id",
            literal(digest),
            literal(env!("CARGO_PKG_VERSION")),
            literal(instance),
        )
    }

    /// Moves a block's history to its new id.
    pub(crate) fn rename(&self, from: &str, to: &str) -> String {
        let (schema, application, from, to) = (self.quoted(), self.application(), literal(from), literal(to));
        format!(
            "update {schema}.blocks set id = {to}, renamed_from = {from} where application = {application} and id = {from};
             update {schema}.outcomes o set block = {to} from {schema}.boots b where b.id = o.boot and b.application = {application} and o.block = {from};
             update {schema}.backfills set id = {to} where application = {application} and id = {from}"
        )
    }

    /// The id of the last boot, and the next attempt of a block in it.
    pub(crate) fn last_boot_query(&self, block: &str) -> String {
        let (schema, application, block) = (self.quoted(), self.application(), literal(block));
        format!(
            "select b.id, coalesce((select max(attempt) + 1 from {schema}.outcomes o where o.boot = b.id and o.block = {block}), 1)
             from {schema}.boots b where b.application = {application} order by b.id desc limit 1"
        )
    }

    /// What writes rows of a boot. They are given as JSON, and both by an expression.
    pub(crate) fn write(&self, rows: &str, boot: &str) -> String {
        let (schema, application) = (self.quoted(), self.application());
        format!(
            "with r as (
                select * from jsonb_to_recordset({rows}::jsonb) as r (id text, kind text, title text, team text, digest text, manifest jsonb, outcome text,
                    duration_ms double precision, attempt integer, statements bigint, rows jsonb, objects jsonb, locks jsonb, message text, error jsonb, journal jsonb, recall jsonb)
             ), o as (
                insert into {schema}.outcomes (boot, block, attempt, outcome, started, duration_ms, statements, rows, objects, locks, message, error, journal)
                select {boot}, id, attempt, outcome, clock_timestamp() - duration_ms * interval '1 millisecond', duration_ms, statements, rows, objects,
                       locks, message, nullif(error, 'null'), journal from r
             )
             insert into {schema}.blocks as b (application, id, kind, title, team, digest, first_applied, last_boot, last_outcome, last_changed,
                                               deferrals, retired_at, manifest, recall)
             select {application}, id, kind, title, team, coalesce(digest, ''),
                    case when outcome in ('applied', 'unchanged') then now() end, {boot}, outcome,
                    case when outcome = 'applied' then now() end, (outcome = 'deferred')::int, case when outcome = 'retired' then now() end,
                    nullif(manifest, 'null'), nullif(recall, 'null')
             from r
             on conflict (application, id) do update set
                kind = excluded.kind,
                title = coalesce(nullif(excluded.title, ''), b.title),
                team = coalesce(excluded.team, b.team),
                digest = case when excluded.last_outcome in ('applied', 'unchanged') then excluded.digest else b.digest end,
                first_applied = coalesce(b.first_applied, excluded.first_applied),
                started = case when excluded.last_outcome in ('applied', 'unchanged') then null else b.started end,
                last_boot = excluded.last_boot,
                last_outcome = excluded.last_outcome,
                last_changed = coalesce(excluded.last_changed, b.last_changed),
                deferrals = case when excluded.last_outcome = 'deferred' then b.deferrals + 1 else 0 end,
                retired_at = excluded.retired_at,
                manifest = coalesce(excluded.manifest, b.manifest),
                recall = coalesce(excluded.recall, b.recall)"
        )
    }

    /// The ids and outcomes of a boot's blocks that ran.
    pub(crate) fn outcomes_query(&self, boot: i64) -> String {
        format!(
            "select block from {}.outcomes where boot = {boot} and outcome in ('applied', 'unchanged', 'deferred')",
            self.quoted()
        )
    }
}

impl Record {
    /// What fails if another runner took over, before COMMIT.
    pub(crate) fn fence(&self) -> String {
        self.token.as_ref().map_or_else(|| "select".to_owned(), Token::fence)
    }

    /// The same, at the begin of a transaction: it holds up nobody.
    pub(crate) fn still(&self) -> String {
        self.token.as_ref().map_or_else(|| "select".to_owned(), Token::still)
    }

    /// A transaction that writes something into the ledger, unless another runner took over.
    pub(crate) fn guarded(&self, statements: &str) -> String {
        self.token.as_ref().map_or_else(|| "select".to_owned(), |token| token.guarded(statements))
    }

    /// The same for what a crash of the server may take back.
    pub(crate) fn guarded_without_waiting(&self, statements: &str) -> String {
        self.token.as_ref().map_or_else(|| "select".to_owned(), |token| token.guarded_without_waiting(statements))
    }

    /// Writes what blocks did.
    pub(crate) fn rows(&self, rows: &[Row<'_>]) -> String {
        if rows.is_empty() { "select".to_owned() } else { self.ledger.write(&literal(&json(rows)), &self.boot.to_string()) }
    }

    /// Marks a migration outside a transaction, or a backfill, as started.
    pub(crate) fn started(&self, component: &Component) -> String {
        let (schema, application, boot) = (self.ledger.quoted(), self.ledger.application(), self.boot);
        let manifest = &component.manifest;
        format!(
            "insert into {schema}.blocks as b (application, id, kind, title, team, digest, started, last_boot, last_outcome)
             values ({application}, {}, {}, {}, {}, {}, now(), {boot}, 'started')
             on conflict (application, id) do update set started = now(), digest = excluded.digest, last_boot = {boot}",
            literal(&manifest.id),
            literal(manifest.kind.as_str()),
            literal(&manifest.title),
            manifest.team.as_deref().map_or_else(|| "null".to_owned(), literal),
            literal(&component.digest.to_string()),
        )
    }

    /// Closes the boot. One that is complete is what the next look finds.
    pub(crate) fn close(&self, state: BootState, round_trips: u64, error: Option<(&str, &ReportError)>) -> String {
        let close = self.ended(state, round_trips, error);
        if state != BootState::Complete {
            return close;
        }
        let (schema, boot) = (self.ledger.quoted(), self.boot);
        format!(
            "{close}; insert into {schema}.look (application, format, boot, digest)
                select {}, {FORMAT}, {boot}, set_digest from {schema}.boots where id = {boot}
                on conflict (application) do update set boot = excluded.boot, digest = excluded.digest",
            self.ledger.application()
        )
    }

    /// Closes a boot that left something for later, so that the next one does not take it for the end of everything.
    pub(crate) fn close_for_now(&self, state: BootState, round_trips: u64) -> String {
        self.ended(state, round_trips, None)
    }

    fn ended(&self, state: BootState, round_trips: u64, error: Option<(&str, &ReportError)>) -> String {
        let (schema, boot) = (self.ledger.quoted(), self.boot);
        let error =
            error.and_then(|(block, error)| serde_json::to_string(&serde_json::json!({ "block": block, "error": error })).ok());
        // Who did not hear that the boot's last block has closed it does not say that it failed.
        let open = if matches!(state, BootState::Failed | BootState::Interrupted) { " and state = 'running'" } else { "" };
        let close = format!(
            "update {schema}.boots set state = {}, finished = clock_timestamp(), round_trips = {round_trips}, error = {} where id = {boot}{open}",
            literal(state.as_str()),
            error.map_or_else(|| "null".to_owned(), |json| format!("{}::jsonb", literal(&json))),
        );
        match &self.token {
            Some(token) => format!("{close}; {}", token.release()),
            None => close,
        }
    }

    /// Notes that blocks whose components were gone are back.
    pub(crate) fn returned(&self, ids: &[&str]) -> String {
        let ids: Vec<String> = ids.iter().map(|id| literal(id)).collect();
        format!(
            "update {}.blocks set retired_at = null where application = {} and id in ({})",
            self.ledger.quoted(),
            self.ledger.application(),
            ids.join(", ")
        )
    }
}

/// Rows as [`Ledger::write`] takes them. A report is made of texts, numbers and lists: it always serialises.
pub(crate) fn json(rows: &[Row<'_>]) -> String {
    serde_json::to_string(rows).unwrap_or_default()
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;
    use crate::{database::Database, host::Host};

    #[tokio::test]
    async fn a_boot_that_is_complete_is_not_told_to_have_failed_and_one_that_failed_too_early_is_complete() {
        let server = crate::embedded::Server::builder().in_memory(true).durable(false).start().expect("a server starts");
        let database = Database::from_url(&server.url("postgres")).expect("its address");
        let connection = database.connect("test").await.expect("it lets us in");
        let ledger = Host::new(database).ledger;
        connection.send(&ledger.create()).await.expect("the ledger is made");
        // Whichever of the two the server gets first: the COMMIT that nobody heard of, or the word that it was lost.
        for states in [[BootState::Complete, BootState::Failed], [BootState::Failed, BootState::Complete]] {
            let opened = connection.send(&ledger.open_boot("digest", None, "instance", 1)).await.expect("it is opened");
            let boot = opened.value().and_then(|id| id.parse().ok()).expect("its number");
            let record = Record { ledger: ledger.clone(), boot, token: None };
            for state in states {
                connection.send(&record.close(state, 1, None)).await.expect("it is closed");
            }
            let state = connection.send(&format!("select state from plinth.boots where id = {boot}")).await.expect("it answers");
            assert_eq!(state.value(), Some("complete"), "{states:?}");
        }
    }
}
