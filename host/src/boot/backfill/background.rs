//! The backfills that a boot left for later.

use super::{
    super::{
        Boot, LOST, Loaded, Trying, begin::BegunAhead, leaving, milliseconds, open, pass::Pass, planning::known, recall::Recalls,
        roles::connection_of_blocks, sessions::Sessions, settle::Looks, transient,
    },
    alone,
};
use crate::{
    database::{Connection, simple::text},
    error::BootError,
    host::Host,
    ledger::{Known, LedgerError, Record},
    load::Component,
    plan::{Action, Plan, Step},
    report::{BlockReport, BootReport, BootState, Outcome, Report},
};
use plinth_manifest::When;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Runs them, until they are done or `stop` is: then the running batch is cancelled and rolled back.
pub(crate) async fn background_until(host: &Host, stop: impl Future<Output = ()>) -> Result<Report, BootError> {
    leaving(host, stop, trying).await
}

fn trying(host: Host, pass: Arc<Pass>) -> Trying {
    Box::pin(async move { tries(&host, &pass).await })
}

/// Tries until they are done, or fail in a way that will not pass.
async fn tries(host: &Host, pass: &Pass) -> Result<Report, BootError> {
    let loading = host.clone();
    let loading = tokio::task::spawn_blocking(move || Loaded::new(&loading));
    let loaded = loading.await.map_err(|_| BootError::Interrupted(None))??;
    let mut background = Background {
        host,
        loaded: &loaded,
        pass,
        started: Instant::now(),
        boot: None,
        trips: 0,
        role: None,
        reports: Vec::new(),
    };
    if !loaded.components.iter().any(|component| component.manifest.when == When::Background) {
        return background.ended();
    }
    loop {
        background.reports.clear();
        let error = match background.attempt().await {
            Ok(report) => return Ok(report),
            Err(error) => error,
        };
        let cause = transient::of_a_boot(&error);
        let Some(pause) = cause.and_then(|cause| pass.again(None, cause, Duration::ZERO)) else {
            return Err(pass.given_up(error));
        };
        pass.ended();
        tokio::time::sleep(pause).await;
    }
}

/// The backfills of a host, behind a boot.
struct Background<'a> {
    host: &'a Host,
    loaded: &'a Loaded,
    pass: &'a Pass,
    started: Instant,
    /// The boot that left them, which their outcomes are recorded under.
    boot: Option<i64>,
    trips: u64,
    /// The role that blocks ran as, if they have one of their own.
    role: Option<String>,
    reports: Vec<BlockReport>,
}

impl Background<'_> {
    /// One try, on one connection: all that are not done yet.
    async fn attempt(&mut self) -> Result<Report, BootError> {
        let connection = Arc::new(self.host.database.connect(&self.host.connection_name()).await?);
        self.pass.connected(&connection);
        let ledger = known(self.host, &connection, &self.loaded.digest).await?;
        let plan = Plan::new(&self.loaded.components, &self.loaded.order, &ledger);
        for step in plan.steps.iter().filter(|step| step.action == Action::Background) {
            let Some(component) = self.loaded.components.get(step.component) else { continue };
            let report = match waits(component, self.loaded, &ledger) {
                Some(before) => {
                    let mut report = BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Skipped);
                    report.message = Some(format!("waits for {before}, which was not applied yet"));
                    report
                }
                None => self.run(component, step, &plan, &connection).await?,
            };
            self.reports.push(report);
        }
        self.trips += connection.trips().get();
        self.ended()
    }

    async fn run(
        &mut self,
        component: &Component,
        step: &Step,
        plan: &Plan,
        connection: &Arc<Connection>,
    ) -> Result<BlockReport, BootError> {
        let (host, manifest) = (self.host, &component.manifest);
        let began = Instant::now();
        let mut report = BlockReport::new(&manifest.id, manifest.kind, Outcome::Failed);
        let Some(held) = alone(host, component, None).await? else {
            report.outcome = Outcome::Joined;
            report.duration_ms = milliseconds(began);
            return Ok(report);
        };
        let unreadable =
            |source| BootError::Ledger(LedgerError::Database { schema: host.ledger.schema.clone(), doing: "read", source });
        let last = connection.send(&host.ledger.last_boot_query(&manifest.id)).await.map_err(unreadable)?;
        let number = |place| last.last().first().and_then(|row| text(row, place)).and_then(|text| text.parse::<i64>().ok());
        self.boot = number(0);
        report.attempts = number(1).and_then(|attempt| attempt.try_into().ok()).unwrap_or(1);
        let token = Some(held.token().clone());
        let blocks = connection_of_blocks(host, connection).await?;
        self.pass.runs_on(&blocks);
        let record = Record { ledger: host.ledger.clone(), boot: self.boot.unwrap_or_default(), token };
        let sessions = Sessions { ours: connection.clone(), blocks: blocks.clone() };
        let preparing = open::prepare(host, &sessions, &held, &[component]);
        let questions = open::with_provided(host, preparing, &blocks, &[component]).done().await;
        let questions = questions.map_err(|error| open::unprepared(host, error))?;
        let boot = Boot {
            host,
            loaded: self.loaded,
            pass: self.pass,
            plan: plan.clone(),
            held: Some(&held),
            connection: blocks.clone(),
            ours: connection.clone(),
            record,
            // A cache that cannot be trusted is refused.
            sandbox: host.sandbox()?,
            questions,
            once_complete: false,
            started: began,
            reports: Vec::new(),
            looks: Looks::default(),
            recalls: Recalls::default(),
            begun: BegunAhead::default(),
            closed: Default::default(),
        };
        self.role = boot.blocks_role();
        host.teller.block(&manifest.id, 0);
        let lost = tokio::select! {
            () = boot.backfill_alone(component, step, &held, &mut report, began) => None,
            why = held.lost() => Some(why),
        };
        report.duration_ms = milliseconds(began);
        self.trips += held.round_trips();
        drop(boot);
        if let Some(why) = lost {
            // The batch that ran was not committed, and nothing more is written.
            let _ = tokio::time::timeout(LOST, blocks.canceller().cancel()).await;
            blocks.give_up();
            return Err(BootError::LockLost(why));
        }
        held.release().await;
        host.teller.ended(&report);
        Ok(report)
    }

    fn ended(&self) -> Result<Report, BootError> {
        let any = |outcome| self.reports.iter().any(|report| report.outcome == outcome);
        let state = match (any(Outcome::Failed), any(Outcome::Deferred) || any(Outcome::Skipped)) {
            (true, _) => BootState::Failed,
            (_, true) => BootState::Deferred,
            _ => BootState::Complete,
        };
        let ran = |report: &&BlockReport| !matches!(report.outcome, Outcome::Skipped | Outcome::Joined);
        let report = Report {
            boot: BootReport {
                id: self.boot,
                duration_ms: milliseconds(self.started),
                round_trips: self.trips,
                build: self.host.build.clone(),
                found: self.loaded.components.len(),
                ran: self.reports.iter().filter(ran).count(),
                skipped: self.reports.iter().filter(|report| report.outcome == Outcome::Skipped).count(),
                retries: self.pass.retries(),
                blocks_role: self.role.clone(),
                ..BootReport::new(state)
            },
            blocks: self.reports.clone(),
        };
        if state == BootState::Failed { Err(BootError::Failed(Box::new(report))) } else { Ok(report) }
    }
}

/// A block that must be applied before this one and is not.
fn waits(component: &Component, loaded: &Loaded, ledger: &Known) -> Option<String> {
    let manifest = &component.manifest;
    let applied = |id: &str| ledger.get(id).is_some_and(|entry| entry.applied);
    let others = loaded.components.iter().map(|other| &other.manifest);
    let mut before = others.filter(|other| other.kind.runs_once() && other.id != manifest.id && manifest.needs(other));
    before.find(|other| !applied(&other.id)).map(|other| other.id.to_string())
}
