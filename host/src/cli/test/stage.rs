//! The server of a test run, its databases, and the hosts that boot on them.

use super::proxy::{PORT, Proxy};
use crate::{
    BootError, Database, Host, Outcome, Report,
    database::{literal, name},
    embedded::{Server, Snapshot},
    ledger::Ledger,
};
use anyhow::{Context, bail};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Barrier, Notify, Semaphore, SemaphorePermit};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long a host may take that is to do a block's work. Its own deadlines end it long before.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);
/// What a host loses at most to what may pass. Its server does not restart.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// Lines of the server's log in an error.
const LINES: usize = 5;

/// What a host says, in the folder of its proxy.
const REPORT: &str = "report.json";
const ERRORS: &str = "errors";

pub(super) struct Stage {
    server: Server,
    cache: Option<PathBuf>,
    /// At most so many steps at once, since each has a database of its own.
    turns: Semaphore,
    number: AtomicU32,
    /// Told when the server does not answer.
    lost: Notify,
}

/// How a host in a process of its own ended.
pub(super) struct Ended {
    /// None if it was killed.
    pub(super) code: Option<i32>,
    /// What it printed: its report, if it booted.
    pub(super) report: serde_json::Value,
    pub(super) errors: String,
    pub(super) answers: u64,
    pub(super) statements: Vec<String>,
}

impl Ended {
    fn in_background(&self) -> bool {
        let blocks = self.report.pointer("/blocks").and_then(serde_json::Value::as_array);
        blocks
            .is_some_and(|blocks| blocks.iter().any(|block| block.get("outcome").is_some_and(|outcome| outcome == "background")))
    }
}

/// A host in a process of its own. It does not outlive this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the server, once nobody uses it any more.
pub(super) async fn stop(mut stage: Arc<Stage>) -> anyhow::Result<()> {
    let stage = loop {
        match Arc::try_unwrap(stage) {
            Ok(stage) => break stage,
            // What a test had begun ends a moment after it.
            Err(used) => stage = used,
        }
        tokio::time::sleep(POLL).await;
    };
    // It was a temporary one: what goes wrong now is nobody's loss.
    tokio::task::spawn_blocking(move || stage.server.stop().ok()).await?;
    Ok(())
}

impl Stage {
    pub(super) async fn new(jobs: usize) -> anyhow::Result<Stage> {
        let start = || Server::builder().in_memory(true).durable(false).setting("max_connections", "200").start();
        let server = tokio::task::spawn_blocking(start).await??;
        let cache = std::env::var_os("PLINTH_CACHE").map(PathBuf::from).or_else(|| crate::cli::arguments::cache("compiled"));
        Ok(Stage { server, cache, turns: Semaphore::new(jobs), number: AtomicU32::new(0), lost: Notify::new() })
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> anyhow::Result<SemaphorePermit<'_>> {
        Ok(self.turns.acquire().await?)
    }

    /// Waits until the server does not answer any more, and returns what it said last.
    pub(super) async fn lost(&self) -> String {
        self.lost.notified().await;
        self.server.log_tail(LINES)
    }

    async fn connect(&self, database: &str) -> anyhow::Result<Client> {
        match tokio_postgres::connect(&self.server.url(database), NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                Ok(client)
            }
            Err(error) => {
                if error.as_db_error().is_none() {
                    self.lost.notify_one();
                }
                Err(anyhow::anyhow!(crate::database_reason(&error)))
            }
        }
    }

    /// The server's version, for people.
    pub(super) fn version(&self) -> String {
        self.server.binaries().version().to_owned()
    }

    /// The server's version as squawk reads it.
    pub(super) fn major(&self) -> String {
        format!("{}.0", self.server.binaries().major())
    }

    async fn admin(&self, statement: &str) -> anyhow::Result<()> {
        let admin = self.connect("postgres").await?;
        for attempt in 1.. {
            match admin.batch_execute(statement).await {
                Ok(()) => break,
                // A connection to the template may still be closing.
                Err(error) if error.code().is_some_and(|code| code.code() == "55006") && attempt < 500 => {
                    tokio::time::sleep(POLL * 5).await;
                }
                Err(error) => bail!("{statement}: {}", crate::database_reason(&error)),
            }
        }
        Ok(())
    }

    /// A copy of a database.
    pub(super) async fn copy(&self, template: &str) -> anyhow::Result<String> {
        let copy = format!("block_{}", self.number.fetch_add(1, Ordering::Relaxed));
        let strategy = if self.server.binaries().major() >= 15 { " strategy file_copy" } else { "" };
        self.admin(&format!("create database {copy} template {template}{strategy}")).await?;
        Ok(copy)
    }

    /// Removes a copy.
    pub(super) async fn remove(&self, database: &str) -> anyhow::Result<()> {
        self.admin(&format!("drop database if exists {database} with (force)")).await
    }

    /// Runs statements.
    pub(super) async fn execute(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        let client = self.connect(database).await?;
        client.batch_execute(sql).await.map_err(|error| anyhow::anyhow!(crate::database_reason(&error)))
    }

    /// The rows of a query, as text.
    pub(super) async fn rows<const N: usize>(&self, database: &str, query: &str) -> anyhow::Result<Vec<[String; N]>> {
        let client = self.connect(database).await?;
        rows(&client, query).await
    }

    /// Everything in a database but the ledger.
    pub(super) async fn snapshot(&self, database: &str) -> anyhow::Result<Snapshot> {
        let [prepare, ask] = Snapshot::statements(&ledger().schema);
        let client = self.connect(database).await?;
        client.batch_execute(&prepare).await?;
        Ok(Snapshot::read(rows::<3>(&client, &ask).await?))
    }

    /// Whether the ledger has a migration as applied.
    pub(super) async fn is_applied(&self, database: &str, id: &str) -> anyhow::Result<bool> {
        let ledger = name(&ledger().schema);
        let there = self.rows::<1>(database, &format!("select to_regclass('{ledger}.blocks') is not null")).await?;
        if there != [["t".to_owned()]] {
            return Ok(false);
        }
        let applied = format!("select 'yes' from {ledger}.blocks where id = {} and first_applied is not null", literal(id));
        Ok(!self.rows::<1>(database, &applied).await?.is_empty())
    }

    /// Makes a block run once more.
    pub(super) async fn forget(&self, database: &str, id: &str) -> anyhow::Result<()> {
        self.execute(database, &ledger().forget(id)).await
    }

    /// A host in this process.
    pub(super) fn host(&self, database: &str, components: &Path) -> anyhow::Result<Host> {
        // The data is the author's own.
        let host =
            Host::new(Database::from_url(&self.server.url(database))?).show_values().folder(components).retry_for(RETRY_FOR);
        Ok(match &self.cache {
            Some(cache) => host.cache(cache),
            None => host,
        })
    }

    /// Boots in this process.
    pub(super) async fn boot(&self, database: &str, components: &Path) -> anyhow::Result<Report> {
        let host = self.host(database, components)?;
        let mut report = host.boot().await.map_err(told)?;
        if report.blocks.iter().any(|block| block.outcome == Outcome::Background) {
            let later = host.background().await.map_err(told)?;
            for block in later.blocks {
                report.blocks.retain(|earlier| earlier.id != block.id);
                report.blocks.push(block);
            }
        }
        Ok(report)
    }

    /// Boots in a process of its own, and kills it when answer `kill` came.
    pub(super) async fn process(
        &self,
        database: &str,
        components: &Path,
        kill: Option<u64>,
        start: Option<Arc<Barrier>>,
    ) -> anyhow::Result<Ended> {
        let proxy = Proxy::start(self.server.socket_folder(), kill, start)?;
        let mut ended = self.one("run", database, components, &proxy).await?;
        // A backfill in the background is done by whoever serves, which here is a command of its own.
        if ended.code == Some(0) && ended.in_background() {
            ended = self.one("backfill", database, components, &proxy).await?;
        }
        drop(proxy);
        if ended.code.is_none() {
            self.is_alone(database).await?;
        }
        Ok(ended)
    }

    async fn one(&self, command: &str, database: &str, components: &Path, proxy: &Proxy) -> anyhow::Result<Ended> {
        let Running(child) = &mut Running(self.spawn(command, database, components, proxy)?);
        tokio::select! {
            () = proxy.kept() => child.kill()?,
            () = ended(child) => {}
        }
        let code = child.wait()?.code();
        // Files and no pipes: what nobody reads while the host runs must not hold it up.
        let said = |file| std::fs::read(proxy.folder().join(file)).unwrap_or_default();
        Ok(Ended {
            code,
            report: serde_json::from_slice(&said(REPORT)).unwrap_or_default(),
            errors: String::from_utf8_lossy(&said(ERRORS)).trim().to_owned(),
            answers: proxy.answers(),
            statements: proxy.statements(),
        })
    }

    fn spawn(&self, command: &str, database: &str, components: &Path, proxy: &Proxy) -> anyhow::Result<Child> {
        let folder = proxy.folder().display().to_string().replace('/', "%2F");
        let mut host = Command::new(own_file()?);
        host.args([command, "--format", "json", "--blocks"]).arg(components);
        host.arg("--database-url").arg(format!("postgresql:///{database}?host={folder}&port={PORT}&user=postgres"));
        match &self.cache {
            Some(cache) => host.arg("--cache").arg(cache),
            None => host.arg("--no-cache"),
        };
        if command == "run" {
            host.arg("--retry-for").arg(RETRY_FOR.as_secs().to_string());
        }
        // What the user set for hosts of his own is not meant for these.
        for (variable, _) in std::env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"PLINTH_") || variable.as_encoded_bytes().starts_with(b"PG") {
                host.env_remove(variable);
            }
        }
        host.env("PLINTH_LOG", "error").env_remove("DATABASE_URL");
        let file = |name| std::fs::File::create(proxy.folder().join(name));
        host.stdin(Stdio::null()).stdout(file(REPORT)?).stderr(file(ERRORS)?);
        host.spawn().context("a host of its own cannot be started")
    }

    /// Waits until the server has noticed that a host is gone.
    async fn is_alone(&self, database: &str) -> anyhow::Result<()> {
        let others =
            format!("select count(*) from pg_stat_activity where datname = '{database}' and backend_type = 'client backend'");
        let waited = Instant::now();
        while waited.elapsed() < PATIENCE {
            if self.rows::<1>("postgres", &others).await? == [["0".to_owned()]] {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("the server keeps a session of a host that was killed")
    }
}

/// This program's own file. Where there is no /proc, as it was called.
fn own_file() -> anyhow::Result<PathBuf> {
    let called = || std::env::args_os().next().map(PathBuf::from).filter(|path| path.is_absolute());
    std::env::current_exe().ok().or_else(called).context("this program does not know its own file: call it by its whole path")
}

/// The ledger of the hosts here: the command's defaults.
fn ledger() -> Ledger {
    Ledger { schema: "plinth".to_owned(), application: "api".to_owned() }
}

/// Waits for the end of a process, without a thread that does nothing else.
async fn ended(child: &mut Child) {
    let waited = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if waited.elapsed() > PATIENCE {
            let _ = child.kill();
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Why a boot failed, in a sentence.
pub(super) fn told(error: BootError) -> anyhow::Error {
    let hint = error.report().and_then(|report| report.blocks.iter().find_map(|block| block.error.as_ref()?.hint.clone()));
    let failure = error.report().and_then(Report::failure).unwrap_or_else(|| error.to_string());
    match hint {
        Some(hint) => anyhow::anyhow!("{failure}: {hint}"),
        None => anyhow::anyhow!(failure),
    }
}

async fn rows<const N: usize>(client: &Client, query: &str) -> anyhow::Result<Vec<[String; N]>> {
    let answers = client.simple_query(query).await.map_err(|error| anyhow::anyhow!(crate::database_reason(&error)))?;
    let row = |answer: SimpleQueryMessage| match answer {
        SimpleQueryMessage::Row(row) => Some(std::array::from_fn(|place| row.get(place).unwrap_or_default().to_owned())),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(row).collect())
}
