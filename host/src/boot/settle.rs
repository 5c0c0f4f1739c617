//! The end of a boot: the post-conditions once more, of every rule and of the migrations that this boot applied. A rule's own
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
use std::sync::Arc;

impl Boot<'_> {
    /// Looks once more, in one read-only transaction. The error names the block.
    pub(super) async fn settle(&self) -> Result<(), (String, ReportError)> {
        let ran: Vec<&str> = self
            .reports
            .iter()
            .filter(|report| matches!(report.outcome, Outcome::Applied | Outcome::Unchanged))
            .map(|report| report.id.as_str())
            .collect();
        let changed = self.reports.iter().filter(|report| report.outcome == Outcome::Applied).count();
        // Every block looked right before its COMMIT; if none changed anything, nothing can have changed since.
        if ran.len() < 2 || changed == 0 {
            return Ok(());
        }
        let broken = |id: &str, error: ReportError| (id.to_owned(), error);
        let first = ran.first().copied().unwrap_or_default();
        let begin = format!("begin read only; {}", settings(self.host));
        self.connection.send(&begin).await.map_err(|error| broken(first, ReportError::of_host(&error, "BEGIN")))?;
        let looked = self.look_again(&ran).await;
        if let Err(error) = self.connection.send("rollback").await {
            looked?;
            return Err(broken(first, ReportError::of_host(&error, "ROLLBACK")));
        }
        looked
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
