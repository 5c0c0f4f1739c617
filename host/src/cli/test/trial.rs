//! One block, tried: each step on a copy of the same database.

use super::{
    declared::{Relations, undeclared_columns, undeclared_tables, unprovided, unused_writes},
    stage::{Stage, told},
    subject::Subject,
    told::{Check, Checked, Statement, Tested},
};
use crate::{
    BlockReport, BootError, BootState, Component, Components, Outcome, PlanProblem, Rehearsed, Report,
    boot::findings::findings,
    embedded::{Snapshot, Unsteady},
    report::RehearsedStatement,
};
use anyhow::{Context, bail, ensure};
use plinth_manifest::{Changed, Kind, Transaction};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tempfile::TempDir;
use tokio::{sync::Barrier, task::JoinSet};

/// The mode of a lock that keeps nobody from anything but dropping the table.
const READING: &str = "AccessShareLock";

/// The steps after the first run, in order.
const STEPS: [&str; 6] = ["post-conditions", "run again", "same result", "kills", "two at once", "manifest"];

/// A block with the database it runs on and what is known of it so far.
struct Trial {
    stage: Arc<Stage>,
    subject: Subject,
    folder: TempDir,
    /// The database with fixture and required blocks.
    base: String,
    before: Snapshot,
    after: Snapshot,
    unsteady: Unsteady,
    /// The statements of a host of its own, with what it took.
    answers: u64,
    statements: Vec<String>,
    tested: Tested,
}

/// Tries a block.
pub(super) async fn test(stage: Arc<Stage>, subject: Subject, others: Arc<Components>) -> Tested {
    let started = Instant::now();
    let manifest = subject.component.manifest.clone();
    let tested = Tested {
        id: manifest.id.to_string(),
        kind: manifest.kind,
        file: subject.file.display().to_string(),
        passed: false,
        duration_ms: 0.0,
        checks: Vec::new(),
        required: Vec::new(),
        rows: Default::default(),
        objects: Vec::new(),
        locks: Vec::new(),
        statements: Vec::new(),
        findings: Vec::new(),
        notes: Vec::new(),
    };
    let mut tested = tried(stage, subject, &others, tested).await;
    tested.passed = tested.checks.iter().all(|check| check.result == Checked::Passed);
    tested.duration_ms = milliseconds(started);
    tested
}

async fn tried(stage: Arc<Stage>, subject: Subject, others: &Components, mut tested: Tested) -> Tested {
    let turns = stage.clone();
    let turn = turns.turn().await;
    let started = Instant::now();
    let ready = prepare(&stage, &subject, others, &mut tested).await;
    let message = ready.as_ref().map(|_| fixture(&subject, &tested)).map_err(|error| format!("{error:#}"));
    note(&mut tested, "fixture", started, message);
    let Ok((folder, base, before)) = ready else { return skip(tested, &["run"]) };
    let mut trial = Trial {
        stage,
        subject,
        folder,
        base,
        before,
        after: Snapshot::default(),
        unsteady: Unsteady::default(),
        answers: 0,
        statements: Vec::new(),
        tested,
    };
    let started = Instant::now();
    let ran = trial.run().await;
    let done = trial.note("run", started, ran);
    drop(turn);
    let Some((database, report)) = done else { return skip(trial.tested, &[]) };
    macro_rules! step {
        ($name:literal, $step:expr) => {
            let stage = trial.stage.clone();
            let turn = stage.turn().await;
            let started = Instant::now();
            let seen = $step.await;
            drop(turn);
            trial.note($name, started, seen.map(|message| (message, ())));
        };
    }
    step!("post-conditions", trial.conditions(&database));
    step!("run again", trial.again(&database));
    let _ = trial.stage.remove(&database).await;
    step!("same result", trial.same());
    // Each kill waits for a turn of its own.
    let started = Instant::now();
    let seen = trial.kills().await;
    trial.note("kills", started, seen.map(|message| (message, ())));
    step!("two at once", trial.two());
    step!("manifest", trial.manifest(&report));
    let _ = trial.stage.remove(&trial.base).await;
    trial.tested
}

/// Makes the database: the fixture, then what the block requires and the fixture does not have.
async fn prepare(
    stage: &Stage,
    subject: &Subject,
    others: &Components,
    tested: &mut Tested,
) -> anyhow::Result<(TempDir, String, Snapshot)> {
    let base = stage.copy("template0").await?;
    for fixture in &subject.fixtures {
        let sql = std::fs::read_to_string(fixture).with_context(|| fixture.display().to_string())?;
        stage.execute(&base, &sql).await.with_context(|| fixture.display().to_string())?;
    }
    let folder = tempfile::tempdir()?;
    let (with, without) = (with(folder.path()), folder.path().join("without"));
    std::fs::create_dir(&with)?;
    std::fs::create_dir(&without)?;
    std::fs::copy(&subject.file, with.join(format!("{}.wasm", subject.component.manifest.id)))?;
    loop {
        let missing = match stage.host(&base, &with)?.plan().await {
            Ok(_) => break,
            Err(BootError::Plan(error)) => error,
            Err(error) => bail!(error),
        };
        let chosen: BTreeSet<String> = tested.required.iter().cloned().collect();
        let mut found: Vec<&Component> = Vec::new();
        for problem in missing.problems() {
            let PlanProblem::Missing { object, .. } = problem else { bail!(missing) };
            let provides = |component: &&Component| {
                component.manifest.provides.iter().any(|provided| provided.same(object))
                    && !chosen.contains(&*component.manifest.id)
                    && component.manifest.id != subject.component.manifest.id
            };
            let Some(provider) = others.iter().find(provides) else {
                bail!("{missing}\nadd it to a file in fixtures/, or name the folder of a block that provides it with --with")
            };
            if !found.iter().any(|component| component.manifest.id == provider.manifest.id) {
                found.push(provider);
            }
        }
        for component in found {
            let name = format!("{}.wasm", component.manifest.id);
            for folder in [&with, &without] {
                std::fs::copy(component.origin(), folder.join(&name)).with_context(|| component.origin())?;
            }
            tested.required.push(component.manifest.id.to_string());
        }
    }
    if !tested.required.is_empty() {
        stage.boot(&base, &without).await.context("the required blocks")?;
    }
    let before = stage.snapshot(&base).await?;
    Ok((folder, base, before))
}

fn with(folder: &Path) -> PathBuf {
    folder.join("with")
}

fn fixture(subject: &Subject, tested: &Tested) -> String {
    let files = match subject.fixtures.len() {
        0 => "none: an empty database".to_owned(),
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    if tested.required.is_empty() { files } else { format!("{files}; ran before it: {}", tested.required.join(", ")) }
}

/// Says of everything that comes later that it was not looked at.
fn skip(mut tested: Tested, more: &[&'static str]) -> Tested {
    let skipped = more.iter().copied().chain(STEPS).map(|name| Check {
        name,
        result: Checked::Skipped,
        message: String::new(),
        duration_ms: 0.0,
    });
    tested.checks.extend(skipped);
    tested
}

fn note(tested: &mut Tested, name: &'static str, started: Instant, seen: Result<String, String>) {
    let (result, message) = match seen {
        Ok(message) => (Checked::Passed, message),
        Err(message) => (Checked::Failed, message),
    };
    tested.checks.push(Check { name, result, message, duration_ms: milliseconds(started) });
}

fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e5).round() / 1e2
}

impl Trial {
    fn note<T>(&mut self, name: &'static str, started: Instant, seen: anyhow::Result<(String, T)>) -> Option<T> {
        let (message, value) = match seen {
            Ok((message, value)) => (Ok(message), Some(value)),
            Err(error) => (Err(format!("{error:#}")), None),
        };
        note(&mut self.tested, name, started, message);
        value
    }

    fn id(&self) -> &str {
        &self.subject.component.manifest.id
    }

    fn components(&self) -> PathBuf {
        with(self.folder.path())
    }

    /// Whether a kill leaves the state of before or after, and nothing between.
    fn is_whole(&self) -> bool {
        let manifest = &self.subject.component.manifest;
        manifest.transaction == Transaction::Block && manifest.kind != Kind::Backfill
    }

    /// Rehearses the block, then runs it: in this process, so that everything it did is known.
    async fn run(&mut self) -> anyhow::Result<(String, (String, BlockReport))> {
        let database = self.stage.copy(&self.base).await?;
        let host = self.stage.host(&database, &self.components())?;
        let rehearsal = host.rehearse().await.map_err(told)?;
        if let Some(block) =
            rehearsal.blocks.into_iter().find(|block| block.id == self.id() && block.outcome != Rehearsed::NotTried)
        {
            self.tested.locks = block.locks;
            self.tested.findings = block.findings;
            let statement = |statement: RehearsedStatement| Statement {
                sql: statement.sql,
                duration_ms: Some(statement.duration_ms),
                rows: statement.rows,
            };
            self.tested.statements = block.statements.into_iter().map(statement).collect();
        }
        let report = self.stage.boot(&database, &self.components()).await?;
        let block = self.of(&report)?;
        self.after = self.stage.snapshot(&database).await?;
        self.tested.rows = block.rows.clone();
        self.tested.objects = block.objects.clone();
        match block.outcome {
            Outcome::Applied => {}
            Outcome::Unchanged => self
                .tested
                .notes
                .push("the fixture gives the rule nothing to do: add rows that are not as they should be".to_owned()),
            other => bail!("{}: {}", other.as_str(), block.message.as_deref().unwrap_or("it says no reason")),
        }
        let message = format!("{}; {} statements, {:.1} ms", self.tested.did(), block.statements, block.duration_ms);
        Ok((message, (database, block)))
    }

    fn of(&self, report: &Report) -> anyhow::Result<BlockReport> {
        report.block(self.id()).cloned().context("the report does not name the block")
    }

    /// Its post-conditions, as `plinth verify` looks at them.
    async fn conditions(&self, database: &str) -> anyhow::Result<String> {
        let verified = self.stage.host(database, &self.components())?.verify().await.map_err(told)?;
        let block = verified.blocks.into_iter().find(|block| block.id == self.id()).context("it was not looked at")?;
        if let Some(error) = block.error {
            bail!("{error}");
        }
        let provides = self.subject.component.manifest.provides.len();
        ensure!(block.conditions > 0, "the block states none: a verify that looks at nothing holds whatever the work did");
        let conditions =
            if block.conditions == 1 { "1 condition holds".to_owned() } else { format!("{} conditions hold", block.conditions) };
        Ok(if provides == 0 { conditions } else { format!("{conditions}; what it provides is as declared") })
    }

    /// The second boot, and for what may run twice a second run.
    async fn again(&mut self, database: &str) -> anyhow::Result<String> {
        let manifest = self.subject.component.manifest.clone();
        let report = self.stage.boot(database, &self.components()).await?;
        self.unchanged(database, "the second boot").await?;
        if manifest.kind == Kind::Rule {
            let block = self.of(&report)?;
            without_effect(&block)?;
            let strong = block.locks.iter().filter(|lock| lock.mode != READING);
            let strong: Vec<String> = strong.map(|lock| format!("{} on {}", lock.mode, lock.object)).collect();
            ensure!(
                strong.is_empty(),
                "with nothing to change the rule still takes {}: every boot would queue behind a transaction that writes there; look \
                 with a select before writing",
                strong.join(", ")
            );
            return Ok("changes nothing and takes no lock but for reading".to_owned());
        }
        ensure!(
            report.boot.ran == 0 && self.of(&report).map_or(true, |block| block.outcome == Outcome::Skipped),
            "the second boot ran it"
        );
        self.stage.forget(database, &manifest.id).await?;
        // A backfill goes on from its cursor: that is what the kills show.
        if manifest.kind == Kind::Backfill {
            return Ok("the second boot does nothing".to_owned());
        }
        let must = manifest.transaction == Transaction::None || manifest.changed == Changed::Rerun;
        let second = match self.stage.boot(database, &self.components()).await {
            Ok(report) => self.of(&report).and_then(|block| without_effect(&block)),
            Err(error) => Err(error),
        };
        let second = match second {
            Ok(()) => self.unchanged(database, "a second run").await,
            Err(error) => Err(error),
        };
        match second {
            Ok(()) => Ok("the second boot does nothing; forced to run again, it changes nothing".to_owned()),
            Err(error) if must => Err(error.context("it may run twice by its manifest, and a second run is not without effect")),
            // No fault: the ledger sees to it that it runs once.
            Err(error) => {
                let error = format!("{error:#}");
                let why = error.lines().next().unwrap_or_default();
                let why = why.split(" (SQLSTATE").next().unwrap_or(why);
                let why = why.strip_prefix(&format!("{}: ", self.id())).unwrap_or(why);
                Ok(format!("the second boot does nothing; forced to run again, it would fail: {why}"))
            }
        }
    }

    async fn unchanged(&self, database: &str, what: &str) -> anyhow::Result<()> {
        let difference = self.after.difference(&self.stage.snapshot(database).await?);
        ensure!(difference.is_empty(), "{what} changed the database:\n{difference}");
        Ok(())
    }

    /// The same work by a host in a process of its own: what differs is the clock's and chance's.
    async fn same(&mut self) -> anyhow::Result<String> {
        let database = self.stage.copy(&self.base).await?;
        let ended = self.stage.process(&database, &self.components(), None, None).await?;
        ensure!(ended.code == Some(0), "a host in a process of its own failed: {}", ended.errors);
        let other = self.stage.snapshot(&database).await?;
        self.unsteady = self.after.unsteady(&other);
        self.after = std::mem::take(&mut self.after).without(&self.unsteady);
        self.before = std::mem::take(&mut self.before).without(&self.unsteady);
        self.answers = ended.answers;
        self.statements = ended.statements;
        self.stage.remove(&database).await?;
        let difference = self.after.difference(&other.without(&self.unsteady));
        ensure!(difference.is_empty(), "two runs on equal databases end differently:\n{difference}");
        let columns = self.unsteady.columns();
        if columns.is_empty() {
            return Ok("two runs on equal databases end alike".to_owned());
        }
        Ok(format!("two runs on equal databases end alike, but for {}, which is left out of what follows", columns.join(", ")))
    }

    /// Kills a host after each of its round trips; each time the next boot ends where the first did.
    async fn kills(&mut self) -> anyhow::Result<String> {
        ensure!(self.answers > 0, "no run to kill was counted");
        let mut kills = JoinSet::new();
        for answer in 1..=self.answers {
            let kill = Kill {
                stage: self.stage.clone(),
                components: self.components(),
                base: self.base.clone(),
                id: self.id().to_owned(),
                whole: self.is_whole(),
                before: self.before.clone(),
                after: self.after.clone(),
                unsteady: self.unsteady.clone(),
            };
            kills.spawn(async move { kill.at(answer).await.with_context(|| format!("killed after round trip {answer}")) });
        }
        let (mut untouched, mut done, mut between) = (0, 0, 0);
        while let Some(killed) = kills.join_next().await {
            match killed?? {
                Left::Before => untouched += 1,
                Left::After => done += 1,
                Left::Between => between += 1,
            }
        }
        let parts = [(untouched, "as before"), (done, "as after"), (between, "between")];
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} times {what}")).collect();
        Ok(format!(
            "killed after each of {} round trips: the state was {}; the next boot completed it",
            self.answers,
            parts.join(", ")
        ))
    }

    /// Two hosts, let go at the same moment.
    async fn two(&mut self) -> anyhow::Result<String> {
        let database = self.stage.copy(&self.base).await?;
        let start = Arc::new(Barrier::new(2));
        let components = self.components();
        let host = || self.stage.process(&database, &components, None, Some(start.clone()));
        let (one, other) = tokio::try_join!(host(), host())?;
        let mut ran = 0;
        for ended in [&one, &other] {
            ensure!(ended.code == Some(0), "one of two hosts failed: {}", ended.errors);
            let blocks = ended.report.pointer("/blocks").and_then(serde_json::Value::as_array).into_iter().flatten();
            let outcome = |block: &serde_json::Value| {
                block.get("id")?.as_str().filter(|id| *id == self.id()).and(block.get("outcome")?.as_str().map(str::to_owned))
            };
            ran += blocks.filter_map(outcome).filter(|outcome| outcome == "applied").count();
        }
        let wanted = usize::from(self.tested.checks.iter().any(|check| check.name == "run") && !self.nothing_to_do());
        ensure!(ran == wanted, "{ran} of two hosts changed something, {wanted} was to");
        let difference = self.after.difference(&self.stage.snapshot(&database).await?.without(&self.unsteady));
        ensure!(difference.is_empty(), "two hosts at once end differently:\n{difference}");
        self.stage.remove(&database).await?;
        Ok("both hosts end well, and the work was done once".to_owned())
    }

    fn nothing_to_do(&self) -> bool {
        self.tested.kind == Kind::Rule && self.tested.rows.is_empty() && self.tested.objects.is_empty()
    }

    /// What it did against what it says. The host itself refused undeclared writes and other definitions than those declared.
    async fn manifest(&mut self, block: &BlockReport) -> anyhow::Result<String> {
        let manifest = self.subject.component.manifest.clone();
        if self.tested.statements.is_empty() {
            self.outside();
        }
        // Both before and after: a block may drop what it reads.
        let mut rows = self.stage.rows::<3>(&self.base, Relations::QUERY).await?;
        // An index is locked with its table, and what the block made itself was nobody's to wait for.
        let there = Relations::read(rows.clone());
        self.tested.locks.retain(|lock| there.has(&lock.object));
        let database = self.stage.copy(&self.base).await?;
        self.stage.boot(&database, &self.components()).await?;
        rows.extend(self.stage.rows::<3>(&database, Relations::QUERY).await?);
        self.stage.remove(&database).await?;
        let relations = Relations::read(rows);
        let locked: Vec<String> = block.locks.iter().map(|lock| lock.object.clone()).collect();
        let tables = undeclared_tables(&manifest, &locked, &relations);
        let statements: Vec<String> = self.tested.statements.iter().map(|statement| statement.sql.clone()).collect();
        let columns = undeclared_columns(&manifest, &statements, &relations);
        let unprovided = unprovided(&manifest, &block.objects);
        let unused = unused_writes(&manifest, block.rows.keys());
        let notes = [
            (&unprovided, "makes what `provides` does not name, so that nobody can require it and `plinth verify` does not look"),
            (&columns, "looks at columns that neither `reads` nor `requires` names, so that no order follows from them"),
            (&unused, "declares writes that this fixture does not make it do"),
        ];
        for (names, what) in notes {
            if !names.is_empty() {
                self.tested.notes.push(format!("{what}: {}", names.join(", ")));
            }
        }
        ensure!(
            tables.is_empty(),
            "the block uses {}, which its manifest does not name: add it to requires, so that a boot without it is refused before the \
             first statement",
            tables.join(", ")
        );
        Ok("rows, objects and tables are within what the manifest says".to_owned())
    }

    /// A block outside a transaction cannot be rehearsed: its statements are those that its host sent.
    fn outside(&mut self) {
        let statement = |sql: &String| Statement { sql: sql.clone(), duration_ms: None, rows: None };
        self.tested.statements = self.statements.iter().map(statement).collect();
        let ran: Vec<RehearsedStatement> = self
            .statements
            .iter()
            .zip(1..)
            .map(|(sql, number)| RehearsedStatement { number, sql: sql.clone(), duration_ms: 0.0, rows: None, estimate: None })
            .collect();
        self.tested.findings = findings(&ran, Some(&self.stage.major()), self.is_whole());
    }
}

fn without_effect(block: &BlockReport) -> anyhow::Result<()> {
    let tables: Vec<&String> = block.rows.keys().collect();
    ensure!(tables.is_empty(), "a second run changes rows of {tables:?}");
    let objects: Vec<String> = block.objects.iter().map(|object| format!("{} {}", object.kind, object.object)).collect();
    ensure!(objects.is_empty(), "a second run makes or alters {}", objects.join(", "));
    Ok(())
}

/// How a kill left the database.
enum Left {
    Before,
    After,
    Between,
}

/// A kill at one place, on a copy of its own.
struct Kill {
    stage: Arc<Stage>,
    components: PathBuf,
    base: String,
    id: String,
    whole: bool,
    before: Snapshot,
    after: Snapshot,
    unsteady: Unsteady,
}

impl Kill {
    async fn at(&self, answer: u64) -> anyhow::Result<Left> {
        let _turn = self.stage.turn().await?;
        let database = self.stage.copy(&self.base).await?;
        self.stage.process(&database, &self.components, Some(answer), None).await?;
        let found = self.stage.snapshot(&database).await?.without(&self.unsteady);
        let left = if self.after.difference(&found).is_empty() {
            Left::After
        } else if self.before.difference(&found).is_empty() {
            Left::Before
        } else {
            ensure!(!self.whole, "the state is neither that of before nor of after:\n{}", self.after.difference(&found));
            Left::Between
        };
        // Where before and after are alike, the ledger alone knows.
        let changes = !self.before.difference(&self.after).is_empty();
        if self.whole && changes && self.stage.is_applied(&database, &self.id).await? != matches!(left, Left::After) {
            bail!("the ledger and the database disagree on whether the block was applied");
        }
        let report = self.stage.boot(&database, &self.components).await.context("the next boot")?;
        ensure!(report.boot.state == BootState::Complete, "the next boot is not complete");
        let found = self.stage.snapshot(&database).await?.without(&self.unsteady);
        let difference = self.after.difference(&found);
        ensure!(difference.is_empty(), "after the next boot the state is another one:\n{difference}");
        self.stage.remove(&database).await?;
        Ok(left)
    }
}
