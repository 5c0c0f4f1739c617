//! A block inside the host's transaction. Each state has only the step that may come next, so that nothing is committed that
//! was not verified and measured.

mod measure;

use super::{
    Boot,
    backfill::pace::{Pressure, WAITING},
    begin::Begins,
};
use crate::{
    database::{
        Connection, ResultSets,
        around::{Around, HOST_PATH},
        effects::{COUNTERS, Counters, Effects},
        observer::Observer,
        policy::{Phase, Policy},
        questions::Questions,
        session::Session,
        touched::{TOUCHED, Touched},
    },
    load::Component,
    lock::Held,
    report::{ErrorClass, ReportError},
    sandbox::{BlockError, Ended, Running, Stepped},
};
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
}

/// The host began it, the block did nothing yet.
pub(super) struct Begun<'a>(Transaction<'a>);
/// The block did its work.
pub(super) struct Worked<'a>(Transaction<'a>);
/// Its post-conditions hold.
pub(super) struct Verified<'a>(Transaction<'a>);
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

/// The transaction and the session at its begin.
fn around(sets: &ResultSets, questions: &Questions) -> Around {
    Around::read(sets, 1).and_prepared(questions.all_prepared(sets, 0))
}

impl<'a> Begun<'a> {
    /// Compiles the block and begins its transaction, unless that rode with the COMMIT before it.
    pub(super) async fn begin(boot: &'a Boot<'a>, component: &'a Component) -> Result<Begun<'a>, ReportError> {
        let begins = match boot.begun.take(&component.manifest.id) {
            Some(begins) => begins,
            None => {
                compiled(boot, component).await?;
                let begins = Begins::ahead(boot, component, false, boot.counts_from_nothing()).await;
                boot.connection.counts();
                begins
            }
        };
        let (policy, mut running, counters, around) = begins.begun(&boot.questions).await?;
        running.session().enter(Phase::Work, counters);
        Ok(Begun(Transaction { boot, component, running, policy, around, after: None }))
    }

    /// The same behind a savepoint of the rehearsal's transaction, and observed.
    pub(super) async fn rehearse(
        boot: &'a Boot<'a>,
        component: &'a Component,
        after: Option<u64>,
    ) -> Result<Begun<'a>, ReportError> {
        let ledger = &boot.record.ledger.schema;
        let policy = Arc::new(Policy::new(&component.manifest, ledger));
        compiled(boot, component).await?;
        let mut running = start(boot, component, policy.clone(), &boot.connection)?;
        let (stands, prepared) = (boot.questions.around(), boot.questions.prepared());
        let begin = format!("savepoint {REHEARSED}; {COUNTERS}; {TOUCHED}; {stands}; {prepared}");
        let sets = boot.connection.send(&begin).await.map_err(|error| ReportError::of_host(&error, "SAVEPOINT"))?;
        let session = running.session();
        session.enter(Phase::Work, Counters::read(&sets, 3));
        session.observe(Observer::new(ledger, Touched::read(&sets, 2).locks(ledger)));
        Ok(Begun(Transaction { boot, component, running, policy, around: around(&sets, &boot.questions), after }))
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
pub(super) async fn compiled(boot: &Boot<'_>, component: &Component) -> Result<(), ReportError> {
    if boot.sandbox.is_ready(component) {
        return Ok(());
    }
    let (sandbox, block) = (boot.sandbox.clone(), component.clone());
    let compiling = tokio::task::spawn_blocking(move || sandbox.block(&block).map(drop));
    match compiling.await {
        Ok(compiled) => compiled.map_err(|error| ReportError::of_block(&error, None, None)),
        Err(_) => Err(ReportError::new(ErrorClass::Sandbox, "the compiler broke")),
    }
}

/// Makes a block ready to run on a connection.
pub(super) fn start(
    boot: &Boot<'_>,
    component: &Component,
    policy: Arc<Policy>,
    connection: &Arc<Connection>,
) -> Result<Running, ReportError> {
    let manifest = &component.manifest;
    let limits = &boot.host.limits;
    let block = boot.sandbox.block(component).map_err(|error| ReportError::of_block(&error, None, None))?;
    let mut session = Session::new(connection.clone(), policy, limits.clone(), manifest.budget.statements);
    session.tell(boot.host.teller.clone());
    session.show_values(boot.host.shows_values);
    let wall = manifest.budget.time().map_or(limits.wall, |time| time.min(limits.wall));
    Ok(boot.sandbox.start(&block, session, limits, wall))
}

impl<'a> Worked<'a> {
    /// Looks at the post-conditions, read-only, behind a savepoint.
    pub(super) async fn verify(mut self) -> Result<Verified<'a>, Broken<'a>> {
        let counters = self.0.running.session().counters().clone();
        self.0.running.session().enter(Phase::Verify, counters);
        let savepoint = "savepoint plinth_verify; set transaction read only";
        let (opened, verified) = self.0.boot.connection.send_before(savepoint, self.0.running.verify()).await;
        // What it sent in its work was waited for with this.
        if let Some(failed) = self.0.running.session().failed_at_work().cloned() {
            return Err(self.0.broken(ReportError::of_statement(&failed)));
        }
        if let Some(Err(error)) = opened {
            return Err(self.0.broken(ReportError::of_host(&error, "the block left its transaction unusable")));
        }
        match verified {
            Err(error) => Err(self.0.broken_by(&error)),
            // Nothing else would notice that it says too early that it is done.
            Ok(checks) if checks.is_empty() && self.0.component.manifest.kind == Kind::Backfill => {
                let error = ReportError::new(ErrorClass::PostCondition, "the backfill says that it is done and checks nothing");
                Err(self.0.broken(error.hint("look in verify whether a row is left that should have been worked on")))
            }
            Ok(checks) => match ReportError::of_checks(&checks) {
                Some(error) => Err(self.0.broken(error)),
                None => Ok(Verified(self.0)),
            },
        }
    }

    /// Measures a batch that is not the last one: post-conditions are about the end. Also tells who waits for it.
    pub(super) async fn measure_batch(self) -> Result<(Measured<'a>, Pressure), Broken<'a>> {
        let (measured, sets) = self.0.measure(WAITING).await?;
        Ok((measured, Pressure::waiting(&sets, 5)))
    }

    /// Gives the work up, as the block asked: for a deferral.
    pub(super) fn give_up(self) -> Box<Transaction<'a>> {
        Box::new(self.0)
    }
}

impl<'a> Verified<'a> {
    /// Asks the database what the block did, and holds it against the manifest.
    pub(super) async fn measure(self) -> Result<Measured<'a>, Broken<'a>> {
        let (measured, _) = self.0.measure("rollback to savepoint plinth_verify; release savepoint plinth_verify").await?;
        Ok(measured)
    }
}

impl<'a> Measured<'a> {
    /// Ends the transaction. What is to be recorded rides with COMMIT, and the begin of the next one does, if it is known.
    pub(super) async fn commit(
        self,
        record: Option<&str>,
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
        let end = match record {
            None => format!("commit; {tidy}"),
            Some(record) => match transaction.boot.admitted(record).await {
                // The host's own statements find PostgreSQL's functions and nobody else's.
                Ok(record) => format!("{HOST_PATH}; {record}; {commit}; {tidy}"),
                Err(error) => return Err(transaction.broken(error)),
            },
        };
        let boot = transaction.boot;
        let ended = boot.connection.send_ahead(end);
        // No transaction waits for the compiler.
        let next = next.filter(|next| boot.sandbox.is_ready(next));
        let begins = match next {
            Some(next) => {
                let counts_from_nothing = boot.questions.are_prepared() && boot.connection.flushes();
                Some(Begins::ahead(boot, next, record.is_some(), counts_from_nothing).await)
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
                let error = ReportError::of_end(&error, "COMMIT", transaction.boot.host.shows_values);
                Err(transaction.broken(error))
            }
        }
    }

    /// Keeps what the block did for those after it, until the rehearsal's transaction is rolled back.
    pub(super) async fn keep(self) -> Result<Transaction<'a>, Broken<'a>> {
        let transaction = self.transaction;
        match transaction.boot.connection.send(&format!("release savepoint {REHEARSED}")).await {
            Ok(_) => Ok(transaction),
            Err(error) => Err(transaction.broken(ReportError::of_host(&error, "RELEASE SAVEPOINT"))),
        }
    }

    /// Gives up what was measured.
    pub(super) fn fail(self, error: ReportError) -> Broken<'a> {
        self.transaction.broken(error)
    }

    pub(super) fn running(&mut self) -> &mut Running {
        &mut self.transaction.running
    }
}

impl<'a> Transaction<'a> {
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
