//! What is overdue. Every reader asks for `scheduled_testing_eligible` and none for a cost: that a suite is cheap and that it is
//! scheduled are two things since block 0063_scheduled_testing_eligible.

use serde::Serialize;
use std::time::SystemTime;
use tokio_postgres::{Client, types::ToSql};
use utoipa::ToSchema;

/// How often capabilities are tested, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cadence {
    /// Hours between tests.
    pub hours: f64,
    /// The same where an upstream is broken or the infrastructure limits us.
    pub broken_hours: f64,
    /// The same in quarantine.
    pub quarantined_hours: f64,
    /// Capabilities that one look finds at most.
    pub at_once: i64,
}

impl Default for Cadence {
    fn default() -> Cadence {
        Cadence { hours: 1.0, broken_hours: 24.0, quarantined_hours: 168.0, at_once: 20 }
    }
}

/// The minute of the hour in which a capability is tested. Of MD5, which is the same on every server and in every version.
pub(super) const STAGGER: &str = "(('x' || left(md5(c.slug), 7))::bit(28)::int % 60)";

/// Capabilities that are overdue at `$1` by the hours `$2` to `$4`. The strictest of a capability's suites counts.
pub(super) const OVERDUE: &str = "
    from capabilities c
    join (select capability_slug, greatest($2::float8, max(case
                     when test_status in ('upstream_broken', 'infra_limited') then $3::float8
                     when test_status = 'quarantined' then $4::float8 end)) * interval '1 hour' as floor
          from test_suites where active and scheduled_testing_eligible group by capability_slug) s on s.capability_slug = c.slug
    where c.is_active and (c.last_tested_at is null or c.last_tested_at < $1::timestamptz - s.floor)";

/// A capability that is to be tested.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Overdue {
    /// The capability.
    pub slug: String,
    /// When it was tested last, as an ISO timestamp.
    pub last_tested_at: Option<String>,
}

/// The overdue capabilities of a minute of the hour, the longest untested first. Without a minute, those of all minutes.
///
/// # Errors
///
/// If the database cannot be read.
pub async fn find_overdue(
    client: &Client,
    cadence: &Cadence,
    now: SystemTime,
    minute: Option<i32>,
) -> Result<Vec<Overdue>, tokio_postgres::Error> {
    let query = format!(
        "select c.slug, to_json(c.last_tested_at) #>> '{{}}' {OVERDUE} and ($5::int is null or {STAGGER} = $5)
         order by c.last_tested_at nulls first, c.slug limit $6"
    );
    let rows = client
        .query(&query, &[&now, &cadence.hours, &cadence.broken_hours, &cadence.quarantined_hours, &minute, &cadence.at_once])
        .await?;
    Ok(rows.iter().map(|row| Overdue { slug: row.get(0), last_tested_at: row.get(1) }).collect())
}

/// How many capabilities are overdue, whatever their minute.
///
/// # Errors
///
/// If the database cannot be read.
pub async fn count_overdue(client: &Client, cadence: &Cadence, now: SystemTime) -> Result<i64, tokio_postgres::Error> {
    let query = format!("select count(*) {OVERDUE}");
    count(client, &query, &[&now, &cadence.hours, &cadence.broken_hours, &cadence.quarantined_hours]).await
}

/// How many active capabilities have an active suite that the schedule passes over.
///
/// # Errors
///
/// If the database cannot be read.
pub async fn count_paid_skipped(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let query = "select count(*) from capabilities c where c.is_active and exists (
                     select from test_suites s where s.capability_slug = c.slug and s.active and not s.scheduled_testing_eligible)";
    count(client, query, &[]).await
}

async fn count(client: &Client, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<i64, tokio_postgres::Error> {
    Ok(client.query_one(query, parameters).await?.get(0))
}
