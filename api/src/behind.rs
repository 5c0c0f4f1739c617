//! The backfills that a boot leaves: they go on while the API serves.

use crate::service::Service;
use plinth::{BootError, Event};
use std::{sync::Arc, time::Duration};
use tokio::sync::{broadcast, watch};

/// How long after a failure that may pass they are tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Goes on, after each boot, with the backfills that it left, until `stopped` says so: then the running batch is rolled back, and the
/// next start goes on after the last that was committed. Another instance that works on one is waited for, and taken over from if it dies.
pub(crate) async fn run(service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    let telling = tokio::spawn(tell(service.clone(), service.behind().events()));
    let mut again = None;
    loop {
        let pause = async {
            match again.take() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = service.booted.notified() => {}
            () = pause => {}
        }
        let mut stop = stopped.clone();
        match service.behind().background_until(async { drop(stop.wait_for(|stopped| *stopped).await) }).await {
            Ok(report) => {
                for block in &report.blocks {
                    let message = block.message.as_deref().unwrap_or_default();
                    tracing::info!(block = block.id, outcome = block.outcome.as_str(), message, "behind the boot");
                }
            }
            Err(BootError::Interrupted(_)) => {}
            // What failed in a block will fail again: it is tried after the next boot.
            Err(error @ BootError::Failed(_)) => tracing::error!(%error, "a backfill failed"),
            Err(error) => {
                tracing::warn!(%error, "the backfills cannot go on; tried again in {} s", AGAIN.as_secs());
                again = Some(AGAIN);
            }
        }
    }
    telling.abort();
}

/// Takes down each batch, for the metrics.
async fn tell(service: Arc<Service>, mut events: broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Batch { block, number, rows, done, total, .. }) => {
                service.metrics.batch(&block, number, rows, done.zip(total));
            }
            Ok(Event::Ended { block, outcome, .. }) => service.metrics.backfilled(block, outcome),
            Err(broadcast::error::RecvError::Closed) => return,
            // The next batch tells the same, further on.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
        }
    }
}
