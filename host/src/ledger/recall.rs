//! What a rule asked when it found nothing to do, so that a later boot can ask it again instead of running the rule.

use crate::{
    database::{
        policy::{Phase, Policy},
        session::Asked,
    },
    load::Component,
    report::{BlockReport, JournalLine},
};
use plinth_manifest::Kind;
use serde::{Deserialize, Serialize};

/// What a rule asked when it found nothing to do, and what else it said. A row of the ledger has it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recall {
    /// Version of the host that ran it: another one may tell it an answer in another way.
    host: String,
    /// SHA-256 of the component, in hexadecimal.
    component: String,
    pub(crate) asked: Vec<Asked>,
    /// How many of them were not yet post-conditions.
    before_verify: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) journal: Vec<JournalLine>,
}

/// The most that is kept of a rule: bytes of its queries, and their number.
const MOST: (usize, usize) = (32 << 10, 64);

impl Recall {
    /// What a rule leaves that changed nothing; none if it did more than ask, or asked too much to keep.
    pub(crate) fn of(component: &Component, asked: Option<(Vec<Asked>, usize)>, report: &BlockReport) -> Option<Recall> {
        let (asked, before_verify) = asked?;
        let bytes: usize = asked.iter().map(|asked| asked.statement().len()).sum();
        let keeps = component.manifest.kind == Kind::Rule && bytes <= MOST.0 && asked.len() <= MOST.1;
        keeps.then(|| Recall {
            host: env!("CARGO_PKG_VERSION").to_owned(),
            component: component.digest.to_string(),
            asked,
            before_verify,
            message: report.message.clone(),
            journal: report.journal.clone(),
        })
    }

    /// Whether it is of this component, as this host would run it, and of nothing that its policy does not allow.
    pub(crate) fn holds_for(&self, component: &Component, ledger: &str) -> bool {
        let same = self.host == env!("CARGO_PKG_VERSION") && self.component == component.digest.to_string();
        let policy = Policy::new(&component.manifest, ledger);
        same && self.asked.iter().all(|asked| policy.check(asked.statement(), Phase::Verify).is_ok())
    }

    pub(crate) fn post_conditions(&self) -> Vec<Asked> {
        self.asked.get(self.before_verify..).unwrap_or_default().to_vec()
    }
}
