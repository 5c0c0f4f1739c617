//! What the ledger knows of every block, for operators.

use crate::{
    database::{ResultSets, literal, simple::text},
    error::BootError,
    host::Host,
    ledger::{Abandoned, LedgerError, Look},
    lock::{Doing, shown_while},
    report::{RowCounts, shown},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most of a statement that is shown, in bytes.
const SQL: usize = 300;

/// What the ledger knows. Serialises to what `plinth status --format json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether there is a ledger.
    pub ledger: bool,
    /// The last boot, as the ledger has it: `id`, `state`, `started`, `finished`, `build`, `instance`, `error`. One that the ledger has
    /// as running while nobody holds its lock is `interrupted`; behind a pooler that shows when the lease has run out.
    pub last_boot: Option<serde_json::Value>,
    /// Every block that the ledger knows, by id.
    pub blocks: Vec<BlockStatus>,
    /// Components of the given folder that are no applied block yet, by id.
    pub pending: Vec<String>,
    /// Backfills that were begun and are not done.
    pub backfills: Vec<OpenBackfill>,
    /// The block that a boot runs just now, as the server sees it.
    pub running: Option<RunningBlock>,
    /// Replicas that wait for it. Those behind a pooler cannot be seen.
    pub waiting: Vec<WaitingReplica>,
}

/// A block that runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunningBlock {
    /// The block. Ids of more than about forty bytes are cut.
    pub block: String,
    /// Seconds since its transaction began; none if it runs outside of one.
    pub seconds: Option<f64>,
    /// The statement that runs, or ran last, shortened.
    pub statement: String,
    /// Seconds since it was sent.
    pub statement_seconds: f64,
    /// Whether the server works on it, or has answered and waits for the block.
    pub active: bool,
    /// Processes of the server whose locks it waits for.
    pub blocked_by: Vec<i32>,
    /// Whether the boot that sent it is gone: the server still works on the statement, and nobody will commit it.
    pub abandoned: bool,
}

/// A backfill that was begun and is not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenBackfill {
    /// The block.
    pub id: String,
    /// Batches that are committed.
    pub batches: u64,
    /// Rows that they changed, by table.
    pub rows: BTreeMap<String, RowCounts>,
    /// How far it has come, as it counts itself.
    pub done: Option<u64>,
    /// Of how much.
    pub total: Option<u64>,
    /// When it was begun, as an ISO timestamp.
    pub started: String,
    /// When its last batch was committed.
    pub updated: String,
}

/// A replica that waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WaitingReplica {
    /// The replica.
    pub instance: String,
    /// Seconds since it connected.
    pub seconds: f64,
}

/// What the ledger knows of one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BlockStatus {
    /// The block.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its outcome when it ran last.
    pub outcome: String,
    /// When it was applied first, as an ISO timestamp.
    pub first_applied: Option<String>,
    /// When it changed something last.
    pub last_changed: Option<String>,
    /// How often it put its work off in a row.
    pub deferrals: u32,
    /// When its component was found gone.
    pub retired_at: Option<String>,
    /// Who to ask.
    pub team: Option<String>,
    /// Rows that it changed when it ran last, by table.
    pub rows: serde_json::Value,
    /// What it said when it ran last.
    pub message: Option<String>,
    /// Why it failed when it ran last.
    pub error: Option<serde_json::Value>,
}

#[cfg(feature = "page")]
impl OpenBackfill {
    /// How far it has come, in words.
    pub(crate) fn told(&self) -> String {
        let rows: u64 = self.rows.values().map(RowCounts::total).sum();
        let far = match (self.done, self.total) {
            (Some(done), Some(total)) => format!("{done} of {total}, "),
            (Some(done), None) => format!("{done} done, "),
            _ => String::new(),
        };
        let updated = self.updated.get(..19).unwrap_or(&self.updated).replace('T', " ");
        format!("{far}{rows} rows changed in {} batches, the last at {updated}", self.batches)
    }
}

impl Status {
    /// Whether something waits: a component that was not applied, or a block that put its work off.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || self.blocks.iter().any(|block| block.retired_at.is_none() && block.outcome == "deferred")
    }

    /// Whether a block failed when it ran last.
    pub fn is_failed(&self) -> bool {
        self.blocks.iter().any(|block| block.retired_at.is_none() && block.outcome == "failed")
    }
}

pub(crate) async fn status(host: &Host) -> Result<Status, BootError> {
    let ledger = &host.ledger;
    let components = host.load()?;
    let connection = host.database.connect(&host.connection_name()).await?;
    let look = ledger.read_look(connection.ask(&ledger.look_query()).await)?;
    let mut status = Status { ledger: !matches!(look, Look::Absent), ..Status::default() };
    let mut abandoned = Abandoned::default();
    if status.ledger {
        let (schema, application) = (ledger.quoted(), ledger.application());
        let mut query = format!(
            "select to_jsonb(b) - 'application' from {schema}.boots b where application = {application} order by id desc limit 1;
             select coalesce(jsonb_agg(to_jsonb(s) order by s.id), '[]') from (
                select b.id, b.kind, b.last_outcome as outcome, b.first_applied, b.last_changed, b.deferrals, b.retired_at, b.team,
                       coalesce(o.rows, '{{}}') as rows, o.message, o.error
                from {schema}.blocks b left join {schema}.outcomes o on o.boot = b.last_boot and o.block = b.id
                where b.application = {application}) s"
        );
        // A ledger of an older format has neither runners nor backfills.
        if look.stands() {
            let backfills = format!(
                "select coalesce(jsonb_agg(to_jsonb(b) order by b.id), '[]') from {schema}.backfills b
                 where application = {application} and finished is null"
            );
            query = format!("{}; {backfills}; {query}", ledger.abandoned_query());
        }
        let sets = connection.send(&query).await.map_err(|source| LedgerError::Database {
            schema: ledger.schema.clone(),
            doing: "read",
            source,
        })?;
        let json = |place: usize| sets.set_from_end(place).first().and_then(|row| text(row, 0));
        abandoned = Abandoned::read(&sets, 3);
        status.backfills = json(2).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        status.last_boot = json(1).and_then(|text| serde_json::from_str(text).ok()).map(|boot| last_boot(boot, abandoned));
        status.blocks = json(0).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    }
    let seen = connection.send(&activity(host)).await.map_err(|source| LedgerError::Database {
        schema: ledger.schema.clone(),
        doing: "read",
        source,
    })?;
    read_activity(&seen, &mut status);
    // A backfill has a lock of its own, and may go on behind whatever boot.
    let behind = |block: &str| status.backfills.iter().any(|backfill| backfill.id.starts_with(block));
    if let Some(running) = &mut status.running {
        running.abandoned = abandoned.any() && !behind(&running.block);
    }
    let applied = |id: &str| status.blocks.iter().any(|block| block.id == *id && block.first_applied.is_some());
    status.pending = components.iter().map(|component| component.manifest.id.to_string()).filter(|id| !applied(id)).collect();
    Ok(status)
}

/// The boot as the ledger has it, and interrupted if nobody runs it any more.
fn last_boot(mut boot: serde_json::Value, abandoned: Abandoned) -> serde_json::Value {
    let id = boot.get("id").and_then(serde_json::Value::as_i64).unwrap_or_default();
    if let Some(state) = boot.get_mut("state")
        && let Some(text) = state.as_str()
    {
        *state = abandoned.state(id, text).into();
    }
    boot
}

/// What the server knows of the application's boots: the names that they give their connections tell what each does.
fn activity(host: &Host) -> String {
    let prefix = |doing| literal(&shown_while(&host.ledger, doing, ""));
    let (runs, waits) = (prefix(Doing::Runs), prefix(Doing::Waits));
    let common = "from pg_stat_activity where datname = current_database() and starts_with(application_name,";
    format!(
        "select substr(application_name, 1 + length({runs})), extract(epoch from clock_timestamp() - xact_start), query,
            extract(epoch from clock_timestamp() - query_start), state = 'active', array_to_string(pg_blocking_pids(pid), ' ')
         {common} {runs}) order by backend_start limit 1;
         select substr(application_name, 1 + length({waits})), extract(epoch from clock_timestamp() - backend_start)
         {common} {waits}) order by backend_start"
    )
}

fn read_activity(seen: &ResultSets, status: &mut Status) {
    let number =
        |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok()).map(|seconds| (seconds * 10.0).round() / 10.0);
    status.running = seen.set_from_end(1).first().map(|row| RunningBlock {
        block: text(row, 0).unwrap_or_default().to_owned(),
        seconds: number(text(row, 1)),
        statement: shown(text(row, 2).unwrap_or_default(), SQL),
        statement_seconds: number(text(row, 3)).unwrap_or_default(),
        active: text(row, 4) == Some("t"),
        blocked_by: text(row, 5).unwrap_or_default().split(' ').filter_map(|pid| pid.parse().ok()).collect(),
        abandoned: false,
    });
    status.waiting = seen
        .last()
        .iter()
        .map(|row| WaitingReplica {
            instance: text(row, 0).unwrap_or_default().to_owned(),
            seconds: number(text(row, 1)).unwrap_or_default(),
        })
        .collect();
}
