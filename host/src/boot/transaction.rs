//! A block inside the host's transaction. Each state has only the step that may come next, so that nothing is committed that
//! was not verified and measured.

mod measure;

use super::{
    Boot,
    backfill::pace::{Pressure, WAITING},
    begin::{Begins, Ground},
};
use crate::{
    database::{
        ResultSets,
        around::{Around, HOST_PATH},
        effects::{COUNTERS, Counters, Effects},
        observer::Observer,
        policy::{Phase, Policy},
        session::Session,
        touched::{Touched, touched_query},
    },
    load::Component,
    lock::Held,
    report::{ErrorClass, ReportError},
    sandbox::{BlockError, Ended, Running, Sandbox, Stepped},
};
use measure::Measure;
use plinth_manifest::Kind;
use std::sync::Arc;

/// A block's transaction, as far as it has come.
pub(super) struct Transaction<'a> {
    boot: &'a Boot<'a>,
    component: &'a Component,
    pub(super) running: Running,
    policy: Arc<Policy>,
    /// The transaction and the session as a block must leave them.
    around: Around,
    /// In a rehearsal: what the blocks before it did is older than this.
    after: Option<u64>,
    /// Whether it stands behind [`LOOK`], read-only.
    looks: bool,
}

/// The host began it, the block did nothing yet.
pub(super) struct Begun<'a>(Transaction<'a>);
/// The block did its work.
pub(super) struct Worked<'a>(Transaction<'a>);
/// Its post-conditions hold.
pub(super) struct Verified<'a> {
    transaction: Transaction<'a>,
    /// What it did was asked before they were looked at.
    measure: Measure,
    sets: ResultSets,
}
/// What it did is known and allowed.
pub(super) struct Measured<'a> {
    pub(super) effects: Effects,
    transaction: Transaction<'a>,
}

/// When what a block did is on the server's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durable {
    /// With its COMMIT.
    AtOnce,
    /// With the COMMIT that closes the boot, at the latest: the server writes what was committed in its order. A server that crashes
    /// before that has lost the last blocks together with their rows in the ledger, as if they had not run yet. A thousand
    /// blocks then wait for the disk once.
    WithTheBoot,
}

/// A transaction that must be rolled back, and why. None if its connection is in no state to say anything.
pub(super) struct Broken<'a> {
    pub(super) transaction: Box<Transaction<'a>>,
    pub(super) error: ReportError,
    /// What it did, if it came so far that this is known.
    pub(super) effects: Option<Effects>,
}

/// The savepoint before a block of a rehearsal.
const REHEARSED: &str = "plinth_rehearsed";

/// Goes behind a savepoint to look at post-conditions.
const LOOK: &str = "savepoint plinth_verify; set transaction read only";
/// Goes back, to where the transaction may write.
const LOOKED: &str = "rollback to savepoint plinth_verify; release savepoint plinth_verify; ";

impl<'a> Begun<'a> {
    /// Compiles the block and begins its transaction, unless that rode with the COMMIT before it.
    pub(super) async fn begin(boot: &'a Boot<'a>, component: &'a Component) -> Result<Begun<'a>, ReportError> {
        let begins = match boot.begun.take(&component.manifest.id) {
            Some(begins) => begins,
            None => {
                compiled(&boot.sandbox, component).await?;
                let ground = boot.ground();
                let begins = Begins::ahead(ground, component, false, ground.counts_from_nothing()).await;
                boot.connection.counts();
                begins
            }
        };
        let (policy, mut running, counters, around) = begins.begun().await?;
        running.session().enter(Phase::Work, counters);
        Ok(Begun(Transaction { boot, component, running, policy, around, after: None, looks: false }))
    }

    /// The same behind a savepoint of the rehearsal's transaction, and observed.
    pub(super) async fn rehearse(
        boot: &'a Boot<'a>,
        component: &'a Component,
        after: Option<u64>,
    ) -> Result<Begun<'a>, ReportError> {
        let ledger = &boot.record.ledger.schema;
        let policy = Arc::new(Policy::new(&component.manifest, ledger));
        compiled(&boot.sandbox, component).await?;
        let mut running = start(boot.ground(), component, policy.clone())?;
        let begin = format!("savepoint {REHEARSED}; {COUNTERS}; {}; {}", touched_query(), boot.questions.around());
        let sets = boot.connection.send(&begin).await.map_err(|error| ReportError::of_host(&error, "SAVEPOINT"))?;
        let session = running.session();
        session.enter(Phase::Work, Counters::read(&sets, 2));
        session.observe(Observer::new(ledger, Touched::read(&sets, 1).locks(ledger)));
        Ok(Begun(Transaction { boot, component, running, policy, around: Around::read(&sets, 0), after, looks: false }))
    }

    /// Lets the block do its work.
    pub(super) async fn work(mut self) -> Result<(Worked<'a>, Ended), Broken<'a>> {
        match self.0.running.work().await {
            Ok(Ended::Deferred(reason)) => Ok((Worked(self.0), Ended::Deferred(reason))),
            Ok(ended) => Ok((self.worked()?, ended)),
            Err(error) => Err(self.0.broken_by(&error)),
        }
    }

    /// Lets a backfill do one batch.
    pub(super) async fn step(mut self, cursor: Option<&str>, rows: u64) -> Result<(Worked<'a>, Stepped), Broken<'a>> {
        match self.0.running.step(cursor, rows).await {
            Ok(Stepped::Ended(Ended::Deferred(reason))) => Ok((Worked(self.0), Stepped::Ended(Ended::Deferred(reason)))),
            Ok(stepped) => Ok((self.worked()?, stepped)),
            Err(error) => Err(self.0.broken_by(&error)),
        }
    }

    /// The contract: a failure outside a savepoint ends the work, whatever the block makes of it.
    fn worked(self) -> Result<Worked<'a>, Broken<'a>> {
        let Some(failed) = self.0.running.failed() else { return Ok(Worked(self.0)) };
        let error = ReportError::of_statement(&failed);
        if !failed.heard {
            return Err(self.0.broken(error));
        }
        let ours = "the block went on after this failure: use a savepoint for what may fail";
        let hint = error.hint.as_ref().map_or_else(|| ours.to_owned(), |theirs| format!("{theirs}; {ours}"));
        Err(self.0.broken(error.hint(hint)))
    }
}

/// Compiles a block, unless it is compiled. On a thread that may wait, so that a boot that is told to stop stops meanwhile.
pub(super) async fn compiled(sandbox: &Sandbox, component: &Component) -> Result<(), ReportError> {
    if sandbox.is_ready(component) {
        return Ok(());
    }
    let (sandbox, block) = (sandbox.clone(), component.clone());
    let compiling = tokio::task::spawn_blocking(move || sandbox.block(&block).map(drop));
    match compiling.await {
        Ok(compiled) => compiled.map_err(|error| ReportError::of_block(&error, None, None)),
        Err(_) => Err(ReportError::new(ErrorClass::Sandbox, "the compiler broke")),
    }
}

/// Makes a block ready to run.
pub(super) fn start(ground: Ground<'_>, component: &Component, policy: Arc<Policy>) -> Result<Running, ReportError> {
    let Ground { host, sandbox, connection, .. } = ground;
    let manifest = &component.manifest;
    let limits = &host.limits;
    let block = sandbox.block(component).map_err(|error| ReportError::of_block(&error, None, None))?;
    let mut session = Session::new(connection.clone(), policy, limits.clone(), manifest.budget.statements);
    session.tell(host.teller.clone());
    session.show_values(host.shows_values);
    let wall = manifest.budget.time().map_or(limits.wall, |time| time.min(limits.wall));
    Ok(sandbox.start(&block, session, limits, wall))
}

impl<'a> Worked<'a> {
    /// Looks at the post-conditions, read-only, behind a savepoint. What the block did is asked right before that, in the same round trip:
    /// a look that can write nothing changes nothing of it.
    pub(super) async fn verify(mut self) -> Result<Verified<'a>, Broken<'a>> {
        let counters = self.0.running.session().counters().clone();
        let measure = Measure::new(&mut self.0, None);
        self.0.running.session().enter(Phase::Verify, counters);
        self.0.looks = true;
        let (boot, ask) = (self.0.boot, format!("{}; {LOOK}", measure.ask));
        // What the block sent in its work comes first.
        let (asked, verified) = boot.connection.send_before(boot.host.limits.wall, &ask, self.0.running.verify()).await;
        if let Some(failed) = self.0.running.session().failed_at_work().cloned() {
            return Err(self.0.broken(ReportError::of_statement(&failed)));
        }
        let sets = match asked {
            Some(Ok(mut sets)) => {
                // Of going there, nothing is to be read.
                sets.take_last(2);
                sets
            }
            Some(Err(error)) => return Err(self.0.unmeasured(&error)),
            None => ResultSets::default(),
        };
        match verified {
            // What runs is nothing that it sent.
            Err(error) if sets.count() == 0 && !self.0.running.session().is_underway() => {
                let failed = self.0.running.failed();
                Err(self.0.broken(ReportError::of_block(&error, failed, None)))
            }
            Err(error) => Err(self.0.broken_by(&error)),
            // Nothing else would notice that it says too early that it is done.
            Ok(checks) if checks.is_empty() && self.0.component.manifest.kind == Kind::Backfill => {
                let error = ReportError::new(ErrorClass::PostCondition, "the backfill says that it is done and checks nothing");
                Err(self.0.broken(error.hint("look in verify whether a row is left that should have been worked on")))
            }
            Ok(checks) => match ReportError::of_checks(&checks) {
                Some(error) => Err(self.0.broken(error)),
                None => Ok(Verified { transaction: self.0, measure, sets }),
            },
        }
    }

    /// Measures a batch that is not the last one: post-conditions are about the end. Also tells who waits for it.
    pub(super) async fn measure_batch(mut self) -> Result<(Measured<'a>, Pressure), Broken<'a>> {
        let measure = Measure::new(&mut self.0, Some(WAITING));
        let sets = match self.0.boot.connection.send(&measure.ask).await {
            Ok(sets) => sets,
            Err(error) => return Err(self.0.unmeasured(&error)),
        };
        let pressure = Pressure::waiting(&sets, measure.before());
        Ok((self.0.measured(&measure, sets).await?, pressure))
    }

    /// Gives the work up, as the block asked: for a deferral.
    pub(super) fn give_up(self) -> Box<Transaction<'a>> {
        Box::new(self.0)
    }
}

impl<'a> Verified<'a> {
    /// Holds what the block did, as the database says, against the manifest.
    pub(super) async fn measure(self) -> Result<Measured<'a>, Broken<'a>> {
        self.transaction.measured(&self.measure, self.sets).await
    }
}

impl<'a> Measured<'a> {
    /// Ends the transaction. What is to be recorded rides with COMMIT, and the begin of the next one does, if it is known.
    pub(super) async fn commit(
        self,
        record: &[String],
        durable: Durable,
        next: Option<&Component>,
    ) -> Result<Transaction<'a>, Broken<'a>> {
        let mut transaction = self.transaction;
        // Without the lock, another replica may be running the same block. The fence is the same question to the server,
        // which knows for certain.
        if !transaction.boot.held.is_some_and(Held::is_held) {
            return Err(transaction.broken(ReportError::new(ErrorClass::Fenced, "the boot's lock was lost")));
        }
        // Behind a pooler another session gets this one's connection next, with what is prepared on it.
        transaction.running.session().forget();
        let commit = match durable {
            Durable::AtOnce => "commit",
            Durable::WithTheBoot => "set local synchronous_commit = off; commit",
        };
        let tidy = transaction.boot.connection.tidy();
        let record = if record.is_empty() {
            String::new()
        } else {
            match transaction.boot.admitted(&record.join("; ")).await {
                Ok(record) => format!("{record}; "),
                Err(error) => return Err(transaction.broken(error)),
            }
        };
        let fenced = !record.is_empty();
        let boot = transaction.boot;
        // The host's own statements find PostgreSQL's functions and nobody else's.
        let looked = transaction.looked();
        let end = format!("{looked}{HOST_PATH}; {}; {record}{commit}; {tidy}", boot.questions.unharmed());
        let ended = boot.connection.send_ahead(end);
        // No transaction waits for the compiler.
        let next = next.filter(|next| boot.sandbox.is_ready(next));
        let begins = match next {
            Some(next) => {
                let counts_from_nothing = boot.questions.are_prepared() && boot.connection.flushes();
                Some(Begins::ahead(boot.ground(), next, fenced, counts_from_nothing).await)
            }
            None => None,
        };
        match ended.await {
            Ok(_) => {
                boot.connection.tidied();
                if let Some(begins) = begins {
                    boot.connection.counts();
                    boot.begun.put(begins);
                }
                Ok(transaction)
            }
            Err(error) => {
                let harmed = ReportError::of_harm(&error);
                let error = harmed.unwrap_or_else(|| ReportError::of_end(&error, "COMMIT", transaction.boot.host.shows_values));
                Err(transaction.broken(error))
            }
        }
    }

    /// Keeps what the block did for those after it, until the rehearsal's transaction is rolled back.
    pub(super) async fn keep(self) -> Result<Transaction<'a>, Broken<'a>> {
        let mut transaction = self.transaction;
        let (looked, unharmed) = (transaction.looked(), transaction.boot.questions.unharmed());
        match transaction.boot.connection.send(&format!("{looked}{unharmed}; release savepoint {REHEARSED}")).await {
            Ok(_) => Ok(transaction),
            Err(error) => {
                let harmed = ReportError::of_harm(&error);
                Err(transaction.broken(harmed.unwrap_or_else(|| ReportError::of_host(&error, "RELEASE SAVEPOINT"))))
            }
        }
    }

    /// Gives up what was measured.
    pub(super) fn fail(self, error: ReportError) -> Broken<'a> {
        self.transaction.broken(error)
    }

    /// Goes back from the look at post-conditions, for whoever goes on in the transaction.
    pub(super) async fn looked(&mut self) -> Result<(), ReportError> {
        match self.transaction.looked() {
            "" => Ok(()),
            looked => {
                let back = self.transaction.boot.connection.send(looked).await;
                back.map(drop).map_err(|error| ReportError::of_host(&error, "ROLLBACK TO SAVEPOINT"))
            }
        }
    }

    pub(super) fn running(&mut self) -> &mut Running {
        &mut self.transaction.running
    }
}

impl<'a> Transaction<'a> {
    /// What goes back from the look at post-conditions, if it stands there.
    fn looked(&mut self) -> &'static str {
        if std::mem::take(&mut self.looks) { LOOKED } else { "" }
    }

    fn broken(self, error: ReportError) -> Broken<'a> {
        Broken { transaction: Box::new(self), error, effects: None }
    }

    fn broken_by(mut self, error: &BlockError) -> Broken<'a> {
        let failed = self.running.failed();
        let current = self.running.session().current().map(|(number, sql)| (number, sql.to_owned()));
        let error = ReportError::of_block(error, failed, current);
        self.broken(error)
    }

    /// Rolls back, whatever state it is in, and records what is to be recorded. False if the connection had to be given up.
    // Not `&self`: a guest's store is not Sync, and the boot's future is to be Send.
    pub(super) async fn roll_back(&mut self, record: &str) -> bool {
        let tidy = self.boot.connection.tidy();
        if self.boot.walled() {
            let undone = self.undo(format!("rollback; {tidy}")).await;
            if undone {
                self.boot.connection.tidied();
            }
            self.boot.tell(record).await;
            return undone;
        }
        let undone = self.undo(format!("rollback; {tidy}; {record}")).await;
        if undone {
            self.boot.connection.tidied();
        }
        // The server rolls back what a connection leaves that is gone.
        if !undone && self.boot.connection.client().is_closed() {
            self.boot.tell(record).await;
        }
        undone
    }

    /// Rolls a rehearsed block back, and nothing before it.
    pub(super) async fn roll_back_rehearsed(&mut self) -> bool {
        self.undo(format!("rollback to savepoint {REHEARSED}; release savepoint {REHEARSED}")).await
    }

    async fn undo(&mut self, rollback: String) -> bool {
        self.running.session().forget();
        self.boot.connection.end_with(&rollback).await
    }
}
