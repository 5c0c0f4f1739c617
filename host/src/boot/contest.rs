//! Rules that fight: each sets what the other one changes. Planning refuses those that say so; these say otherwise.

use super::{Boot, transaction::start};
use crate::{
    database::{
        effects::{COUNTERS, Counters, Effects, counters_anyway},
        policy::{Phase, Policy},
    },
    load::Component,
    report::{ErrorClass, Outcome, ReportError, RowCounts},
};
use plinth_manifest::{Columns, Kind, TableName};
use std::{collections::BTreeMap, sync::Arc};

impl Boot<'_> {
    /// Before a rule that changed rows commits: whether a rule that ran earlier in this boot changes them back. Both are tried
    /// inside the rule's own transaction, so that the data stays as it found them if they fight.
    pub(super) async fn contested(&self, component: &Component, effects: &Effects) -> Result<(), ReportError> {
        for earlier in self.reports.iter().filter(|report| report.kind == Kind::Rule && ran(report.outcome)) {
            let Some(other) = self.component(&earlier.id) else { continue };
            let Some(shared) = shared_column(component, other, effects.rows.keys()) else { continue };
            let rows = self.try_again(other).await?;
            let count: u64 = rows.values().map(RowCounts::total).sum();
            if count > 0 {
                let (first, second) = (&other.manifest.id, &component.manifest.id);
                let changed = effects.rows.values().map(RowCounts::total).sum::<u64>();
                let message = format!(
                    "the rules {first} and {second} fight over {shared}: {second} changed {changed} rows, after which {first} changes {count} rows again"
                );
                return Err(ReportError::new(ErrorClass::Conflict, message).hint("let one of them own the column, or make the rows that they name disjoint; the data stays as it was before the second one"));
            }
        }
        Ok(())
    }

    /// The second pass of a boot in which a rule changed rows: every rule once more, in the transaction that is open, and none
    /// may change anything. The error names the rule.
    pub(super) async fn second_pass(&self) -> Result<(), (String, ReportError)> {
        for report in self.reports.iter().filter(|report| report.kind == Kind::Rule && ran(report.outcome)) {
            let Some(component) = self.component(&report.id) else { continue };
            let rows = self.try_again(component).await.map_err(|error| (report.id.clone(), error))?;
            let count: u64 = rows.values().map(RowCounts::total).sum();
            if count > 0 {
                return Err((report.id.clone(), self.does_not_settle(component, &rows, count)));
            }
        }
        Ok(())
    }

    fn does_not_settle(&self, component: &Component, rows: &BTreeMap<TableName, RowCounts>, count: u64) -> ReportError {
        let id = &component.manifest.id;
        let columns: Vec<String> = component
            .manifest
            .writes
            .iter()
            .filter(|write| rows.contains_key(&write.table))
            .map(|write| write.columns.to_string())
            .collect();
        let columns = columns.join(", ");
        let after = self.reports.iter().skip_while(|report| report.id != **id).skip(1);
        let suspects: Vec<&str> = after
            .filter(|report| {
                report
                    .rows
                    .keys()
                    .any(|table| rows.keys().any(|changed| *table == format!("{}.{}", changed.schema, changed.table)))
            })
            .map(|report| report.id.as_str())
            .collect();
        let (message, hint) = match suspects.as_slice() {
            [] => (
                format!(
                    "the rule does not converge: run again at the end of the boot, it changes {count} rows of {columns} once more"
                ),
                "a rule must find nothing to do the second time: compare with `is distinct from` before writing".to_owned(),
            ),
            suspects => (
                format!(
                    "the rules {id} and {} fight over {columns}: run again at the end of the boot, {id} changes {count} rows once more",
                    suspects.join(", ")
                ),
                "let one of them own the column; if the later one only makes what the first reads, declare that under reads"
                    .to_owned(),
            ),
        };
        ReportError::new(ErrorClass::Conflict, message).hint(hint)
    }

    /// Runs a rule once more inside the transaction that is open, and undoes it. Returns the rows that it changed.
    async fn try_again(&self, component: &Component) -> Result<BTreeMap<TableName, RowCounts>, ReportError> {
        let failed = |error: tokio_postgres::Error| ReportError::of_host(&error, "the second run cannot be measured");
        let policy = Arc::new(Policy::new(&component.manifest, &self.record.ledger.schema));
        let mut running = start(self.ground(), component, policy)?;
        let before = self.connection.send(&format!("savepoint plinth_again; {COUNTERS}")).await.map_err(failed)?;
        running.session().enter(Phase::Work, Counters::read(&before, 0));
        running.work().await.map_err(|error| ReportError::of_block(&error, running.failed(), None))?;
        let after = self.connection.send(&counters_anyway()).await.map_err(failed)?;
        let rows = Counters::read_anyway(&after).since(running.session().counters());
        self.connection.send("rollback to savepoint plinth_again; release savepoint plinth_again").await.map_err(failed)?;
        Ok(rows)
    }
}

fn ran(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Applied | Outcome::Unchanged)
}

/// A column that both rules declare, in a table that was changed.
fn shared_column<'a>(one: &Component, other: &Component, changed: impl Iterator<Item = &'a TableName>) -> Option<Columns> {
    let changed: Vec<&TableName> = changed.collect();
    for mine in one.manifest.writes.iter().filter(|write| changed.contains(&&write.table)) {
        if let Some(theirs) = other.manifest.writes.iter().find(|theirs| theirs.columns.overlaps(&mine.columns)) {
            return Some(if mine.column.is_some() { mine.columns.clone() } else { theirs.columns.clone() });
        }
    }
    None
}
