//! What must hold of the data whatever blocks there are: a capability that always calls a language model costs something and is
//! not scheduled. Read from the database: at every start, and by `plinth-api check` in CI.

use crate::costs;
use std::fmt;
use tokio_postgres::Client;

/// The live suites of these capabilities: how many, how many of no cost or an unknown one, how many are scheduled, and one of those.
const LOOK: &str = "
    select capability_slug, count(*), count(*) filter (where free), count(*) filter (where scheduled), min(test_name) filter (where free or scheduled)
    from (select capability_slug, test_name, (external_cost_cents > 0) is not true as free, scheduled_testing_eligible as scheduled
          from test_suites where capability_slug = any($1) and active and test_mode = 'live'
            and test_type in ('known_answer', 'edge_case', 'negative', 'known_bad')) as live
    group by capability_slug order by capability_slug";

/// Suites that cost nothing and that the schedule passes over: what an insert forgot to state, once no rule corrects it.
const FORGOTTEN: &str = "
    select capability_slug, test_name, count(*) over () from test_suites
    where active and external_cost_cents = 0 and not scheduled_testing_eligible order by created_at desc, test_name limit 5";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many of the capabilities that always call a language model have live suites.
    pub capabilities: usize,
    /// How many live suites they have.
    pub suites: i64,
    /// Capabilities that break the invariant.
    pub broken: Vec<Broken>,
}

/// A capability that breaks the invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The capability.
    pub slug: String,
    /// Its live suites without a cost.
    pub free: i64,
    /// Its live suites that are scheduled.
    pub scheduled: i64,
    /// One of them.
    pub example: String,
}

impl Found {
    /// Whether the invariant holds.
    pub fn holds(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds() {
            return write!(f, "the invariant holds: {} capabilities with {} live suites", self.capabilities, self.suites);
        }
        write!(
            f,
            "a capability that always calls a language model must cost something and not be scheduled; {} do not:",
            self.broken.len()
        )?;
        for Broken { slug, free, scheduled, example } in &self.broken {
            write!(f, "\n  {slug}: {free} live suites without a cost, {scheduled} scheduled, such as \"{example}\"")?;
        }
        Ok(())
    }
}

/// Looks at the invariant.
///
/// # Errors
///
/// If the database cannot be read.
pub async fn check(client: &Client) -> Result<Found, tokio_postgres::Error> {
    let slugs: Vec<&str> = costs::always_llm().iter().copied().collect();
    let mut found = Found::default();
    for row in client.query(LOOK, &[&slugs]).await? {
        found.capabilities += 1;
        found.suites += row.get::<_, i64>(1);
        let (free, scheduled) = (row.get(2), row.get(3));
        if free > 0 || scheduled > 0 {
            found.broken.push(Broken { slug: row.get(0), free, scheduled, example: row.get(4) });
        }
    }
    Ok(found)
}

/// Free suites that nobody schedules, in a sentence; none if there are none. A warning and no failure: it costs no money, but
/// what it names is never tested.
///
/// # Errors
///
/// If the database cannot be read.
pub async fn forgotten(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let rows = client.query(FORGOTTEN, &[]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let count: i64 = first.get(2);
    let named: Vec<String> =
        rows.iter().map(|row| format!("{} \"{}\"", row.get::<_, String>(0), row.get::<_, String>(1))).collect();
    Ok(Some(format!("{count} suites cost nothing and are not scheduled, so nobody tests with them: {}", named.join(", "))))
}
