//! A backfill, natively: the loop is the host's, so it is here too.

use crate::{
    TestDatabase,
    native::Native,
    ran::{BEGIN, Failed, Ran, counters, held, since, undeclared},
};
use plinth_block::{Backfill, Batch, Checks, Db, Described, Outcome, Step};
use plinth_manifest::Manifest;

/// A backfill that goes on after so many batches goes on for ever.
const MOST_BATCHES: u32 = 100_000;

impl TestDatabase {
    /// Runs a backfill natively until it is done, in batches of so many rows, each in a transaction of its own, and then its
    /// post-conditions. The rows that were changed are those of all batches.
    ///
    /// # Panics
    ///
    /// If a batch fails, a post-condition does not hold, or it wrote what its manifest does not name.
    #[track_caller]
    pub fn backfill<B: Backfill + Described>(&self, rows: u64) -> Ran {
        match self.try_backfill::<B>(rows) {
            Ok(ran) => ran,
            Err(failed) => panic!("{failed}"),
        }
    }

    /// Like [`TestDatabase::backfill`], for one that is to fail. The batch that fails is rolled back, those before it stay.
    ///
    /// # Errors
    ///
    /// Why it ended.
    pub fn try_backfill<B: Backfill + Described>(&self, rows: u64) -> Result<Ran, Failed> {
        self.observed(|native| batches::<B>(native, rows))
    }
}

fn batches<B: Backfill + Described>(native: &Native, rows: u64) -> Result<Ran, Failed> {
    let manifest = Manifest::parse(B::manifest()).map_err(|error| Failed::new(format!("block.toml, {error}")))?;
    let send = |sql: &str| native.client.borrow_mut().batch_execute(sql).map_err(Failed::from);
    let db = Db::with_backend(native.clone());
    let mut all = Ran::new(native, Outcome::Done(None), Checks::new());
    let mut cursor: Option<String> = None;
    for _ in 0..MOST_BATCHES {
        send(BEGIN)?;
        let before = counters(native)?;
        // As text, since that is how the ledger keeps it.
        let unreadable = |text: &String| Failed::new(format!("the cursor `{text}` is none of this block's"));
        let after = cursor.as_ref().map(|text| text.parse().map_err(|_| unreadable(text))).transpose()?;
        let ended = B::step(&db, after, &Batch::of(rows))?;
        native.told.ended()?;
        let changed = since(&counters(native)?, &before);
        undeclared(&manifest, &changed)?;
        all.add(native, &changed);
        match ended {
            Step::More { cursor: next, .. } => {
                let next = next.to_string();
                if changed.is_empty() && cursor.as_ref() == Some(&next) {
                    return Err(Failed::new(format!("the batch changed nothing and returned the cursor that it got, {next}")));
                }
                cursor = Some(next);
                send("commit")?;
            }
            Step::End(Outcome::Deferred(reason)) => {
                send("rollback")?;
                return Ok(all.ended(native, Outcome::Deferred(reason), Vec::new()));
            }
            Step::End(outcome) => {
                send("savepoint plinth_verify; set transaction read only")?;
                let checks = held(B::verify(&db)?)?;
                if checks.is_empty() {
                    return Err(Failed::new(
                        "a backfill has at least one post-condition: nothing else catches a step that is done too early",
                    ));
                }
                send("rollback to savepoint plinth_verify; commit")?;
                return Ok(all.ended(native, outcome, checks));
            }
        }
    }
    Err(Failed::new(format!("it is not done after {MOST_BATCHES} batches")))
}
