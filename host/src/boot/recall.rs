//! Rules that only asked are recalled: if every query that a rule sent when it last found nothing to do is answered as it was then, it
//! would find nothing to do again, and is not run. A component has neither a clock nor chance, so the same component does the same on
//! the same answers.
//!
//! What rules asked stands in the ledger, by component and version of the host. It is asked again in one read-only transaction, many
//! queries at once, before the first rule of a boot; whatever the boot changes after that, the rest of the rules run as ever.

use super::{Boot, runs};
use crate::{
    database::session::{ASKED_AGAIN, ask_each},
    ledger::{Known, Recall},
    load::Component,
    plan::Step,
    report::{BlockReport, Outcome},
};
use plinth_manifest::Kind;
use std::{collections::BTreeMap, time::Duration};

/// What is known of a boot's rules, by id.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    known: BTreeMap<String, Recall>,
    /// Those that were asked again and answered the same, with the time that it took; none before that.
    same: Option<BTreeMap<String, Duration>>,
}

impl Recalls {
    /// What the ledger has of the rules among some components.
    pub(super) fn new<'a>(components: impl Iterator<Item = &'a Component>, known: &Known, ledger: &str) -> Recalls {
        let of = |component: &Component| {
            let recall = known.get(&component.manifest.id)?.recall.clone()?;
            recall.holds_for(component, ledger).then(|| (component.manifest.id.to_string(), recall))
        };
        Recalls {
            known: components.filter(|component| component.manifest.kind == Kind::Rule).filter_map(of).collect(),
            same: None,
        }
    }

    /// Whether it may be that a block need not run.
    pub(super) fn may_spare(&self, id: &str) -> bool {
        match &self.same {
            Some(same) => same.contains_key(id),
            None => self.known.contains_key(id),
        }
    }

    /// Something changed: what was answered before that says nothing any more.
    pub(super) fn forget(&mut self) {
        if let Some(same) = &mut self.same {
            same.clear();
        }
    }

    /// What is to be kept of a rule; none if that is there already.
    pub(super) fn news(&self, id: &str, recall: Option<Recall>) -> Option<Recall> {
        recall.filter(|recall| self.known.get(id) != Some(recall))
    }
}

fn report(recall: &Recall, component: &Component, took: Duration) -> BlockReport {
    let mut report = BlockReport::new(&component.manifest.id, component.manifest.kind, Outcome::Unchanged);
    report.recalled = true;
    report.statements = recall.asked.len() as u64;
    report.duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    report.message.clone_from(&recall.message);
    report.journal.clone_from(&recall.journal);
    report
}

impl Boot<'_> {
    /// What a rule did that need not run; none if it has to. The first one has all those asked that come.
    pub(super) async fn recalled(&mut self, component: &Component, coming: &[Step]) -> Option<BlockReport> {
        let id = &*component.manifest.id;
        if !self.recalls.may_spare(id) {
            return None;
        }
        if self.recalls.same.is_none() {
            let same = self.asked_again(coming).await;
            self.recalls.same = Some(same);
        }
        let took = *self.recalls.same.as_ref()?.get(id)?;
        let recall = self.recalls.known.get(id)?;
        self.looks.note(id, Some(recall.post_conditions()));
        Some(report(recall, component, took))
    }

    /// The rules among some steps that are answered as they were.
    async fn asked_again(&self, coming: &[Step]) -> BTreeMap<String, Duration> {
        let coming = coming.iter().filter(|step| runs(step)).filter_map(|step| self.loaded.components.get(step.component));
        let rules: Vec<(&str, &Recall)> = coming
            .filter_map(|component| Some((&*component.manifest.id, self.recalls.known.get(&*component.manifest.id)?)))
            .collect();
        let begin =
            format!("begin isolation level read committed read only; {}; savepoint {ASKED_AGAIN}", self.ground().settings());
        let limits = &self.host.limits;
        self.connection.trips().bound_answers(limits.answer_bytes, limits.notices);
        let asks = ask_each(&self.connection, rules.iter().map(|(_, recall)| recall.asked.clone()).collect());
        let asks = tokio::time::timeout(limits.wall.saturating_mul(rules.len() as u32), asks);
        let (begun, answers) = self.connection.send_before(Duration::ZERO, &begin, asks).await;
        // Whatever went wrong, the rules run, and say so themselves.
        let ended = self.connection.end_with("rollback").await;
        let (Some(Ok(_)), Ok(Ok(answers)), true) = (begun, answers, ended) else { return BTreeMap::new() };
        let same = rules.iter().zip(answers).filter(|(_, (same, _))| *same);
        same.map(|((id, _), (_, took))| ((*id).to_owned(), took)).collect()
    }
}
