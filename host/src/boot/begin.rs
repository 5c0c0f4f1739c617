//! What begins a block's transaction: its settings, the name that it shows, and the begin that rides with the COMMIT before it.

use super::{Boot, transaction::start};
use crate::{
    database::{
        Connection, ResultSets, Sent,
        around::Around,
        effects::{COUNTERS, Counters},
        literal, name,
        policy::Policy,
    },
    host::Host,
    load::Component,
    lock::{Doing, shown_while},
    report::ReportError,
    sandbox::Running,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What begins a block's transaction, and what is asked with it.
struct Begin {
    statements: String,
    counters: bool,
}

impl Begin {
    /// `behind` says that it is sent right behind a COMMIT, which was fenced.
    fn new(boot: &Boot<'_>, component: &Component, behind: bool, counts_from_nothing: bool) -> Begin {
        let counters = !counts_from_nothing;
        let mut all = vec!["begin isolation level read committed read write".to_owned()];
        all.extend((!behind).then(|| boot.still()));
        all.extend([format!("set local {}", named(boot.host, &component.manifest.id)), boot.settings()]);
        all.extend(counters.then(|| COUNTERS.to_owned()));
        all.push(boot.questions.around().into_owned());
        Begin { statements: all.join("; "), counters }
    }

    /// What the counters say, and how transaction and session stand.
    fn read(&self, sets: &ResultSets) -> (Counters, Around) {
        let counters = if self.counters { Counters::read(sets, 1) } else { Counters::default() };
        (counters, Around::read(sets, 0))
    }
}

/// A block whose transaction begins with the end of the one before it, made ready to run while the server is busy with that.
pub(super) struct Begins {
    id: String,
    begin: Begin,
    begun: Sent,
    policy: Arc<Policy>,
    running: Result<Running, ReportError>,
}

impl Begins {
    /// Sends the begin of a block's transaction, and makes the block ready while the server is busy with it.
    pub(super) async fn ahead(boot: &Boot<'_>, component: &Component, behind: bool, counts_from_nothing: bool) -> Begins {
        let begin = Begin::new(boot, component, behind, counts_from_nothing);
        let begun = boot.connection.send_ahead(begin.statements.clone());
        Connection::leaves().await;
        let policy = Arc::new(Policy::new(&component.manifest, &boot.record.ledger.schema));
        let mut running = start(boot, component, policy.clone(), &boot.connection);
        if let Ok(running) = &mut running {
            running.instantiate().await;
        }
        Begins { id: component.manifest.id.to_string(), begin, begun, policy, running }
    }

    /// Waits until it has begun.
    pub(super) async fn begun(self) -> Result<(Arc<Policy>, Running, Counters, Around), ReportError> {
        let sets = self.begun.await.map_err(|error| ReportError::of_host(&error, "BEGIN"))?;
        let running = self.running?;
        let (counters, around) = self.begin.read(&sets);
        Ok((self.policy, running, counters, around))
    }
}

/// The block that begins with the end of the one before it, if there is one.
#[derive(Default)]
pub(super) struct BegunAhead(Mutex<Option<Begins>>);

impl BegunAhead {
    pub(super) fn put(&self, begins: Begins) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(begins);
    }

    /// A block, if its begin was sent.
    pub(super) fn take(&self, id: &str) -> Option<Begins> {
        let begins = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        begins.filter(|begins| begins.id == id)
    }
}

/// Has the server look whether we are still there.
pub(super) const STILL_THERE: &str = "select set_config('client_connection_check_interval', '1000', true)
    where current_setting('client_connection_check_interval', true) = '0' and version() ~ 'linux'";

/// The same, for as long as the session lives.
pub(super) const STILL_THERE_IN_SESSION: &str = "select set_config('client_connection_check_interval', '1000', false)
    where current_setting('client_connection_check_interval', true) = '0' and version() ~ 'linux'";

/// After SET: has the server show to others which block runs.
pub(super) fn named(host: &Host, block: &str) -> String {
    format!("application_name = {}", literal(&shown_while(&host.ledger, Doing::Runs, block)))
}

/// The blocks' search path. The temporary schema stands last: unnamed, it would come first, and a temporary table would shadow others.
pub(super) fn path(host: &Host) -> String {
    let schemas = host.search_path.split(',').map(|schema| name(schema.trim()));
    schemas.chain(["pg_temp".to_owned()]).collect::<Vec<_>>().join(", ")
}

/// The settings of a block's transaction. They end with it, so that they hold behind a pooler too.
///
/// Among them, how the server prints what the contract has no case for, whatever the database's own settings are: rounded
/// floats and abbreviated time zones would be other values. And that it looks whether we are still there: without that, the
/// statement of a killed host runs to its end, with its locks. Servers before 14 cannot, nor can those on systems that do not
/// tell them.
pub(super) fn settings(host: &Host) -> String {
    format!("{}; {STILL_THERE}", settings_alone(host))
}

/// The same, for a session that has [`STILL_THERE_IN_SESSION`].
pub(super) fn settings_alone(host: &Host) -> String {
    let limits = &host.limits;
    format!(
        "set local search_path = {}; set local lock_timeout = {}; set local statement_timeout = {};
         set local idle_in_transaction_session_timeout = {}; set local client_min_messages = warning;
         set local extra_float_digits = 1; set local datestyle = iso; set local intervalstyle = postgres",
        path(host),
        limits.lock.as_millis(),
        limits.statement.as_millis(),
        (limits.wall + Duration::from_secs(60)).as_millis(),
    )
}
