//! What is measured: the floor, Plinth and the peers. Each on a connection of its own that was opened a moment ago, as it is
//! when an API starts.

use anyhow::{Result, ensure};
use plinth::{BootState, Database, Host};
use refinery::Runner;
use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions, Connection,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgConnection},
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio_postgres::{Client, NoTls};

/// Where the server's socket is, or a proxy's before it.
#[derive(Clone)]
pub struct Socket(pub PathBuf);

impl Socket {
    const PORT: u16 = 5432;

    pub fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.0).port(Self::PORT).user("postgres").dbname(database);
        config
    }

    pub async fn client(&self, database: &str) -> Result<Client> {
        let (client, connection) = self.config(database).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn sqlx(&self, database: &str) -> Result<PgConnection> {
        let options =
            PgConnectOptions::new_without_pgpass().socket(&self.0).port(Self::PORT).username("postgres").database(database);
        Ok(options.disable_statement_logging().connect().await?)
    }

    /// A file's path: the port is a part of the name.
    pub fn file(&self) -> PathBuf {
        self.0.join(format!(".s.PGSQL.{}", Self::PORT))
    }
}

/// Where a host has its components from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum From {
    Folder(PathBuf),
    Bundle(PathBuf),
}

impl From {
    pub fn of(&self, host: Host) -> Host {
        match self {
            From::Folder(path) => host.folder(path),
            From::Bundle(path) => host.bundle(path),
        }
    }

    /// The same as a bundle, with compiled code in it or without.
    pub async fn bundled(&self, file: PathBuf, compile: bool) -> Result<From> {
        let (host, written) = (self.of(Host::new(tokio_postgres::Config::new())), file.clone());
        tokio::task::spawn_blocking(move || host.write_bundle(&written, compile)).await??;
        Ok(From::Bundle(file))
    }
}

/// What one round of a subject took.
#[derive(Clone, Copy, Default)]
pub struct Took {
    /// From reading the folder to having its migrations, by itself.
    pub load: Duration,
    /// The figure: from after connecting, with everything loaded.
    pub run: Duration,
    /// The same once more on the same connection, whose server process has its caches now. Plinth's boot opens its own.
    pub again: Option<Duration>,
    /// Load, connect and run, by the clock on the wall.
    pub wall: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    Floor,
    Plinth,
    Sqlx,
    Refinery,
}

impl Subject {
    pub const ALL: [Subject; 4] = [Subject::Floor, Subject::Plinth, Subject::Sqlx, Subject::Refinery];

    pub fn name(self) -> &'static str {
        match self {
            Subject::Floor => "floor",
            Subject::Plinth => "plinth",
            Subject::Sqlx => "sqlx",
            Subject::Refinery => "refinery",
        }
    }

    /// As the table has it.
    pub fn title(self) -> &'static str {
        match self {
            Subject::Floor => "one SELECT 1",
            Subject::Plinth => "Plinth",
            Subject::Sqlx => "sqlx 0.9",
            Subject::Refinery => "refinery 0.10",
        }
    }

    /// Connects and does nothing, to know what connecting alone costs.
    pub async fn connect(self, socket: &Socket, database: &str) -> Result<()> {
        match self {
            Subject::Sqlx => socket.sqlx(database).await?.close().await?,
            _ => drop(socket.client(database).await?),
        }
        Ok(())
    }
}

/// The least that a question to the server can cost.
pub async fn floor(socket: &Socket, database: &str, again: bool) -> Result<Took> {
    let begin = Instant::now();
    let client = socket.client(database).await?;
    let start = Instant::now();
    client.simple_query("SELECT 1").await?;
    let (run, wall) = (start.elapsed(), begin.elapsed());
    let start = Instant::now();
    if again {
        client.simple_query("SELECT 1").await?;
    }
    Ok(Took { load: Duration::ZERO, run, again: again.then(|| start.elapsed()), wall })
}

/// A boot of a host made for it: nothing is left from the boot before. Also returns how often it says to have waited for the server.
pub async fn boot(socket: &Socket, database: &str, from: &From, cache: Option<&Path>) -> Result<(Took, u64)> {
    let host = || {
        let host = from.of(Host::new(Database::from(socket.config(database))));
        cache.map_or_else(|| host.clone(), |cache| host.clone().cache(cache))
    };
    let loading = host();
    let start = Instant::now();
    let loaded = tokio::task::spawn_blocking(move || loading.load()).await??;
    let load = start.elapsed();
    let count = loaded.len();
    drop(loaded);
    let begin = Instant::now();
    let report = host().boot().await?;
    let wall = begin.elapsed();
    ensure!(report.boot.state == BootState::Complete, "the boot is {:?}", report.boot.state);
    ensure!(report.blocks.len() == count && report.boot.ran + report.boot.skipped == count, "the report names other blocks");
    let run = Duration::from_secs_f64(report.boot.duration_ms / 1e3);
    Ok((Took { load, run, again: None, wall }, report.boot.round_trips))
}

pub async fn sqlx(socket: &Socket, database: &str, folder: &Path, again: bool) -> Result<Took> {
    let begin = Instant::now();
    let migrator = Migrator::new(folder).await?;
    let load = begin.elapsed();
    let mut connection = socket.sqlx(database).await?;
    let start = Instant::now();
    migrator.run(&mut connection).await?;
    let (run, wall) = (start.elapsed(), begin.elapsed());
    let start = Instant::now();
    if again {
        migrator.run(&mut connection).await?;
    }
    let again = again.then(|| start.elapsed());
    connection.close().await?;
    Ok(Took { load, run, again, wall })
}

pub async fn refinery(socket: &Socket, database: &str, folder: &Path, again: bool) -> Result<Took> {
    let begin = Instant::now();
    let folder = folder.to_owned();
    let runner =
        tokio::task::spawn_blocking(move || refinery::load_sql_migrations(folder).map(|all| Runner::new(&all))).await??;
    let load = begin.elapsed();
    let mut client = socket.client(database).await?;
    let start = Instant::now();
    runner.run_async(&mut client).await?;
    let (run, wall) = (start.elapsed(), begin.elapsed());
    let start = Instant::now();
    if again {
        runner.run_async(&mut client).await?;
    }
    Ok(Took { load, run, again: again.then(|| start.elapsed()), wall })
}
