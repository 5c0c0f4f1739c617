//! A migration outside a transaction, as CREATE INDEX CONCURRENTLY demands.
//!
//! The ledger says that it was started before it does anything. A kill leaves an invalid index at worst: before the next run
//! the indexes that the block provides are looked at, and an invalid one is dropped, since CREATE INDEX … IF NOT EXISTS would
//! take it for the real one.

use super::{
    Boot,
    begin::{STILL_THERE_IN_SESSION, named, path, settings},
    milliseconds,
    provides::provided,
    transaction::{compiled, start},
};
use crate::{
    database::{
        around::{Around, PATH, around_query},
        effects::Counters,
        literal, name,
        policy::{Phase, Policy},
        simple::text,
        touched::{Touched, touched_query},
    },
    ledger::Row,
    load::Component,
    lock::Mode,
    report::{BlockReport, ErrorClass, ObjectChange, Outcome, ReportError},
    sandbox::{BlockError, Ended, Running},
};
use plinth_manifest::{Object, TableName};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

impl Boot<'_> {
    /// Runs a migration outside a transaction. `resumed` says that an earlier run did not finish. A pause, if it failed in a
    /// way that may pass: what it left is looked at before it runs again, as after a kill.
    pub(super) async fn outside(
        &self,
        component: &Component,
        resumed: bool,
        report: &mut BlockReport,
        started: Instant,
    ) -> Option<Duration> {
        report.outside = true;
        if resumed {
            report.message = Some("an earlier run did not finish: run again".to_owned());
        }
        let done = self.try_outside(component, report).await;
        report.duration_ms = milliseconds(started);
        let record = match done {
            Ok(()) => {
                report.outcome = Outcome::Applied;
                self.record.rows(&[Row::new(report, Some(component))])
            }
            Err(error) => {
                let again = self.again(component, &error, started);
                if again.is_some() {
                    return again;
                }
                report.error = Some(error);
                self.record.rows(&[Row::new(report, Some(component))])
            }
        };
        if self.walled() || self.connection.client().is_closed() {
            self.connection.end_with("rollback").await;
            if !self.tell(&self.record.guarded(&record)).await {
                report.outcome = Outcome::Failed;
                report.error.get_or_insert(ReportError::new(ErrorClass::Connection, "the outcome cannot be recorded"));
            }
            return None;
        }
        let record = format!("rollback; {}", self.record.guarded(&record));
        if let Err(error) = self.ours.send(&record).await {
            let told = ReportError::of_host(&error, "the outcome cannot be recorded");
            report.outcome = Outcome::Failed;
            report.error.get_or_insert(told);
        }
        None
    }

    async fn try_outside(&self, component: &Component, report: &mut BlockReport) -> Result<(), ReportError> {
        let failed = |doing: &'static str| move |error: tokio_postgres::Error| ReportError::of_host(&error, doing);
        let policy = Arc::new(Policy::new(&component.manifest, &self.record.ledger.schema));
        compiled(&self.sandbox, component).await?;
        let mut running = start(self.ground(), component, policy)?;
        let mark = self.record.guarded(&self.record.started(component));
        self.ours.send(&mark).await.map_err(failed("the start cannot be recorded"))?;
        self.enter_outside(component).await?;
        let indexes: Vec<&TableName> = component
            .manifest
            .provides
            .iter()
            .filter_map(|object| if let Object::Index { name, .. } = object { Some(name) } else { None })
            .collect();
        for index in self.indexes(&indexes, false).await? {
            tracing::warn!(%index, "an invalid index of an earlier run is dropped");
            let drop = format!("drop index concurrently if exists {}.{}", name(&index.schema), name(&index.table));
            self.connection.send(&drop).await.map_err(failed("an invalid index of an earlier run cannot be dropped"))?;
        }
        let before = self.indexes(&indexes, true).await?;
        let entered = self.connection.send(&around_query(false)).await.map_err(failed("the session cannot be looked at"))?;
        let before_work = Around::read(&entered, 0);
        running.session().enter(Phase::Outside, Counters::default());
        running.session().fence(self.ours.clone(), self.record.still());
        let worked = self.work_outside(&mut running, report).await;
        running.session().forget();
        // A statement that did not heed its cancellation has cost us the connection.
        if worked.is_err() && self.connection.client().is_closed() {
            return worked;
        }
        let look = format!("rollback; {PATH}; {}; {}", around_query(false), touched_query());
        let left = self.connection.send(&look).await.map_err(failed("the session cannot be looked at"))?;
        let (after, touched) = (Around::read(&left, 1), Touched::read(&left, 0));
        let path = left.set_from_end(2).first().and_then(|row| text(row, 0));
        let left_otherwise = ReportError::of_around(&before_work, (&after, path), &touched, &self.record.ledger.schema);
        self.leave_outside().await?;
        worked?;
        if let Some(error) = left_otherwise.filter(|_| !self.is_leased()) {
            return Err(error);
        }
        let invalid: Vec<String> = self.indexes(&indexes, false).await?.iter().map(ToString::to_string).collect();
        if !invalid.is_empty() {
            let error = ReportError::new(ErrorClass::PostCondition, format!("index {} is invalid", invalid.join(", ")));
            return Err(error.hint("start again: the host drops it and the block builds it anew"));
        }
        self.as_provided(component).await?;
        let after = self.indexes(&indexes, true).await?;
        let made = after.into_iter().filter(|index| !before.contains(index));
        report.objects =
            made.map(|index| ObjectChange { kind: "index".into(), object: index.to_string(), created: true }).collect();
        Ok(())
    }

    /// What holds for the session while a block runs in it.
    ///
    /// lock_timeout would also end the wait for old snapshots that CONCURRENTLY is made of, so it is off here: the locks that
    /// it takes let everybody work. The statement's time is still limited by the block's.
    async fn enter_outside(&self, component: &Component) -> Result<(), ReportError> {
        let failed = |error| ReportError::of_host(&error, "the session cannot be set up");
        if self.is_leased() {
            let path: Vec<String> = self.host.search_path.split(',').map(|schema| name(schema.trim())).collect();
            let path = path.join(", ");
            // Behind a pooler, what is set for a session is set for a stranger's.
            let ask = format!(
                "begin; set local search_path = {path}; select current_schemas(false)::text; rollback; select current_schemas(false)::text"
            );
            let sets = self.connection.send(&ask).await.map_err(failed)?;
            let wanted = sets.set_from_end(2).first().and_then(|row| text(row, 0));
            if wanted == sets.value() {
                return Ok(());
            }
            let message = format!(
                "outside a transaction the search path cannot be set behind a pooler: it is {}, blocks are to have {}",
                sets.value().unwrap_or("unknown"),
                wanted.unwrap_or("unknown")
            );
            return Err(ReportError::new(ErrorClass::Refused, message)
                .hint("give the host an address without the pooler, or set search_path for the role (ALTER ROLE … SET)"));
        }
        let enter = format!(
            "set search_path = {}; set lock_timeout = 0; set statement_timeout = {}; set {}; {}",
            path(self.host),
            self.host.limits.wall.as_millis(),
            named(self.host, &component.manifest.id),
            STILL_THERE_IN_SESSION
        );
        self.connection.send(&enter).await.map(drop).map_err(failed)
    }

    /// Whether each statement may meet another session.
    fn is_leased(&self) -> bool {
        self.held.is_some_and(|held| held.mode() == Mode::Lease)
    }

    /// Undoes it. DISCARD would also drop what tokio-postgres keeps prepared.
    async fn leave_outside(&self) -> Result<(), ReportError> {
        let leave = if self.is_leased() {
            "rollback".to_owned()
        } else {
            let tidy = self.connection.tidy();
            format!("rollback; reset search_path; reset lock_timeout; reset statement_timeout; reset application_name; {tidy}")
        };
        self.connection.send(&leave).await.map(drop).map_err(|error| ReportError::of_host(&error, "the session cannot be reset"))
    }

    async fn work_outside(&self, running: &mut Running, report: &mut BlockReport) -> Result<(), ReportError> {
        let ended = running.work().await;
        report.statements = running.session().statements();
        let told = |error: &BlockError, running: &mut Running| {
            let current = running.session().current().map(|(number, sql)| (number, sql.to_owned()));
            ReportError::of_block(error, running.failed(), current)
        };
        match ended {
            Ok(Ended::Done(message)) => report.message = message.or(report.message.take()),
            Ok(Ended::Deferred(reason)) => {
                return Err(ReportError::new(
                    ErrorClass::Block,
                    format!("a migration outside a transaction cannot be put off: {reason}"),
                ));
            }
            Err(error) => {
                if matches!(error, BlockError::Timeout(_)) {
                    self.connection.end_with("select").await;
                }
                return Err(told(&error, running));
            }
        }
        let begin = format!("begin read only; {}", settings(self.host));
        self.connection.send(&begin).await.map_err(|error| ReportError::of_host(&error, "BEGIN"))?;
        running.session().enter(Phase::Verify, Counters::default());
        let checks = running.verify().await;
        report.statements = running.session().statements();
        report.journal = running.journal();
        match checks {
            Ok(checks) => ReportError::of_checks(&checks).map_or(Ok(()), Err),
            Err(error) => Err(told(&error, running)),
        }
    }

    /// Compares what the block provides with what is there now. Nothing can be rolled back, but nothing is recorded as applied.
    async fn as_provided(&self, component: &Component) -> Result<(), ReportError> {
        let provides = provided(&component.manifest);
        let ask = format!("{}; {}", settings(self.host), provides.query());
        let sets = self.connection.send(&ask).await;
        let sets = sets.map_err(|error| ReportError::of_host(&error, "what the block provides cannot be looked up"))?;
        ReportError::of_provides(&component.manifest, &provides.read(&sets, 0)).map_or(Ok(()), |error| {
            Err(error.hint("it stays, since the block runs outside a transaction: drop or change it, or correct block.toml, then start again"))
        })
    }

    /// Those of the given indexes that exist and are, or are not, valid.
    async fn indexes(&self, names: &[&TableName], valid: bool) -> Result<Vec<TableName>, ReportError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<String> =
            names.iter().map(|index| format!("({}, {})", literal(&index.schema), literal(&index.table))).collect();
        let query = format!(
            "select n.nspname, c.relname from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
             where (n.nspname, c.relname) in ({}) and i.indisvalid = {valid}",
            wanted.join(", ")
        );
        let sets = self
            .connection
            .send(&query)
            .await
            .map_err(|error| ReportError::of_host(&error, "the indexes cannot be looked up"))?;
        let field = |row: &tokio_postgres::SimpleQueryRow, at| row.try_get(at).ok().flatten().unwrap_or_default().to_owned();
        Ok(sets.last().iter().map(|row| TableName::new(field(row, 0), field(row, 1))).collect())
    }
}
