//! How a statement ends that does not end by itself: it is cancelled, then its process is ended, then the connection is given up.
//! Each step is bounded, so that all of them are, whatever the server does.

use super::Connection;
use std::{pin::pin, time::Duration};
use tokio_postgres::error::SqlState;

/// Most statements end by themselves.
const SOON: Duration = Duration::from_millis(50);
/// How long a statement may take to notice that it is cancelled. An index that is built concurrently notices soon.
const CANCELLED: Duration = Duration::from_secs(10);
/// How long a process may take to end, and the server to be asked for it.
const ENDED: Duration = Duration::from_secs(10);

impl Connection {
    /// Sends statements of the host's own, such as ROLLBACK, behind whatever runs, and has that ended if it does not end by itself.
    /// False if they did not go through; then the connection may be closed.
    pub(crate) async fn end_with(&self, statements: &str) -> bool {
        let mut attempt = pin!(self.send(statements));
        if let Ok(done) = tokio::time::timeout(SOON, &mut attempt).await {
            // A cancel that was sent before, for a query that returned too much, may have come late and hit our own statements.
            return match done {
                Ok(_) => true,
                Err(error) => error.code() == Some(&SqlState::QUERY_CANCELED) && self.again(statements).await,
            };
        }
        self.canceller().cancel().await;
        let done = match tokio::time::timeout(CANCELLED, &mut attempt).await {
            Ok(Ok(_)) => true,
            // A cancel that came late hit our own statements.
            Ok(Err(_)) => self.again(statements).await,
            Err(_) => false,
        };
        if done || self.client().is_closed() {
            return done;
        }
        tracing::warn!("a statement does not heed its cancellation: its process is ended");
        if tokio::time::timeout(ENDED, self.end_process()).await.is_err() {
            tracing::warn!("the server cannot be asked to end a process");
        }
        // A process that is ended closes the connection. One that hangs does not, and keeps its locks until the server ends it.
        if !self.closes_within(ENDED).await {
            self.give_up();
            self.closes_within(ENDED).await;
        }
        false
    }

    async fn again(&self, statements: &str) -> bool {
        matches!(tokio::time::timeout(CANCELLED, self.send(statements)).await, Ok(Ok(_)))
    }

    async fn closes_within(&self, most: Duration) -> bool {
        let closed = async {
            while !self.client().is_closed() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(most, closed).await.is_ok()
    }

    /// Asks for it over a connection of its own. Behind a pooler the number is none of the server's, and finds nobody.
    async fn end_process(&self) {
        let (Some(process), Ok(other)) = (self.process().await, self.database().connect("plinth ends a statement").await) else {
            return;
        };
        let ask = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid = {process} and datname = current_database() and application_name like 'plinth%'"
        );
        if let Err(error) = other.send(&ask).await {
            tracing::warn!(error = %crate::database_reason(&error), "a process cannot be ended");
        }
    }
}
