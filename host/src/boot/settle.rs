//! The end of a boot: a second pass of the rules that must change nothing, and the post-conditions once more, of every rule and of the migrations that this boot applied. A rule's own
//! look came right after its own write; what a later block undid shows only here.

use super::{
    Boot,
    transaction::{settings, start},
};
use crate::{
    database::{
        effects::Counters,
        policy::{Phase, Policy},
    },
    report::{ErrorClass, Outcome, ReportError},
};
use plinth_manifest::Kind;
use std::sync::Arc;

impl Boot<'_> {
    /// Lets everything settle. The error names the block.
    pub(super) async fn settle(&self) -> Result<(), (String, ReportError)> {
        let ran: Vec<&str> = self
            .reports
            .iter()
            .filter(|report| matches!(report.outcome, Outcome::Applied | Outcome::Unchanged))
            .map(|report| report.id.as_str())
            .collect();
        let changed = self.reports.iter().filter(|report| report.outcome == Outcome::Applied).count();
        // Every block looked right before its COMMIT; if none changed anything, nothing can have changed since.
        if changed == 0 {
            return Ok(());
        }
        let broken = |id: &str, error: ReportError| (id.to_owned(), error);
        let first = ran.first().copied().unwrap_or_default();
        let begin = format!("begin isolation level read committed read write; {}", settings(self.host));
        self.connection.send(&begin).await.map_err(|error| broken(first, ReportError::of_host(&error, "BEGIN")))?;
        let looked = self.settled(&ran).await;
        if !self.connection.end_with("rollback").await {
            looked?;
            return Err(broken(first, ReportError::new(ErrorClass::Connection, "the end of the boot cannot be rolled back")));
        }
        looked
    }

    /// The second pass, if a rule changed rows, and then the look, both in one transaction that is rolled back.
    pub(super) async fn settled(&self, ids: &[&str]) -> Result<(), (String, ReportError)> {
        if self.reports.iter().any(|report| report.kind == Kind::Rule && report.outcome == Outcome::Applied) {
            self.second_pass().await?;
        }
        let first = ids.first().copied().unwrap_or_default();
        self.connection
            .send("set transaction read only")
            .await
            .map_err(|error| (first.to_owned(), ReportError::of_host(&error, "the end of the boot")))?;
        self.look_again(ids).await
    }

    async fn look_again(&self, ids: &[&str]) -> Result<(), (String, ReportError)> {
        for id in ids {
            let Some(component) = self.component(id) else { continue };
            let policy = Arc::new(Policy::new(&component.manifest, &self.record.ledger.schema));
            let told = |error| ((*id).to_owned(), error);
            let mut running = start(self, component, policy, &self.connection).map_err(told)?;
            running.session().enter(Phase::Verify, Counters::default());
            let checks = running.verify().await.map_err(|error| {
                let failed = running.failed();
                told(ReportError::of_block(&error, failed, None))
            })?;
            if let Some(mut error) = ReportError::of_checks(&checks) {
                error.class = ErrorClass::PostCondition;
                return Err(told(error.hint(
                    "it held right after the block and does not at the end of the boot: another block of this boot undid it",
                )));
            }
        }
        Ok(())
    }
}
