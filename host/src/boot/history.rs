//! Boots that are over, for people who look back.

use super::status::{self, Status};
use crate::{
    database::{Connection, ResultSets},
    error::BootError,
    host::Host,
    ledger::{Abandoned, LedgerError, Look},
    report::{Evidence, JournalLine, RowCounts},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// What the ledger tells of the last boots. Serialises to JSON for an operator's endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct History {
    /// The last boots, newest first.
    pub boots: Vec<PastBoot>,
    /// For each rule, what speaks for and against its removal.
    pub rules: Vec<Evidence>,
    /// Where every block stands.
    pub status: Status,
}

/// A boot as the ledger has it. Boots that found nothing to do, or joined another's, left no row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PastBoot {
    /// Its number.
    pub id: i64,
    /// `running`, `complete`, `deferred`, `failed` or `interrupted`; the last also if nobody holds the lock of one that the ledger has
    /// as running.
    pub state: String,
    /// When it began, as an ISO timestamp.
    pub started: String,
    /// When it ended.
    pub finished: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// The build of the API.
    pub build: Option<String>,
    /// The process that booted.
    pub instance: String,
    /// The version of the host.
    pub host_version: String,
    /// SHA-256 of the set of components.
    pub set_digest: String,
    /// Components that were found.
    pub found: u32,
    /// How often the server was waited for.
    pub round_trips: Option<i64>,
    /// The block that failed and why.
    pub error: Option<serde_json::Value>,
    /// What blocks did, in the order in which they ran.
    pub outcomes: Vec<PastOutcome>,
}

/// What a block did in a boot that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PastOutcome {
    /// The block.
    pub block: String,
    /// How it ended.
    pub outcome: String,
    /// Which try it was.
    pub attempt: u32,
    /// When it began, as an ISO timestamp.
    pub started: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Statements that it sent.
    pub statements: i64,
    /// Rows that it changed, by table.
    pub rows: BTreeMap<String, RowCounts>,
    /// What it said.
    pub message: Option<String>,
    /// Why it failed.
    pub error: Option<serde_json::Value>,
    /// What it logged.
    pub journal: Vec<JournalLine>,
}

impl PastOutcome {
    /// Rows that it changed, all tables together: for a rule, how far the data had drifted.
    pub fn changed(&self) -> u64 {
        self.rows.values().map(RowCounts::total).sum()
    }
}

pub(crate) async fn history(host: &Host, boots: u32) -> Result<History, BootError> {
    let ledger = &host.ledger;
    let status = status::status(host).await?;
    if !status.ledger {
        return Ok(History { status, ..History::default() });
    }
    let connection = host.database.connect(&host.connection_name()).await?;
    let look = ledger.read_look(connection.ask(&ledger.look_query()).await)?;
    let query = ledger.boots_query(boots);
    // A ledger of an older format does not tell who runs.
    let query = if look.stands() { format!("{}; {query}", ledger.abandoned_query()) } else { query };
    let (mut boots, sets): (Vec<PastBoot>, _) = read(host, &connection, &query).await?;
    let abandoned = if look.stands() { Abandoned::read(&sets, 1) } else { Abandoned::default() };
    for boot in &mut boots {
        boot.state = abandoned.state(boot.id, &boot.state).to_owned();
    }
    Ok(History { boots, rules: rules(host, &connection).await?, status })
}

/// What speaks for and against the removal of each rule; nothing, if there is no ledger.
pub(super) async fn evidence(host: &Host, connection: &Connection) -> Result<Vec<Evidence>, BootError> {
    let look = host.ledger.read_look(connection.ask(&host.ledger.look_query()).await)?;
    if matches!(look, Look::Absent) { Ok(Vec::new()) } else { rules(host, connection).await }
}

/// The same on a connection that is known to have a ledger.
pub(super) async fn rules(host: &Host, connection: &Connection) -> Result<Vec<Evidence>, BootError> {
    let (rules, _): (Vec<Evidence>, _) = read(host, connection, &host.ledger.evidence_query()).await?;
    Ok(rules.into_iter().map(Evidence::judged).collect())
}

/// The JSON of the last statement, and what those before it brought.
async fn read<T: DeserializeOwned>(host: &Host, connection: &Connection, query: &str) -> Result<(T, ResultSets), BootError> {
    let schema = || host.ledger.schema.clone();
    let sets =
        connection.send(query).await.map_err(|source| LedgerError::Database { schema: schema(), doing: "read", source })?;
    match serde_json::from_str(sets.value().unwrap_or_default()) {
        Ok(read) => Ok((read, sets)),
        Err(source) => Err(LedgerError::Unreadable { schema: schema(), source }.into()),
    }
}
