//! A block inside the host's transaction. Each state has only the step that may come next, so that nothing is committed that
//! was not verified and measured.

use super::{
    Boot,
    backfill::pace::{Pressure, WAITING},
    begin::Begins,
    provides::provided,
};
use crate::{
    database::{
        Connection, ResultSets,
        around::{Around, HOST_PATH},
        effects::{COUNTERS, Counters, Effects},
        objects::{Objects, Question},
        observer::Observer,
        policy::{Phase, Policy},
        questions::{PREPARED, Questions, read_prepared},
        session::Session,
        touched::{TOUCHED, Touched},
    },
    load::Component,
    lock::Held,
    report::{ErrorClass, ReportError},
    sandbox::{BlockError, Ended, Running, Stepped},
};
use plinth_manifest::{Kind, TableName};
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
        if let Err(error) = opened {
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

impl<'a> Transaction<'a> {
    /// Measures, with something that is to be sent before.
    async fn measure(mut self, before: &str) -> Result<(Measured<'a>, ResultSets), Broken<'a>> {
        let ledger = &self.boot.record.ledger.schema;
        // The look at what it provides comes last: its own locks are none of the block's.
        let provides = provided(&self.component.manifest);
        let questions = &self.boot.questions;
        let looks = questions.look(&provides);
        // What has to say more than most may do more than most.
        let everywhere = !self.component.manifest.allow.is_empty();
        // Whether it made any at all is the cheaper question, for what only works on rows.
        let question = questions.first(self.running.session().defined(), self.after, everywhere);
        // What a block puts off to COMMIT is its doing too, and is not to see the text of what the host sends with COMMIT.
        let ask = format!(
            "{before}; set constraints all immediate; {}; {PREPARED}; {}; {}; {}",
            questions.around(),
            questions.touched(),
            questions.objects(question),
            looks.join("; ")
        );
        let mut sets = match self.boot.connection.send(&ask).await {
            Ok(sets) => sets,
            Err(error) => {
                let deferred = error.code().is_some_and(|code| code.code().starts_with("23"));
                let doing =
                    if deferred { "what was put off to the block's end" } else { "what the block did cannot be measured" };
                let error = ReportError::of_end(&error, doing, self.boot.host.shows_values);
                return Err(self.broken(error));
            }
        };
        let existing = provides.read_all(&sets.take_last(looks.len()));
        let touched = Touched::read(&sets, 1);
        let now = Around::read(&sets, 3).and_prepared(read_prepared(&sets, 2));
        if let Some(error) = ReportError::of_around(&self.around, &now, &touched, ledger) {
            return Err(self.broken(error));
        }
        let rows = touched.counters().since(self.running.session().counters());
        let objects = match made(self.boot, self.after, everywhere, question.read(&sets, 0)).await {
            Ok(objects) => objects,
            Err(error) => return Err(self.broken(ReportError::of_host(&error, "what the block did cannot be measured"))),
        };
        let youngest = objects.youngest().max(self.after);
        let effects = Effects { rows, locks: touched.locks(ledger), objects: objects.changes(ledger), youngest };
        match self.forbidden(&effects).or_else(|| ReportError::of_provides(&self.component.manifest, &existing)) {
            Some(error) => Err(Broken { effects: Some(effects), ..self.broken(error) }),
            None => Ok((Measured { effects, transaction: self }, sets)),
        }
    }
}

/// The objects that a transaction made, if what was seen is not enough to know.
async fn made(
    boot: &Boot<'_>,
    after: Option<u64>,
    everywhere: bool,
    seen: Option<Objects>,
) -> Result<Objects, tokio_postgres::Error> {
    if let Some(seen) = seen {
        return Ok(seen);
    }
    for everywhere in [everywhere, true] {
        let question = Question::All { after, everywhere };
        if let Some(objects) = question.read(&boot.connection.send(&boot.questions.objects(question)).await?, 0) {
            return Ok(objects);
        }
    }
    Ok(Objects::default())
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

    /// What the block did that its manifest or its budget does not allow.
    fn forbidden(&self, effects: &Effects) -> Option<ReportError> {
        let manifest = &self.component.manifest;
        let ledger = |table: &TableName| table.schema == self.boot.record.ledger.schema;
        if effects.rows.keys().any(ledger) {
            return Some(ReportError::new(ErrorClass::Effects, "the block wrote into the ledger"));
        }
        let undeclared: Vec<String> =
            effects.rows.keys().filter(|table| !self.policy.may_change(table)).map(|table| format!("{table}.*")).collect();
        if !undeclared.is_empty() {
            let names = undeclared.join(", ");
            let error = ReportError::new(
                ErrorClass::Effects,
                format!("the block changed rows of {names}, which its manifest does not name"),
            );
            return Some(error.hint(format!(
                "add {} to writes in block.toml, or find the trigger or function that writes there",
                undeclared.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
            )));
        }
        // A batch may go by way of a temporary table.
        let passes = |object: &str| manifest.kind == Kind::Backfill && object.starts_with("pg_temp");
        let objects = effects.objects.iter().filter(|object| !passes(&object.object));
        let names: Vec<String> = objects.map(|object| format!("{} {}", object.kind, object.object)).collect();
        if manifest.kind != Kind::Migration && !names.is_empty() {
            let kind = manifest.kind;
            let error = ReportError::new(ErrorClass::Effects, format!("the {kind} changed the schema: {}", names.join(", ")));
            return Some(error.hint(format!("schema and {kind} are separate blocks: put it into a migration")));
        }
        match manifest.budget.rows {
            Some(most) if effects.total_rows() > most => Some(
                ReportError::new(
                    ErrorClass::Budget,
                    format!("the block changed {} rows, its budget is {most}", effects.total_rows()),
                )
                .hint("raise rows under [budget] in block.toml, or do the work in smaller parts"),
            ),
            _ => None,
        }
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
