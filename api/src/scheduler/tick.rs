//! One look of the scheduler: claim what is overdue, test it, write down how it went.

use super::{
    readers::{Cadence, OVERDUE, STAGGER},
    runner::{Runner, Suite},
};
use serde::Serialize;
use std::{collections::BTreeSet, time::SystemTime};
use tokio_postgres::Client;
use utoipa::ToSchema;
use uuid::Uuid;

/// Which minute of the hour a tick is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minute {
    /// The one that it is now.
    Now,
    /// Another one.
    Of(i32),
}

/// What a tick did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ticked {
    /// Capabilities that were claimed.
    pub capabilities: BTreeSet<String>,
    /// Suites that were run.
    pub suites: i64,
    /// Those that passed.
    pub passed: i64,
    /// What all of it cost, in cents.
    pub cost_cents: i32,
}

/// Claims the overdue capabilities of a minute and runs their eligible suites.
///
/// Claiming is one statement that sets `last_tested_at` and passes over rows that another instance holds: two instances that tick
/// at once never test the same capability twice. One that dies in between leaves its capabilities for the next hour.
///
/// # Errors
///
/// If the database cannot be read or written.
pub async fn tick(
    client: &mut Client,
    runner: &impl Runner,
    cadence: &Cadence,
    now: SystemTime,
    minute: Minute,
) -> Result<Ticked, tokio_postgres::Error> {
    let minute = match minute {
        Minute::Now => None,
        Minute::Of(minute) => Some(minute),
    };
    let claim = format!(
        "with due as (
            select c.id {OVERDUE} and {STAGGER} = coalesce($5::int, extract(minute from $1::timestamptz at time zone 'UTC')::int)
            order by c.last_tested_at nulls first, c.slug limit $6 for update of c skip locked)
         update capabilities c set last_tested_at = $1 from due where c.id = due.id returning c.slug"
    );
    let hours = (cadence.hours, cadence.broken_hours, cadence.quarantined_hours);
    let claimed = client.query(&claim, &[&now, &hours.0, &hours.1, &hours.2, &minute, &cadence.at_once]).await?;
    let slugs: Vec<String> = claimed.iter().map(|row| row.get(0)).collect();
    if slugs.is_empty() {
        return Ok(Ticked::default());
    }
    let suites = "select id, capability_slug, test_type, test_mode::text from test_suites
                  where capability_slug = any($1) and active and scheduled_testing_eligible order by capability_slug, id";
    let mut ticked = Ticked { capabilities: slugs.iter().cloned().collect(), ..Ticked::default() };
    let (mut ids, mut of, mut passed, mut took) =
        (Vec::<Uuid>::new(), Vec::<String>::new(), Vec::<bool>::new(), Vec::<i32>::new());
    for row in client.query(suites, &[&slugs]).await? {
        let suite = Suite { id: row.get(0), capability: row.get(1), test_type: row.get(2), test_mode: row.get(3) };
        let run = runner.run(&suite).await;
        ticked.suites += 1;
        ticked.passed += i64::from(run.passed);
        ticked.cost_cents += run.cost_cents;
        ids.push(suite.id);
        of.push(suite.capability);
        passed.push(run.passed);
        took.push(i32::try_from(run.took.as_millis()).unwrap_or(i32::MAX));
    }
    let writing = client.transaction().await?;
    writing
        .execute(
            "insert into test_results (test_suite_id, capability_slug, passed, response_time_ms)
             select * from unnest($1::uuid[], $2::text[], $3::bool[], $4::int[])",
            &[&ids, &of, &passed, &took],
        )
        .await?;
    writing
        .execute(
            "insert into test_run_log (tier, started_at, completed_at, total_tests, passed, failed, actual_cost_cents)
             values ('scheduled', $1, now(), $2::bigint::int, $3::bigint::int, ($2 - $3)::int, $4)",
            &[&now, &ticked.suites, &ticked.passed, &ticked.cost_cents],
        )
        .await?;
    writing.commit().await?;
    Ok(ticked)
}
