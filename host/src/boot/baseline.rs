//! The first boot of a database that has been in production: what is there already is recorded as applied, and nothing runs.

use super::{Loaded, begin::settings};
use crate::{
    database::{Connection, catalog::Look},
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Look as LedgerLook, Record, Row},
    lock::{Attempt, Claimant, Claimed, Held, pause},
    plan::{self, Action, Baseline, Plan, PlanError, PlanProblem},
    report::{BlockReport, BootState, Outcome},
};
use plinth_manifest::Kind;
use std::{collections::BTreeSet, sync::Arc, time::Instant};

/// What the ledger says of a block that never ran here.
const ADOPTED: &str = "adopted by baseline";
const ASSUMED: &str = "assumed by baseline";

pub(crate) async fn baseline(host: &Host, assumed: BTreeSet<String>) -> Result<Baseline, BootError> {
    let loaded = Loaded::new(host)?;
    let unknown: Vec<PlanProblem> = assumed
        .iter()
        .filter(|id| !loaded.components.iter().any(|block| block.manifest.id == ***id && block.manifest.kind.runs_once()))
        .map(|id| PlanProblem::Assumed { id: id.clone() })
        .collect();
    if !unknown.is_empty() {
        return Err(PlanError(unknown).into());
    }
    let connection = host.database.connect(&host.connection_name()).await?;
    let (held, known) = lock(host, &connection, &loaded.digest).await?;
    let adopted = adopt(host, &loaded, &connection, &held, &known, &assumed).await;
    held.release().await;
    adopted
}

async fn adopt(
    host: &Host,
    loaded: &Loaded,
    connection: &Connection,
    held: &Held,
    known: &Known,
    assumed: &BTreeSet<String>,
) -> Result<Baseline, BootError> {
    let ledger = &host.ledger;
    let plan = Plan::new(&loaded.components, &loaded.order, known);
    if !plan.steps.iter().any(|step| matches!(step.action, Action::Apply | Action::Resume | Action::Background)) {
        let blocks = plan::baseline(&plan, &loaded.components, &Default::default(), assumed);
        return Ok(Baseline { boot: None, blocks });
    }
    let unwritten = |source| BootError::Ledger(LedgerError::Database { schema: ledger.schema.clone(), doing: "written", source });

    // One transaction from here on: dropping the connection undoes it. The set's digest is not told as it is, since a boot
    // that finds it would think that the rules have run.
    let digest = format!("baseline {}", loaded.digest);
    let opening = ledger.open_boot(&digest, host.build.as_deref(), &host.instance, loaded.components.len());
    let opened = connection.send(&format!("begin; {}; {opening}", settings(host))).await.map_err(unwritten)?;
    let boot = opened.value().and_then(|id| id.parse().ok()).unwrap_or_default();
    let look = Look::new(plan::provided(&plan, &loaded.components));
    let existing = look.read(&connection.send(&look.query()).await.map_err(BootError::Catalog)?, 0);
    let blocks = plan::baseline(&plan, &loaded.components, &existing, assumed);
    let found = Baseline { boot: None, blocks };
    let component = |id: &str| loaded.components.iter().find(|component| component.manifest.id == *id);
    let reports: Vec<BlockReport> = found
        .blocks
        .iter()
        .filter(|block| block.result.is_new())
        .map(|block| {
            let kind = component(&block.id).map_or(Kind::Migration, |component| component.manifest.kind);
            let mut report = BlockReport::new(&block.id, kind, Outcome::Skipped);
            report.message = Some(if block.objects > 0 { ADOPTED } else { ASSUMED }.to_owned());
            report
        })
        .collect();
    if reports.is_empty() {
        connection.send("rollback").await.map_err(unwritten)?;
        return Ok(found);
    }
    let rows: Vec<Row<'_>> = reports.iter().map(|report| Row::new(report, component(&report.id))).collect();
    let adopted: Vec<_> = reports.iter().filter_map(|report| component(&report.id)).collect();
    let state = if found.is_complete() { BootState::Complete } else { BootState::Deferred };
    let record = Record { ledger: ledger.clone(), boot, token: Some(held.token().clone()) };
    let trips = connection.trips().get() + held.round_trips() + 1;
    // Without the lock, a replica may be applying what is about to be recorded.
    let closing = format!(
        "{}; {}; {}; {}; commit",
        record.fence(),
        record.rows(&rows),
        record.adopted(&adopted),
        record.close(state, trips, None)
    );
    connection.send(&closing).await.map_err(unwritten)?;
    Ok(Baseline { boot: Some(boot), ..found })
}

/// Takes the lock of boots. Whoever has it may be applying just what is to be adopted, so nothing is joined.
async fn lock(host: &Host, connection: &Connection, digest: &str) -> Result<(Held, Known), BootError> {
    let ledger = &host.ledger;
    let started = Instant::now();
    let look: LedgerLook = ledger.read_look(connection.ask(&ledger.look_query()).await)?;
    let mut claimant = Claimant::new(host, Arc::new(host.database.connect(&host.connection_name()).await?), look.stands());
    let mut attempt = 0;
    loop {
        match claimant.attempt(&ledger.known_query(digest, true)).await? {
            Attempt::Ours(Claimed { held, read }) => return Ok((held, Known::read(&read, 0))),
            Attempt::Busy { holder } if started.elapsed() > host.lock_deadline => {
                return Err(BootError::Locked { waited: host.lock_deadline, holder });
            }
            Attempt::Busy { holder } if attempt == 0 => host.teller.waiting(holder.as_deref()),
            Attempt::Busy { .. } => {}
        }
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}
