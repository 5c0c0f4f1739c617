//! Which database the command works on.

use super::arguments::Shared;
use crate::{Database, embedded::Server};
use anyhow::{Context, bail};

/// A database, with the server that was started for it, if it was.
pub(super) struct Reached {
    pub(super) database: Database,
    pub(super) server: Option<Server>,
}

/// The database of the arguments: an embedded one, or the one at a URL.
pub(super) async fn reach(shared: &Shared) -> anyhow::Result<Reached> {
    if !shared.embedded {
        let Some(url) = shared.database_url.as_deref().filter(|url| !url.is_empty()) else {
            bail!("no database is given: use --database-url URL, set DATABASE_URL, or use --embedded for a server of our own");
        };
        return Ok(Reached { database: Database::from_url(url)?, server: None });
    }
    let data = std::path::absolute(&shared.data)?;
    let started = tokio::task::spawn_blocking(move || {
        if let Some(parent) = data.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("{}", parent.display()))?;
        }
        anyhow::Ok(Server::builder().data(data).start()?)
    });
    let server = started.await??;
    let database = Database::from_url(&server.url("postgres"))?;
    Ok(Reached { database, server: Some(server) })
}
