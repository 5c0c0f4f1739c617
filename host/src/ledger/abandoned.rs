//! Whether a boot that the ledger has as running still runs. One that was killed could tell nobody; the next boot corrects its row,
//! and whoever looks before that is not told that it runs.

use super::Ledger;
use crate::{
    database::{ResultSets, simple::text},
    lock::LockKey,
};

/// Boots that the ledger has as running although nobody holds the lock: their runner was killed, or lost it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abandoned {
    /// The newest of them.
    last: Option<i64>,
}

impl Ledger {
    /// The two queries for [`Abandoned`]. Sent before boots are read: one that is said to run before somebody was looked for, and
    /// still afterwards, was to hold the lock in between.
    pub(crate) fn abandoned_query(&self) -> String {
        let (schema, application) = (self.quoted(), self.application());
        let taken = LockKey::new(&self.schema, &self.application).is_taken();
        format!(
            "select max(id) from {schema}.boots where application = {application} and state = 'running';
             select exists (select from {schema}.runners where application = {application} and released is null
                and case mode when 'session' then {taken} else expires > clock_timestamp() end)"
        )
    }
}

impl Abandoned {
    /// Reads what [`Ledger::abandoned_query`] brought; `place` statements came after it.
    pub(crate) fn read(sets: &ResultSets, place: usize) -> Abandoned {
        let field = |place| sets.set_from_end(place).first().and_then(|row| text(row, 0));
        let kept = field(place) == Some("t");
        Abandoned { last: field(place + 1).filter(|_| !kept).and_then(|id| id.parse().ok()) }
    }

    /// Whether there are any.
    pub(crate) fn any(self) -> bool {
        self.last.is_some()
    }

    /// The state of a boot, given that of the ledger.
    pub(crate) fn state(self, boot: i64, state: &str) -> &str {
        let abandoned = state == "running" && self.last.is_some_and(|last| boot <= last);
        if abandoned { "interrupted" } else { state }
    }
}
