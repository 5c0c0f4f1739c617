//! What the ledger knows of every block, for operators.

use crate::{
    database::ResultSets,
    error::BootError,
    host::Host,
    ledger::{LedgerError, Look},
};
use serde::Serialize;

/// What the ledger knows. Serialises to what `plinth status --format json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether there is a ledger.
    pub ledger: bool,
    /// The last boot, as the ledger has it: `id`, `state`, `started`, `finished`, `build`, `instance`, `error`.
    pub last_boot: Option<serde_json::Value>,
    /// Every block that the ledger knows, by id.
    pub blocks: Vec<BlockStatus>,
    /// Components of the given folder that are no applied block yet, by id.
    pub pending: Vec<String>,
}

/// What the ledger knows of one block.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
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
    let look = ledger.read_look(ResultSets::of(connection.client(), &ledger.look_query()).await)?;
    let mut status = Status { ledger: !matches!(look, Look::Absent), ..Status::default() };
    if status.ledger {
        let (schema, application) = (ledger.quoted(), ledger.application());
        let query = format!(
            "select to_jsonb(b) - 'application' from {schema}.boots b where application = {application} order by id desc limit 1;
             select coalesce(jsonb_agg(to_jsonb(s) order by s.id), '[]') from (
                select b.id, b.kind, b.last_outcome as outcome, b.first_applied, b.last_changed, b.deferrals, b.retired_at, b.team,
                       coalesce(o.rows, '{{}}') as rows, o.message, o.error
                from {schema}.blocks b left join {schema}.outcomes o on o.boot = b.last_boot and o.block = b.id
                where b.application = {application}) s"
        );
        let sets = connection.send(&query).await.map_err(|source| LedgerError::Database {
            schema: ledger.schema.clone(),
            doing: "read",
            source,
        })?;
        let json = |place: usize| sets.set_from_end(place).first().and_then(|row| row.try_get(0).ok().flatten());
        status.last_boot = json(1).and_then(|text| serde_json::from_str(text).ok());
        status.blocks = json(0).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    }
    let applied = |id: &str| status.blocks.iter().any(|block| block.id == *id && block.first_applied.is_some());
    status.pending = components.iter().map(|component| component.manifest.id.to_string()).filter(|id| !applied(id)).collect();
    Ok(status)
}
