//! What begins a block's transaction: its settings, the name that it shows, and the begin that rides with the COMMIT before it, or with
//! what opens the boot.

use super::transaction::start;
use crate::{
    database::{
        Connection, ResultSets, Sent,
        around::Around,
        effects::{COUNTERS, Counters},
        literal, name,
        policy::Policy,
        questions::Questions,
    },
    host::Host,
    ledger::Token,
    load::Component,
    lock::{Doing, shown_while},
    report::ReportError,
    sandbox::{Running, Sandbox},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What blocks run on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) host: &'a Host,
    pub(super) sandbox: &'a Sandbox,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) questions: &'a Questions,
    /// None in a rehearsal, which commits nothing.
    pub(super) token: Option<&'a Token>,
    /// Whether blocks have a role of their own.
    pub(super) walled: bool,
}

impl Ground<'_> {
    /// The settings of a block's transaction.
    pub(super) fn settings(self) -> String {
        if self.questions.are_prepared() { settings_alone(self.host) } else { settings(self.host) }
    }

    /// Whether what the session's counters say is the block's that begins now, and nobody else's.
    pub(super) fn counts_from_nothing(self) -> bool {
        self.questions.are_prepared() && self.connection.counts_from_nothing()
    }

    /// At the begin of a block's transaction: fails if another runner took over. A role of the blocks' own cannot ask; COMMIT does.
    fn still(self) -> String {
        match self.token {
            Some(token) if !self.walled => self.questions.still(token.number, || token.still()),
            _ => "select".to_owned(),
        }
    }
}

/// What begins a block's transaction, and what is asked with it.
struct Begin {
    statements: String,
    counters: bool,
}

impl Begin {
    /// `behind` says that it is sent right behind a COMMIT, which was fenced.
    fn new(ground: Ground<'_>, component: &Component, behind: bool, counts_from_nothing: bool) -> Begin {
        let counters = !counts_from_nothing;
        let mut all = vec!["begin isolation level read committed read write".to_owned()];
        all.extend((!behind).then(|| ground.still()));
        all.extend([format!("set local {}", named(ground.host, &component.manifest.id)), ground.settings()]);
        all.extend(counters.then(|| COUNTERS.to_owned()));
        all.push(ground.questions.around().into_owned());
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
    pub(super) async fn ahead(ground: Ground<'_>, component: &Component, behind: bool, counts_from_nothing: bool) -> Begins {
        let begin = Begin::new(ground, component, behind, counts_from_nothing);
        let begun = ground.connection.send_ahead(begin.statements.clone());
        Connection::leaves().await;
        let policy = Arc::new(Policy::new(&component.manifest, &ground.host.ledger.schema));
        let mut running = start(ground, component, policy.clone());
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
    /// With one that began with the boot.
    pub(super) fn with(begins: Option<Begins>) -> BegunAhead {
        BegunAhead(Mutex::new(begins))
    }

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
