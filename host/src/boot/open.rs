//! What opens a boot that has its plan: its row in the ledger, and the host's questions.

use super::{
    Loaded,
    begin::{STILL_THERE_IN_SESSION, settings_alone},
};
use crate::{
    database::{
        Connection,
        catalog::Classes,
        questions::{For, Questions},
    },
    error::BootError,
    host::Host,
    ledger::{LedgerError, Record},
    load::Component,
    lock::{Held, Mode},
    plan::Plan,
};
use plinth_manifest::Kind;

/// Opens the boot. Nothing of a user's was touched.
pub(super) async fn open(
    host: &Host,
    loaded: &Loaded,
    connection: &Connection,
    held: &Held,
    plan: &Plan,
) -> Result<Record, BootError> {
    let ledger = &host.ledger;
    let unwritten = |source| BootError::Ledger(LedgerError::Database { schema: ledger.schema.clone(), doing: "written", source });
    let renames: String = plan.renamed.iter().map(|(from, to)| format!("{};", ledger.rename(from, to))).collect();
    let opening = ledger.open_boot(&loaded.digest, host.build.as_deref(), &host.instance, loaded.components.len());
    let opening = held.token().guarded_without_waiting(&format!("{renames} {opening}"));
    let opened = connection.send(&opening).await.map_err(unwritten)?;
    let boot = opened.set_from_end(1).first().and_then(|row| row.try_get(0).ok().flatten()).and_then(|id| id.parse().ok());
    Ok(Record { ledger: ledger.clone(), boot: boot.unwrap_or_default(), token: Some(held.token().clone()) })
}

/// The host's questions, prepared for the blocks' session if it is that and nobody else's.
pub(super) async fn questions(
    host: &Host,
    (ours, blocks): (&Connection, &Connection),
    held: &Held,
    pending: &[&Component],
) -> Result<Questions, BootError> {
    if pending.is_empty() || held.mode() == Mode::Lease || !blocks.is_at(&host.database) {
        return Ok(Questions::plain());
    }
    let unprepared =
        |source| BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "asked for", source });
    // A role of the blocks' own cannot ask who the runner is, nor write the ledger.
    let same = std::ptr::eq(blocks, ours);
    let fences = Some(held.token()).filter(|_| same).map(|token| (token.still(), token.fence()));
    // A rule mostly changes nothing, and makes no object.
    let migrates = pending.iter().any(|component| component.manifest.kind != Kind::Rule);
    let write = (same && migrates).then(|| host.ledger.write("$1", "$2::bigint"));
    let to = For {
        settings: &settings_alone(host),
        session: STILL_THERE_IN_SESSION,
        fences: fences.as_ref().map_or(("select", "select"), |(still, fence)| (still, fence)),
        record: write.as_deref(),
        objects: migrates,
        classes: Classes::of(pending.iter().flat_map(|component| &component.manifest.provides)),
    };
    Questions::prepare(blocks, to).await.map_err(unprepared)
}
