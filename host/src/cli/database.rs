//! Which database the command works on.

use super::arguments::Shared;
use crate::{Database, Host, embedded::Server};
use anyhow::{Context, bail};

/// A database, with the server that was started for it, if it was.
pub(super) struct Reached {
    pub(super) database: Database,
    /// The same as the role of blocks, if it was given.
    pub(super) blocks: Option<Database>,
    pub(super) server: Option<Server>,
}

/// On a server of our own, blocks have a role of theirs without a word from anybody: it is set up by the first run.
pub(super) async fn walled(host: Host, database: &Database, set_up: bool) -> anyhow::Result<Host> {
    let walled = host.clone().blocks_as(database.as_role("plinth_blocks"));
    if set_up {
        walled.set_roles_up().await?;
    }
    Ok(if set_up || walled.roles_are_set_up().await { walled } else { host })
}

/// The database of the arguments: an embedded one, or the one at a URL.
pub(super) async fn reach(shared: &Shared) -> anyhow::Result<Reached> {
    if !shared.embedded {
        let Some(url) = shared.database_url.as_deref().filter(|url| !url.is_empty()) else {
            bail!("no database is given: use --database-url URL, set DATABASE_URL, or use --embedded for a server of our own");
        };
        let blocks = shared.blocks_url.as_deref().filter(|url| !url.is_empty()).map(Database::from_url).transpose()?;
        return Ok(Reached { database: Database::from_url(url)?, blocks, server: None });
    }
    if let Some(url) = super::isolate::server().filter(|_| shared.isolated) {
        return Ok(Reached { database: Database::from_url(&url)?, blocks: None, server: None });
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
    Ok(Reached { database, blocks: None, server: Some(server) })
}
