//! What the host asks around every block: how the session stands, what the transaction touched, which objects it made. Planning these
//! takes the server longer than answering them, so a session of our own keeps them prepared. Behind a pooler each statement may
//! meet another session, so there they are sent as they are.

use super::{
    Connection,
    around::{HOST_PATH, around_query},
    name,
    objects::objects_query,
    simple::{ResultSets, text},
    touched::TOUCHED,
};
use std::borrow::Cow;

const AROUND: &str = "plinth_around";
const TOUCH: &str = "plinth_touched";
const OBJECTS: &str = "plinth_objects";
const STILL: &str = "plinth_still";
const FENCE: &str = "plinth_fence";

/// The host's questions, as this session takes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Questions {
    prepared: bool,
}

impl Questions {
    /// For sessions that are not ours alone.
    pub(crate) fn plain() -> Questions {
        Questions { prepared: false }
    }

    /// Prepares them for a session, which `session` sets up; with what fails at the begin of a block's transaction, and before its
    /// COMMIT, if another runner took over. Each under the settings that it is asked under: a plan is made for a search path.
    pub(crate) async fn prepare(
        connection: &Connection,
        settings: &str,
        session: &str,
        (still, fence): (&str, &str),
    ) -> Result<Questions, tokio_postgres::Error> {
        let prepare = |called: &str, question: &str| format!("prepare {} as {question}", name(called));
        let all = [
            "begin".to_owned(),
            prepare(STILL, still),
            settings.to_owned(),
            prepare(AROUND, &around_query(true)),
            prepare(TOUCH, TOUCHED),
            prepare(OBJECTS, &objects_query(None, false)),
            HOST_PATH.to_owned(),
            prepare(FENCE, fence),
            "commit".to_owned(),
            session.to_owned(),
        ];
        // Another runner's token, of a backfill before this one.
        let forget = [STILL, AROUND, TOUCH, OBJECTS, FENCE].map(|called| format!("deallocate {}; ", name(called))).concat();
        let forget = if connection.is_asked() { forget } else { String::new() };
        connection.send(&(forget + &all.join("; "))).await?;
        connection.asked();
        Ok(Questions { prepared: true })
    }

    /// Whether they are prepared: then the session is ours alone, and has what it needs for its life.
    pub(crate) fn are_prepared(self) -> bool {
        self.prepared
    }

    /// Fails, at the begin of a block's transaction, if another runner took over: what `plain` asks.
    pub(crate) fn still(self, plain: String) -> String {
        if self.prepared { execute(STILL) } else { plain }
    }

    /// The same before COMMIT.
    pub(crate) fn fence(self, plain: String) -> String {
        if self.prepared { execute(FENCE) } else { plain }
    }

    /// How the transaction and the session stand.
    pub(crate) fn around(self) -> Cow<'static, str> {
        if self.prepared { execute(AROUND).into() } else { around_query(true).into() }
    }

    /// What the transaction holds locks on, and the rows that it changed.
    pub(crate) fn touched(self) -> Cow<'static, str> {
        if self.prepared { execute(TOUCH).into() } else { TOUCHED.into() }
    }

    /// Which objects it made: see [`objects_query`].
    pub(crate) fn objects(self, after: Option<u64>, everywhere: bool) -> String {
        if self.prepared && after.is_none() && !everywhere { execute(OBJECTS) } else { objects_query(after, everywhere) }
    }
}

fn execute(called: &str) -> String {
    format!("execute {}", name(called))
}

/// Whether the questions that are prepared are the host's own: a block that hides DEALLOCATE and PREPARE in a function could put
/// others in their place. This one is never prepared, and nobody chooses when the server says that something was prepared.
pub(crate) const PREPARED: &str =
    "select string_agg(name || ' ' || prepare_time::text, ', ' order by name) from pg_catalog.pg_prepared_statements
     where name like 'plinth\\_%'";

/// The answer to [`PREPARED`].
pub(crate) fn read_prepared(sets: &ResultSets, place: usize) -> Option<String> {
    sets.set_from_end(place).first().and_then(|row| text(row, 0)).map(str::to_owned)
}
