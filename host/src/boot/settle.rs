//! The end of a boot: a second pass of the rules that must change nothing, and the post-conditions once more, of every rule and of the
//! migrations that this boot applied. A rule's own look came right after its own write; what a later block undid shows only here.
//!
//! What the blocks asked is asked again, many queries at once. A block itself looks again if an answer is another one now, or if it did more
//! than ask.

use super::{Boot, transaction::start};
use crate::{
    database::{
        effects::Counters,
        policy::{Phase, Policy},
        session::{Asked, ask_again},
    },
    report::{BlockReport, ErrorClass, Outcome, ReportError},
};
use plinth_manifest::Kind;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What the blocks of a boot asked when they looked at their post-conditions, and found them to hold.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<BTreeMap<String, Vec<Asked>>>);

impl Looks {
    /// Notes it for a block; none if it cannot be asked again.
    pub(super) fn note(&self, id: &str, asked: Option<Vec<Asked>>) {
        match asked {
            Some(asked) => self.all().insert(id.to_owned(), asked),
            None => self.all().remove(id),
        };
    }

    /// Whether some blocks asked nothing at all.
    fn are_empty(&self, ids: &[&str]) -> bool {
        let all = self.all();
        ids.iter().all(|id| all.get(*id).is_some_and(Vec::is_empty))
    }

    /// What is known of some blocks.
    fn of<'a>(&self, ids: &[&'a str]) -> Vec<(&'a str, Vec<Asked>)> {
        let all = self.all();
        ids.iter().filter_map(|id| Some((*id, all.get(*id)?.clone()))).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Asked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a backfill that puts the rest off, some batches may be committed. What else puts its work off was rolled back.
fn may_have_changed(report: &BlockReport) -> bool {
    let in_parts = report.outcome == Outcome::Deferred && report.kind == Kind::Backfill;
    report.outcome == Outcome::Applied || in_parts
}

/// Those that ran to their end, by id.
fn ran(reports: &[BlockReport]) -> Vec<&str> {
    let ran = reports.iter().filter(|report| matches!(report.outcome, Outcome::Applied | Outcome::Unchanged));
    ran.map(|report| report.id.as_str()).collect()
}

impl Boot<'_> {
    /// Lets everything settle. The error names the block.
    pub(super) async fn settle(&self) -> Result<(), (String, ReportError)> {
        // Every block looked right before its COMMIT: what was found by the last that changed something, and by those after it, still holds.
        let Some(last) = self.reports.iter().rposition(may_have_changed) else { return Ok(()) };
        let before = if self.a_rule_wrote() { self.reports.as_slice() } else { self.reports.get(..last).unwrap_or_default() };
        let ran = ran(before);
        if !self.a_rule_wrote() && self.looks.are_empty(&ran) {
            return Ok(());
        }
        let broken = |id: &str, error: ReportError| (id.to_owned(), error);
        let first = ran.first().copied().unwrap_or_default();
        let begin = format!("begin isolation level read committed read write; {}", self.ground().settings());
        let (begun, looked) = self.connection.send_before(Duration::ZERO, &begin, self.settled(&ran)).await;
        if let Some(Err(error)) = begun {
            return Err(broken(first, ReportError::of_host(&error, "BEGIN")));
        }
        if !self.connection.end_with("rollback").await {
            looked?;
            return Err(broken(first, ReportError::new(ErrorClass::Connection, "the end of the boot cannot be rolled back")));
        }
        looked
    }

    /// The second pass, if a rule changed rows, and then the look, both in one transaction that is rolled back.
    pub(super) async fn settled(&self, ids: &[&str]) -> Result<(), (String, ReportError)> {
        if self.a_rule_wrote() {
            self.second_pass().await?;
        }
        self.look_again(ids).await
    }

    /// Whether nothing has to be looked at again that was reported so far, whatever comes.
    pub(super) fn has_settled(&self) -> bool {
        !self.a_rule_wrote() && self.looks.are_empty(&ran(&self.reports))
    }

    fn a_rule_wrote(&self) -> bool {
        self.reports.iter().any(|report| report.kind == Kind::Rule && report.outcome == Outcome::Applied)
    }

    /// Those of some blocks that have to look themselves.
    async fn differing<'a>(&self, ids: &[&'a str]) -> Result<Vec<&'a str>, tokio_postgres::Error> {
        let looks = self.looks.of(ids);
        let asked = looks.iter().flat_map(|(_, asked)| asked).cloned().collect();
        // What fails here the block is to see for itself, so it must not fail the transaction.
        let again = tokio::time::timeout(self.host.limits.wall, ask_again(&self.connection, asked));
        let (opened, again) =
            self.connection.send_before(Duration::ZERO, "set transaction read only; savepoint plinth_again", again).await;
        opened.transpose()?;
        let Ok(Ok(again)) = again else {
            self.connection.send("rollback to savepoint plinth_again").await?;
            return Ok(ids.to_vec());
        };
        let mut again = again.into_iter();
        let mut same = |asked: &[Asked]| again.by_ref().take(asked.len()).filter(|same| *same).count() == asked.len();
        let same: BTreeSet<&str> = looks.iter().filter(|(_, asked)| same(asked)).map(|(id, _)| *id).collect();
        Ok(ids.iter().copied().filter(|id| !same.contains(id)).collect())
    }

    async fn look_again(&self, ids: &[&str]) -> Result<(), (String, ReportError)> {
        let first = ids.first().copied().unwrap_or_default();
        let differing = self.differing(ids).await;
        let differing = differing.map_err(|error| (first.to_owned(), ReportError::of_host(&error, "the end of the boot")))?;
        for id in differing {
            let Some(component) = self.component(id) else { continue };
            let policy = Arc::new(Policy::new(&component.manifest, &self.record.ledger.schema));
            let told = |error| (id.to_owned(), error);
            let mut running = start(self.ground(), component, policy).map_err(told)?;
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
