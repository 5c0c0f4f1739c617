//! What the host asks around every block: how the session stands, what the transaction touched, which objects it made. Planning these
//! takes the server longer than answering them, so a session of our own keeps them prepared. Behind a pooler each statement may
//! meet another session, so there they are sent as they are.

use super::{
    Connection, Sent,
    around::{HOST_PATH, around_query},
    catalog::{Classes, Look},
    literal,
    measured::Question,
    name,
    simple::{ResultSets, text},
};
use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const AROUND: &str = "plinth_around";
const ROWS: &str = "plinth_rows";
const MOST: &str = "plinth_most";
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
    /// Whether these were asked before. Then the server has a plan for that, and takes less for it than for one for rows alone.
    plans: Arc<AtomicBool>,
    /// Whether a row of the ledger can be written.
    records: bool,
    /// The answer to [`prepared_and_commit`].
    all: Option<(String, String)>,
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
            self.sent.push(connection.send_aside(format!("begin; {settings}; {}; {}", looks.join("; "), prepared_and_commit())));
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
            if let (Some(prepared), Some(all)) = (&mut questions.prepared, read_prepared(&sets, 1)) {
                prepared.all = Some(all);
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
        let mut of_blocks = vec![(AROUND, around_query(true)), (ROWS, Question::Rows.ask().0)];
        of_blocks.extend(to.objects.then(|| (MOST, Question::Most.ask().0)));
        let named = |called, question: Option<&str>| question.map(|question| (called, question.to_owned()));
        let (still, fence) = to.fences.unzip();
        let still: Vec<_> = named(STILL, still).into_iter().collect();
        let ours: Vec<_> = named(FENCE, fence).into_iter().chain(named(RECORD, to.record)).collect();
        let each = |questions: &[(&str, String)]| questions.iter().map(|(called, question)| prepare(called, question)).collect();
        // Those of a backfill before this one.
        let before: Vec<String> = connection.asked().drain(..).map(|called| format!("deallocate {}", name(&called))).collect();
        // What this session did before, such as making the ledger, is not to be counted as a block's. Flushed at the end of all.
        let flush = connection.flushes().then(|| "select pg_stat_force_next_flush()".to_owned());
        let begin = [to.session.to_owned(), "begin".to_owned()];
        // Not in one string: the server keeps with each of them all that came with it, and reads that out when it is asked what is prepared.
        let first = [before, flush.into_iter().chain(begin).collect(), each(&still), vec![to.settings.to_owned()]].concat();
        let last = [vec![HOST_PATH.to_owned()], each(&ours), vec![prepared_and_commit()]].concat();
        let strings = [first].into_iter().chain(of_blocks.chunks(1).map(each)).chain([last]);
        let sent = strings.map(|statements| connection.send_aside(statements.join("; "))).collect();
        connection.asked().extend([still, of_blocks, ours].iter().flatten().map(|(called, _)| (*called).to_owned()));
        let prepared = Prepared {
            classes: Classes::default(),
            objects: to.objects,
            plans: Arc::default(),
            records: to.record.is_some(),
            all: None,
        };
        Preparing { questions: Questions { prepared: Some(prepared) }, sent }
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
        let expected = self.prepared.as_ref().and_then(|prepared| prepared.all.as_ref());
        let compared = |(count, last): &(String, String)| {
            let (count, last) = (literal(count), literal(last));
            format!("select pg_catalog.sqrt(case when count(*) = {count} and {LAST} = {last} then 1 else -1 end) {OURS}")
        };
        expected.map_or_else(|| "select".to_owned(), compared)
    }

    /// What is asked first about what a block did. `defined` says whether it was to make objects, `after` and `everywhere` see
    /// [`objects_query`](super::objects::objects_query).
    pub(crate) fn first(&self, defined: bool, after: Option<u64>, everywhere: bool) -> Question {
        match &self.prepared {
            Some(prepared)
                if prepared.objects && after.is_none() && !everywhere && (defined || prepared.plans.load(Ordering::Relaxed)) =>
            {
                Question::Most
            }
            _ if !defined && !everywhere => Question::Rows,
            _ => Question::Everything { after, everywhere },
        }
    }

    /// What asks a question, and how many statements that are.
    pub(crate) fn measure(&self, question: Question) -> (String, usize) {
        match (question, &self.prepared) {
            (Question::Rows, Some(_)) => (execute(ROWS), 1),
            (Question::Most, Some(prepared)) => {
                prepared.plans.store(true, Ordering::Relaxed);
                (execute(MOST), 1)
            }
            (question, _) => question.ask(),
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
const LAST: &str = "extract(epoch from max(prepare_time))";
const OURS: &str = "from pg_catalog.pg_prepared_statement() where name like 'plinth\\_%'";

/// The SQLSTATE if they are not: there is no root of a negative number.
pub(crate) const REPLACED: &str = "2201F";

/// Asks how many there are, and when the last was prepared.
fn prepared_and_commit() -> String {
    format!("select count(*), {LAST} {OURS}; commit")
}

/// The answer to [`prepared_and_commit`].
fn read_prepared(sets: &ResultSets, place: usize) -> Option<(String, String)> {
    let row = sets.set_from_end(place).first()?;
    Some((text(row, 0)?.to_owned(), text(row, 1)?.to_owned()))
}
