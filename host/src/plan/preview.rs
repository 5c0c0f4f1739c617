//! A plan as people and machines read it.

use super::{Action, Edge, Plan, edges};
use crate::{load::Components, report::Evidence};
use plinth_manifest::Kind;
use serde::Serialize;

/// What a boot would do. Serialises to what `plinth plan --format json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Preview {
    /// Whether a migration is pending.
    pub pending: bool,
    /// Every block, in order.
    pub blocks: Vec<PreviewBlock>,
    /// Why blocks run in this order: every edge, by the places of its blocks.
    pub edges: Vec<Edge>,
    /// Blocks whose component is gone and that the boot would record as retired.
    pub retired: Vec<String>,
    /// For each rule that is there or would be retired, how many boots in a row it had nothing to do: what speaks for and
    /// against its removal.
    pub rules: Vec<Evidence>,
    /// Things that somebody should know.
    pub notes: Vec<String>,
}

/// One block of a preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PreviewBlock {
    /// The block.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// What would happen to it.
    pub action: PreviewAction,
    /// What it does, in a line.
    pub title: String,
    /// Its component.
    pub file: String,
    /// How often it put its work off in a row.
    pub deferrals: u32,
}

/// What would happen to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PreviewAction {
    /// A migration that would be applied.
    Apply,
    /// A migration outside a transaction that did not finish and would be run again, or a backfill that would go on.
    Resume,
    /// A backfill that would go on behind the boot.
    Background,
    /// A rule that would run, as at every boot.
    Reconcile,
    /// A migration that was applied.
    Skip,
}

impl PreviewAction {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            PreviewAction::Apply => "apply",
            PreviewAction::Resume => "resume",
            PreviewAction::Background => "in the background",
            PreviewAction::Reconcile => "reconcile",
            PreviewAction::Skip => "applied earlier",
        }
    }
}

impl Preview {
    /// Whether something waits: a migration that is pending, or a block that put its work off.
    pub fn is_waiting(&self) -> bool {
        self.pending || self.blocks.iter().any(|block| block.deferrals > 0)
    }

    pub(crate) fn new(plan: &Plan, components: &Components, evidence: Vec<Evidence>) -> Preview {
        let ordered = plan.steps.iter().filter_map(|step| components.get(step.component));
        let manifests: Vec<_> = ordered.map(|component| &component.manifest).collect();
        let blocks = plan.steps.iter().filter_map(|step| {
            let component = components.get(step.component)?;
            Some(PreviewBlock {
                id: component.manifest.id.to_string(),
                kind: component.manifest.kind,
                action: match step.action {
                    Action::Apply => PreviewAction::Apply,
                    Action::Resume => PreviewAction::Resume,
                    Action::Background => PreviewAction::Background,
                    Action::Reconcile => PreviewAction::Reconcile,
                    Action::Skip => PreviewAction::Skip,
                },
                title: component.manifest.title.clone(),
                file: component.origin(),
                deferrals: step.deferrals,
            })
        });
        let blocks: Vec<PreviewBlock> = blocks.collect();
        let known = |id: &str| plan.is_retired(id) || blocks.iter().any(|block| block.id == id);
        Preview {
            pending: plan.pending() > 0,
            rules: evidence.into_iter().filter(|rule| known(&rule.block)).collect(),
            blocks,
            edges: edges(&manifests),
            retired: plan.retired.iter().map(|(id, _)| id.clone()).collect(),
            notes: plan.notes.clone(),
        }
    }
}
