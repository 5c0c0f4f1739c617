//! What the host asks around every block: how the session stands, what the transaction touched, which objects it made. Planning these
//! takes the server longer than answering them, so a session of our own keeps them prepared. Behind a pooler each statement may
//! meet another session, so there they are sent as they are.

use super::{
    Connection, Sent,
    around::{HOST_PATH, around_query},
    catalog::{Classes, Look},
    literal, name,
    objects::{Question, objects_query, quick_query, wrote_query},
    simple::{ResultSets, text},
    touched::TOUCHED,
};
use std::{borrow::Cow, sync::Arc};

const AROUND: &str = "plinth_around";
const TOUCH: &str = "plinth_touched";
const OBJECTS: &str = "plinth_objects";
const WRITTEN: &str = "plinth_wrote";
const STILL: &str = "plinth_still";
const FENCE: &str = "plinth_fence";
const RECORD: &str = "plinth_record";

/// The host's questions, as this session takes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Questions {
    /// None if it is not ours alone.
    prepared: Option<Prepared>,
}

#[derive(Clone, Debug)]
struct Prepared {
    /// The classes of objects that can be looked up.
    classes: Classes,
    objects: bool,
    /// Whether a row of the ledger can be written.
    records: bool,
    /// The answer to [`PREPARED`].
    all: Option<String>,
}

/// What a session is prepared for.
pub(crate) struct For<'a> {
    /// The settings of blocks.
    pub(crate) settings: &'a str,
    /// What sets up the session.
    pub(crate) session: &'a str,
    /// What fails if another runner took over than the one whose token is its parameter: at the begin of a block's transaction, and before its
    /// COMMIT. None if the session may not ask.
    pub(crate) fences: Option<(&'a str, &'a str)>,
    /// What writes rows of the ledger, with the rows and the boot as its parameters.
    pub(crate) record: Option<&'a str>,
    /// Whether to look for the objects that a block made.
    pub(crate) objects: bool,
}

/// Questions on their way to a session. What is sent behind them may use them; that they are there is known when this is
/// [done](Preparing::done).
pub(crate) struct Preparing {
    questions: Questions,
    sent: Vec<Sent>,
}

impl Preparing {
    /// None are prepared, for sessions that are not ours alone.
    pub(crate) fn none() -> Preparing {
        Preparing { questions: Questions::plain(), sent: Vec::new() }
    }

    /// With those for what blocks provide, under the settings of blocks.
    pub(crate) fn with(mut self, connection: &Arc<Connection>, settings: &str, classes: Classes) -> Preparing {
        if let Some(prepared) = &mut self.questions.prepared
            && classes != prepared.classes
        {
            prepared.classes = classes;
            let (names, looks): (Vec<String>, Vec<String>) =
                classes.questions().map(|(called, question)| (called.clone(), prepare(&called, &question))).unzip();
            self.sent.push(connection.send_aside(format!("begin; {settings}; {}; {PREPARED}; commit", looks.join("; "))));
            connection.asked().extend(names);
        }
        self
    }

    /// As what is sent behind them takes them.
    pub(crate) fn questions(&self) -> &Questions {
        &self.questions
    }

    /// Waits until they are prepared.
    pub(crate) async fn done(self) -> Result<Questions, tokio_postgres::Error> {
        let Preparing { mut questions, sent } = self;
        for sent in sent {
            let sets = sent.await?;
            if let Some(prepared) = &mut questions.prepared {
                prepared.all = read_prepared(&sets, 1);
            }
        }
        Ok(questions)
    }
}

impl Questions {
    /// For sessions that are not ours alone.
    pub(crate) fn plain() -> Questions {
        Questions::default()
    }

    /// Prepares them for a session. Each under the settings that it is asked under: a plan is made for a search path.
    pub(crate) fn prepare(connection: &Arc<Connection>, to: For<'_>) -> Preparing {
        let mut of_blocks = vec![(AROUND, around_query(true)), (TOUCH, TOUCHED.to_owned()), (WRITTEN, wrote_query())];
        of_blocks.extend(to.objects.then(|| (OBJECTS, quick_query())));
        let mut ours: Vec<(&str, &str)> = to.fences.map(|(_, fence)| (FENCE, fence)).into_iter().collect();
        ours.extend(to.record.map(|record| (RECORD, record)));
        let still: Vec<(&str, &str)> = to.fences.map(|(still, _)| (STILL, still)).into_iter().collect();
        // Those of a backfill before this one.
        let mut all: Vec<String> = connection.asked().drain(..).map(|called| format!("deallocate {}", name(&called))).collect();
        // What this session did before, such as making the ledger, is not to be counted as a block's. Flushed at the end of all.
        all.extend(connection.flushes().then(|| "select pg_stat_force_next_flush()".to_owned()));
        all.extend([to.session.to_owned(), "begin".to_owned()]);
        all.extend(still.iter().map(|(called, question)| prepare(called, question)));
        all.push(to.settings.to_owned());
        all.extend(of_blocks.iter().map(|(called, question)| prepare(called, question)));
        all.push(HOST_PATH.to_owned());
        all.extend(ours.iter().map(|(called, question)| prepare(called, question)));
        all.extend([PREPARED, "commit"].map(str::to_owned));
        let sent = connection.send_aside(all.join("; "));
        let names = of_blocks.iter().map(|(called, _)| *called).chain(ours.iter().chain(&still).map(|(called, _)| *called));
        connection.asked().extend(names.map(str::to_owned));
        let prepared = Prepared { classes: Classes::default(), objects: to.objects, records: to.record.is_some(), all: None };
        Preparing { questions: Questions { prepared: Some(prepared) }, sent: vec![sent] }
    }

    /// Whether they are prepared: then the session is ours alone, and has what it needs for its life.
    pub(crate) fn are_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// Fails, at the begin of a block's transaction, if another runner took over than the one with a token: what `plain` asks.
    pub(crate) fn still(&self, token: i64, plain: impl FnOnce() -> String) -> String {
        if self.are_prepared() { format!("{} ({token})", execute(STILL)) } else { plain() }
    }

    /// The same before COMMIT.
    pub(crate) fn fence(&self, token: i64, plain: impl FnOnce() -> String) -> String {
        if self.are_prepared() { format!("{} ({token})", execute(FENCE)) } else { plain() }
    }

    /// How the transaction and the session stand.
    pub(crate) fn around(&self) -> Cow<'static, str> {
        if self.are_prepared() { execute(AROUND).into() } else { around_query(true).into() }
    }

    /// What the transaction holds locks on, and the rows that it changed.
    pub(crate) fn touched(&self) -> Cow<'static, str> {
        if self.are_prepared() { execute(TOUCH).into() } else { TOUCHED.into() }
    }

    /// Looks up objects, as far as that is prepared.
    pub(crate) fn look(&self, look: &Look<'_>) -> Vec<String> {
        look.statements(self.prepared.as_ref().map(|prepared| prepared.classes).unwrap_or_default())
    }

    /// Writes rows of a boot into the ledger, given as JSON: what `plain` does.
    pub(crate) fn record(&self, rows: &str, boot: i64, plain: impl FnOnce(&str, &str) -> String) -> String {
        let (rows, boot) = (literal(rows), boot.to_string());
        match &self.prepared {
            Some(Prepared { records: true, .. }) => format!("{} ({rows}, {boot})", execute(RECORD)),
            _ => plain(&rows, &boot),
        }
    }

    /// Before COMMIT: fails with [`REPLACED`] if what is prepared is not the host's own any more. A block's post-conditions may have called
    /// what replaces it, after what the block did was measured, and a rollback to a savepoint leaves it.
    pub(crate) fn unharmed(&self) -> String {
        let expected = self.prepared.as_ref().and_then(|prepared| prepared.all.as_deref());
        let compared = |all| {
            format!(
                "select pg_catalog.sqrt((1 - 2 * (({PREPARED}) is distinct from {})::integer)::double precision)",
                literal(all)
            )
        };
        expected.map_or_else(|| "select".to_owned(), compared)
    }

    /// What is asked first about the objects that a block made. `defined` says whether it was to make any, `after` and `everywhere` see
    /// [`objects_query`].
    pub(crate) fn first(&self, defined: bool, after: Option<u64>, everywhere: bool) -> Question {
        match &self.prepared {
            _ if !defined && !everywhere => Question::Whether,
            Some(Prepared { objects: true, .. }) if after.is_none() && !everywhere => Question::Quick,
            _ => Question::All { after, everywhere },
        }
    }

    /// The statement for a question.
    pub(crate) fn objects(&self, question: Question) -> String {
        match question {
            Question::Whether if self.are_prepared() => execute(WRITTEN),
            Question::Whether => wrote_query(),
            Question::Quick if self.are_prepared() => execute(OBJECTS),
            Question::Quick => quick_query(),
            Question::All { after, everywhere } => objects_query(after, everywhere),
        }
    }
}

fn prepare(called: &str, question: &str) -> String {
    format!("prepare {} as {question}", name(called))
}

fn execute(called: &str) -> String {
    format!("execute {}", name(called))
}

/// Whether the questions that are prepared are the host's own: a block that hides DEALLOCATE and PREPARE in a function could put
/// others in their place. This one is never prepared, and nobody chooses when the server says that something was prepared: who puts
/// another in a place makes it later, and who takes one away makes them fewer.
const PREPARED: &str = "select count(*)::text || ' ' || extract(epoch from max(prepare_time))::text
     from pg_catalog.pg_prepared_statement() where name like 'plinth\\_%'";

/// The SQLSTATE if they are not: there is no root of a negative number.
pub(crate) const REPLACED: &str = "2201F";

/// The answer to [`PREPARED`].
fn read_prepared(sets: &ResultSets, place: usize) -> Option<String> {
    sets.set_from_end(place).first().and_then(|row| text(row, 0)).map(str::to_owned)
}
