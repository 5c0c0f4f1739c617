//! The sessions that a boot works on. They open while the lock's session claims, and the host's questions are prepared for them meanwhile.

use super::{
    begin::{STILL_THERE_IN_SESSION, settings_alone},
    roles::connection_of_blocks,
};
use crate::{
    database::{
        Connection,
        questions::{For, Preparing, Questions},
    },
    error::BootError,
    host::Host,
    ledger::Ledger,
};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The host's session and that of blocks: the same, unless blocks have a role of their own.
#[derive(Clone)]
pub(super) struct Sessions {
    pub(super) ours: Arc<Connection>,
    pub(super) blocks: Arc<Connection>,
}

impl Sessions {
    /// Whether blocks have a role of their own.
    pub(super) fn walled(&self) -> bool {
        !Arc::ptr_eq(&self.blocks, &self.ours)
    }

    /// Has the host's questions prepared in the blocks' session, for migrations or for rules alone, if it is that and nobody else's. `runners`
    /// is whose runner the fence asks for: a backfill that goes on behind a boot is another one's.
    pub(super) fn prepare(&self, host: &Host, runners: &Ledger, migrates: bool) -> Preparing {
        if !self.blocks.is_at(&host.database) {
            return Preparing::none();
        }
        // A role of the blocks' own cannot ask who the runner is, nor write the ledger.
        let same = !self.walled();
        let fences = same.then(|| (runners.still("$1"), runners.fence("$1")));
        let write = (same && migrates).then(|| host.ledger.write("$1", "$2::bigint"));
        let to = For {
            settings: &settings_alone(host),
            session: STILL_THERE_IN_SESSION,
            fences: fences.as_ref().map(|(still, fence)| (still.as_str(), fence.as_str())),
            record: write.as_deref(),
            // A rule mostly changes nothing, and makes no object.
            objects: migrates,
        };
        Questions::prepare(&self.blocks, to)
    }
}

/// The sessions, while they open.
pub(super) struct Opening(JoinSet<Result<(Sessions, Option<Preparing>), BootError>>);

impl Opening {
    /// Begins to open them, and to prepare them for `migrations` if there are any for certain.
    pub(super) fn new(host: &Host, migrations: bool) -> Opening {
        let host = host.clone();
        let mut opening = JoinSet::new();
        opening.spawn(async move {
            let ours = Arc::new(host.database.connect(&host.connection_name()).await?);
            let blocks = connection_of_blocks(&host, &ours).await?;
            let sessions = Sessions { ours, blocks };
            let preparing = migrations.then(|| sessions.prepare(&host, &host.ledger, true));
            Ok((sessions, preparing))
        });
        Opening(opening)
    }

    /// Waits until they are open.
    pub(super) async fn opened(mut self) -> Result<(Sessions, Option<Preparing>), BootError> {
        self.0.join_next().await.and_then(Result::ok).unwrap_or(Err(BootError::Interrupted(None)))
    }
}
