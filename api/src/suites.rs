//! How the service makes test suites: four routes, each with a switch.
//!
//! A route that is not explicit leaves out cost and eligibility, as all of them did, and relies on the rules to correct its rows
//! at the next boot. An explicit one states both. Once all are explicit, the bridge (0066) has nothing to do and can go.

use crate::costs;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};
use tokio_postgres::Client;
use utoipa::ToSchema;

/// A way in which the service makes suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// A new capability brings suites of each type.
    Onboarding,
    /// An answer is recorded, to be compared without a call.
    Fixture,
    /// Suites are made up from those that are there.
    Generator,
    /// A customer's call becomes a suite.
    Traffic,
}

impl Route {
    /// All of them.
    pub const ALL: [Route; 4] = [Route::Onboarding, Route::Fixture, Route::Generator, Route::Traffic];

    /// Its name, which also begins the name of every suite that it makes.
    pub fn as_str(self) -> &'static str {
        match self {
            Route::Onboarding => "onboarding",
            Route::Fixture => "fixture",
            Route::Generator => "generator",
            Route::Traffic => "traffic",
        }
    }

    /// The suites that it makes for a capability: type and mode.
    fn suites(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Route::Onboarding => &[
                ("known_answer", "live"),
                ("edge_case", "live"),
                ("negative", "live"),
                ("schema_check", "live"),
                ("dependency_health", "live"),
            ],
            Route::Fixture => &[("known_answer", "fixture"), ("known_answer", "canary")],
            Route::Generator => &[("edge_case", "live"), ("known_bad", "live")],
            Route::Traffic => &[("known_answer", "live"), ("piggyback", "live")],
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(name: &str) -> Result<Route, String> {
        Route::ALL.into_iter().find(|route| route.as_str() == name).ok_or_else(|| {
            let all: Vec<&str> = Route::ALL.into_iter().map(Route::as_str).collect();
            format!("there is no route {name}: {} and all are there", all.join(", "))
        })
    }
}

/// Makes a route's suites for a capability; returns how many.
///
/// # Errors
///
/// If the database refuses.
pub async fn make(
    client: &Client,
    explicit: &BTreeSet<Route>,
    route: Route,
    capability: &str,
    input: &serde_json::Value,
) -> Result<u64, tokio_postgres::Error> {
    let mut made = 0;
    for (test_type, mode) in route.suites() {
        let name = format!("{route}, {test_type}, {mode}");
        made += if explicit.contains(&route) {
            let cents = costs::of(capability, test_type, mode);
            let insert = "insert into test_suites (capability_slug, test_name, test_type, test_mode, input, validation_rules,
                              external_cost_cents, scheduled_testing_eligible) values ($1, $2, $3, $4, $5, '[]', $6, $7)";
            client.execute(insert, &[&capability, &name, test_type, mode, input, &cents, &(cents == 0)]).await?
        } else {
            let insert = "insert into test_suites (capability_slug, test_name, test_type, test_mode, input, validation_rules)
                          values ($1, $2, $3, $4, $5, '[]')";
            client.execute(insert, &[&capability, &name, test_type, mode, input]).await?
        };
    }
    Ok(made)
}
