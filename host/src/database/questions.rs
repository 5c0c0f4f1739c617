//! What the host asks around every block: how the session stands, what the transaction touched, which objects it made. Planning these
//! takes the server longer than answering them, so a session of our own keeps them prepared. Behind a pooler each statement may
//! meet another session, so there they are sent as they are.

use super::{
    Connection,
    around::around_query,
    name,
    objects::objects_query,
    simple::{ResultSets, text},
    touched::TOUCHED,
};
use std::borrow::Cow;

const AROUND: &str = "plinth_around";
const TOUCH: &str = "plinth_touched";
const OBJECTS: &str = "plinth_objects";

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

    /// Prepares them, once for a session, which `session` sets up. Under the settings that blocks run under: a plan is made for a search
    /// path.
    pub(crate) async fn prepare(
        connection: &Connection,
        settings: &str,
        session: &str,
    ) -> Result<Questions, tokio_postgres::Error> {
        let prepare = |called: &str, question: &str| format!("prepare {} as {question}", name(called));
        let all = [prepare(AROUND, &around_query(true)), prepare(TOUCH, TOUCHED), prepare(OBJECTS, &objects_query(None, false))];
        if !connection.is_asked() {
            connection.send(&format!("begin; {settings}; {}; commit; {session}", all.join("; "))).await?;
            connection.asked();
        }
        Ok(Questions { prepared: true })
    }

    /// Whether they are prepared: then the session is ours alone, and has what it needs for its life.
    pub(crate) fn are_prepared(self) -> bool {
        self.prepared
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
