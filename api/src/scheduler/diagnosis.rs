//! Why a capability is tested, or is not.

use super::readers::{Cadence, OVERDUE, STAGGER};
use serde::Serialize;
use std::time::SystemTime;
use tokio_postgres::Client;
use utoipa::ToSchema;

/// What the scheduler thinks of a capability.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Diagnosis {
    /// Its row.
    pub capability: serde_json::Value,
    /// Its suites.
    pub suites: Vec<DiagnosedSuite>,
    /// The minute of the hour in which it is tested.
    pub minute: i32,
    /// Whether it is overdue now.
    pub overdue: bool,
    /// Whether the scheduler would pick it if it were overdue: it and one of its suites are active, and the suite is eligible.
    pub would_be_picked: bool,
}

/// One of its suites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DiagnosedSuite {
    /// Its name.
    pub test_name: String,
    /// Its type.
    pub test_type: String,
    /// Its mode.
    pub test_mode: Option<String>,
    /// Its status.
    pub test_status: String,
    /// What a test costs, in cents; nothing if nobody knows.
    pub cost_cents: Option<i32>,
    /// Whether it is used.
    pub active: bool,
    /// Whether the schedule may use it.
    pub eligible: bool,
}

/// Looks at one capability; nothing if there is none of that name.
///
/// # Errors
///
/// If the database cannot be read.
pub async fn diagnose(
    client: &Client,
    cadence: &Cadence,
    now: SystemTime,
    slug: &str,
) -> Result<Option<Diagnosis>, tokio_postgres::Error> {
    let query = format!(
        "select to_jsonb(c), {STAGGER}, c.is_active, exists (select {OVERDUE} and c.slug = $5) from capabilities c where c.slug = $5"
    );
    let hours = [cadence.hours, cadence.broken_hours, cadence.quarantined_hours];
    let Some(row) = client.query_opt(&query, &[&now, &hours[0], &hours[1], &hours[2], &slug]).await? else { return Ok(None) };
    let suites = client
        .query(
            "select test_name, test_type, test_mode::text, test_status, external_cost_cents, active, scheduled_testing_eligible
             from test_suites where capability_slug = $1 order by test_name, id",
            &[&slug],
        )
        .await?;
    let suites: Vec<DiagnosedSuite> = suites
        .iter()
        .map(|suite| DiagnosedSuite {
            test_name: suite.get(0),
            test_type: suite.get(1),
            test_mode: suite.get(2),
            test_status: suite.get(3),
            cost_cents: suite.get(4),
            active: suite.get(5),
            eligible: suite.get(6),
        })
        .collect();
    let would_be_picked = row.get(2) && suites.iter().any(|suite| suite.active && suite.eligible);
    Ok(Some(Diagnosis { capability: row.get(0), minute: row.get(1), overdue: row.get(3), suites, would_be_picked }))
}
