//! What the service is told, by its environment.

use crate::{suites::Route, traces::Collector};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use plinth::Host;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};
use tokio_postgres::NoTls;

/// The fewest characters of a token that is taken for one.
const TOKEN: usize = 16;
/// Connections for requests and the scheduler. The boot has its own.
const CONNECTIONS: usize = 8;
/// How long a request waits for one.
const WAIT: Duration = Duration::from_secs(5);

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`.
    pub database: plinth::Database,
    /// `API_LISTEN`: where the API is served, once everything is ready.
    pub listen: SocketAddr,
    /// `API_HEALTH_LISTEN`: where health, readiness and metrics are told, from the start.
    pub health: SocketAddr,
    /// `API_BLOCKS`: the folder with the components.
    pub blocks: PathBuf,
    /// `API_EXPECT`: blocks that this build ships.
    pub expect: Vec<String>,
    /// `API_CACHE`: the folder for compiled code.
    pub cache: Option<PathBuf>,
    /// `API_BUILD`: how this build calls itself.
    pub build: String,
    /// `API_TOKEN`: what operators prove themselves with. Without one there is no `/admin`.
    pub token: Option<String>,
    /// `API_EXPLICIT`: routes whose inserts state cost and eligibility.
    pub explicit: BTreeSet<Route>,
    /// `API_TICK_SECONDS`: how often the scheduler looks; 0 for never.
    pub tick: Duration,
    /// `API_RETRY_SECONDS`: how much time a boot loses at most to what may pass, such as a server that restarts.
    pub retry: Duration,
    /// `API_GRACE_SECONDS`: how long requests may go on after a signal to stop.
    pub grace: Duration,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where traces go, such as `http://localhost:4318`; nowhere, if it is not set.
    pub collector: Option<Collector>,
}

/// What is wrong with the environment.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Something that is needed is not set.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// Something cannot be read.
    #[error("{name} cannot be read: {why}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// Why.
        why: String,
    },
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// The first variable that is missing or wrong.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let set = |name: &'static str| variable(name).filter(|text| !text.is_empty());
        let list = |name| -> Vec<String> {
            let text = set(name).unwrap_or_default();
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        };
        let url = set("DATABASE_URL").ok_or(ConfigError::Missing("DATABASE_URL"))?;
        let wrong = |name, why: String| ConfigError::Wrong { name, why };
        let token = set("API_TOKEN");
        if token.as_ref().is_some_and(|token| token.len() < TOKEN) {
            return Err(wrong("API_TOKEN", format!("a token has at least {TOKEN} characters")));
        }
        let routes = list("API_EXPLICIT");
        let explicit = match routes.as_slice() {
            [all] if all == "all" => Route::ALL.into_iter().collect(),
            some => some
                .iter()
                .map(|name| Route::from_str(name))
                .collect::<Result<_, _>>()
                .map_err(|why| wrong("API_EXPLICIT", why))?,
        };
        Ok(Config {
            database: plinth::Database::from_url(&url).map_err(|error| wrong("DATABASE_URL", error.to_string()))?,
            listen: parsed("API_LISTEN", set("API_LISTEN"), "127.0.0.1:8080")?,
            health: parsed("API_HEALTH_LISTEN", set("API_HEALTH_LISTEN"), "127.0.0.1:8081")?,
            blocks: set("API_BLOCKS").unwrap_or_else(|| "blocks".to_owned()).into(),
            expect: list("API_EXPECT"),
            cache: set("API_CACHE").map(PathBuf::from),
            build: set("API_BUILD").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            token,
            explicit,
            tick: Duration::from_secs(parsed("API_TICK_SECONDS", set("API_TICK_SECONDS"), "60")?),
            retry: Duration::from_secs(parsed("API_RETRY_SECONDS", set("API_RETRY_SECONDS"), "120")?),
            grace: Duration::from_secs(parsed("API_GRACE_SECONDS", set("API_GRACE_SECONDS"), "10")?),
            collector: match set("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(address) => Some(Collector::at(&address).map_err(|why| wrong("OTEL_EXPORTER_OTLP_ENDPOINT", why))?),
                None => None,
            },
        })
    }

    /// The host that boots the database.
    pub fn host(&self) -> Host {
        let host = Host::new(self.database.clone())
            .folder(&self.blocks)
            .expect(self.expect.iter().cloned())
            .build(&self.build)
            .retry_for(self.retry);
        match &self.cache {
            Some(cache) => host.cache(cache),
            None => host,
        }
    }

    /// The pool for requests. Connects when it is first asked, by the same address and TLS as the host.
    ///
    /// # Errors
    ///
    /// If the certificates to verify the server with cannot be used.
    pub fn pool(&self) -> Result<Pool, ConfigError> {
        let wrong = |why: String| ConfigError::Wrong { name: "DATABASE_URL", why };
        // A connection that was left in the middle of something is not given to the next request.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let manager = match self.database.for_pool().map_err(|error| wrong(error.to_string()))? {
            (address, Some(tls)) => Manager::from_config(address, tls, recycling),
            (address, None) => Manager::from_config(address, NoTls, recycling),
        };
        let pool = Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1);
        pool.wait_timeout(Some(WAIT)).create_timeout(Some(WAIT)).build().map_err(|error| wrong(error.to_string()))
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(name: &'static str, text: Option<String>, default: &str) -> Result<T, ConfigError> {
    text.as_deref().unwrap_or(default).parse().map_err(|error: T::Err| ConfigError::Wrong { name, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::Config;
    use crate::suites::Route;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let found = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        Config::from_environment(found).map_err(|error| error.to_string())
    }

    const URL: (&str, &str) = ("DATABASE_URL", "postgres://api@localhost/shop");

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(read(&[]).unwrap_err(), "DATABASE_URL is not set");
        assert!(read(&[URL, ("API_LISTEN", "everywhere")]).unwrap_err().starts_with("API_LISTEN cannot be read"));
        assert!(read(&[URL, ("API_TOKEN", "short")]).unwrap_err().contains("at least 16"));
        let grpc = ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://localhost:4317");
        assert!(
            read(&[URL, grpc])
                .unwrap_err()
                .starts_with("OTEL_EXPORTER_OTLP_ENDPOINT cannot be read: grpc://localhost:4317 is not")
        );
        assert!(read(&[URL, ("API_EXPLICIT", "onboarding,elsewhere")]).unwrap_err().contains("elsewhere"));
    }

    #[test]
    fn routes_are_named_one_by_one_or_all() {
        assert!(read(&[URL]).unwrap().explicit.is_empty());
        assert_eq!(read(&[URL, ("API_EXPLICIT", "all")]).unwrap().explicit.len(), Route::ALL.len());
        let some = read(&[URL, ("API_EXPLICIT", "traffic, onboarding")]).unwrap().explicit;
        assert_eq!(some.into_iter().collect::<Vec<_>>(), [Route::Onboarding, Route::Traffic]);
    }
}
