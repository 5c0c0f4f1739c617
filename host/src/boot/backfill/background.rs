//! The backfills that a boot left for later.

use super::{
    super::{Boot, Leaving, Loaded, milliseconds, preview::known},
    alone,
};
use crate::{
    database::session::SETUP,
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Record},
    load::Component,
    plan::{Action, Plan},
    report::{BlockReport, BootReport, BootState, Outcome, Report},
};
use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

/// Runs them, until they are done or `stop` is: then the running batch is cancelled and rolled back.
pub(crate) async fn background_until(host: &Host, stop: impl Future<Output = ()>) -> Result<Report, BootError> {
    let mut leaving = Leaving(OnceLock::new());
    let done = tokio::select! {
        done = background(host, &leaving) => done,
        () = stop => {
            if let Some(canceller) = leaving.0.get() {
                canceller.cancel().await;
            }
            Err(BootError::Interrupted)
        }
    };
    leaving.0.take();
    done
}

async fn background(host: &Host, leaving: &Leaving) -> Result<Report, BootError> {
    let loading = host.clone();
    let loaded = tokio::task::spawn_blocking(move || Loaded::new(&loading)).await.map_err(|_| BootError::Interrupted)??;
    let started = Instant::now();
    let mut reports = Vec::new();
    let mut trips = 0;
    let mut last_boot = None;
    if loaded.components.iter().any(|component| component.manifest.when == plinth_manifest::When::Background) {
        let connection = Arc::new(host.database.connect(&host.connection_name()).await?);
        let _ = leaving.0.set(connection.canceller());
        let broken =
            |source| BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "read", source });
        connection.send(SETUP).await.map_err(broken)?;
        let ledger = known(host, &connection, &loaded.digest).await?;
        let plan = Plan::new(&loaded.components, &loaded.order, &ledger);
        for step in plan.steps.iter().filter(|step| step.action == Action::Background) {
            let Some(component) = loaded.components.get(step.component) else { continue };
            let manifest = &component.manifest;
            let mut report = BlockReport::new(&manifest.id, manifest.kind, Outcome::Failed);
            if let Some(before) = waits(component, &loaded, &ledger) {
                report.outcome = Outcome::Skipped;
                report.message = Some(format!("waits for {before}, which was not applied yet"));
                reports.push(report);
                continue;
            }
            let began = Instant::now();
            match alone(host, component, None).await? {
                None => report.outcome = Outcome::Joined,
                Some(held) => {
                    let last = connection.send(&host.ledger.last_boot_query()).await.map_err(broken)?;
                    last_boot = last.value().and_then(|id| id.parse().ok());
                    // A cache that cannot be trusted is refused.
                    let sandbox = host.sandbox()?;
                    let record = Record { ledger: host.ledger.clone(), boot: last_boot.unwrap_or_default() };
                    let boot = Boot {
                        host,
                        loaded: &loaded,
                        plan: plan.clone(),
                        held: Some(&held),
                        connection: connection.clone(),
                        record,
                        sandbox,
                        started,
                        reports: Vec::new(),
                    };
                    host.teller.block(&manifest.id, 0);
                    boot.backfill_alone(component, step, &held, &mut report, began).await;
                    host.teller.ended(&report);
                    trips += held.round_trips();
                }
            }
            report.duration_ms = milliseconds(began);
            reports.push(report);
        }
        trips += connection.trips().get();
    }
    let any = |outcome| reports.iter().any(|report: &BlockReport| report.outcome == outcome);
    let state = match (any(Outcome::Failed), any(Outcome::Deferred) || any(Outcome::Skipped)) {
        (true, _) => BootState::Failed,
        (_, true) => BootState::Deferred,
        _ => BootState::Complete,
    };
    let report = Report {
        boot: BootReport {
            id: last_boot,
            state,
            duration_ms: milliseconds(started),
            round_trips: trips,
            build: host.build.clone(),
            found: loaded.components.len(),
            ran: reports.iter().filter(|report| !matches!(report.outcome, Outcome::Skipped | Outcome::Joined)).count(),
            skipped: reports.iter().filter(|report| report.outcome == Outcome::Skipped).count(),
            notes: Vec::new(),
        },
        blocks: reports,
    };
    if state == BootState::Failed { Err(BootError::Failed(Box::new(report))) } else { Ok(report) }
}

/// A block that must be applied before this one and is not.
fn waits(component: &Component, loaded: &Loaded, ledger: &Known) -> Option<String> {
    let manifest = &component.manifest;
    let applied = |id: &str| ledger.get(id).is_some_and(|entry| entry.applied);
    let others = loaded.components.iter().map(|other| &other.manifest);
    let mut before = others.filter(|other| other.kind.runs_once() && other.id != manifest.id && manifest.needs(other));
    before.find(|other| !applied(&other.id)).map(|other| other.id.to_string())
}
