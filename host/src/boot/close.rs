//! What closes a boot that did all of its work: it rides with the COMMIT of the last block, or comes after what settles.

use super::Boot;
use crate::{
    ledger::Row,
    plan::{Action, Step},
    report::{BlockReport, BootState, Outcome},
};
use plinth_manifest::Kind;

/// What is written at the end.
pub(super) struct Closing {
    pub(super) state: BootState,
    /// Everything that was not recorded before, and that the boot is over.
    pub(super) statements: String,
    /// The blocks whose components are gone since the boot before.
    pub(super) retired: Vec<BlockReport>,
}

impl Boot<'_> {
    /// What closes the boot after what was reported, and after a `last` block that is about to commit. What changed nothing is recorded here,
    /// all in one.
    pub(super) fn closing(&self, last: Option<&BlockReport>) -> Closing {
        let retired: Vec<BlockReport> =
            self.plan.retired.iter().map(|(id, kind)| BlockReport::new(id, *kind, Outcome::Retired)).collect();
        let all = || self.reports.iter().chain(last).chain(&retired);
        let state = if all().any(|report| report.outcome == Outcome::Deferred || report.waits) {
            BootState::Deferred
        } else {
            BootState::Complete
        };
        // Until it is done, every boot has something to do, or at least to leave for later.
        let more = all().any(|report| report.outcome == Outcome::Background);
        let late = all().filter(|report| matches!(report.outcome, Outcome::Unchanged | Outcome::Retired));
        let rows: Vec<Row<'_>> = late.map(|report| Row::new(report, self.component(&report.id))).collect();
        let returned: Vec<&str> = self
            .plan
            .steps
            .iter()
            .filter(|step| step.returns && step.action == Action::Skip)
            .filter_map(|step| self.loaded.components.get(step.component))
            .map(|component| &*component.manifest.id)
            .collect();
        let mut statements = vec![self.record.rows(&rows)];
        if !returned.is_empty() {
            statements.push(self.record.returned(&returned));
        }
        // The round trip that carries it is one more.
        let trips = self.round_trips() + 1;
        statements.push(if more { self.record.close_for_now(state, trips) } else { self.record.close(state, trips, None) });
        Closing { state, statements: statements.join("; "), retired }
    }

    /// What closes the boot together with a block that changed something and is about to commit: if nothing comes after it, not even a look at
    /// what those before it made.
    pub(super) fn closes_with(&self, report: &BlockReport, coming: &[Step]) -> Option<String> {
        let over = coming.iter().all(|step| step.action == Action::Skip);
        (over && report.kind != Kind::Rule && !self.walled() && self.has_settled()).then(|| self.closing(Some(report)).statements)
    }
}
