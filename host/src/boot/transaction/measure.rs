//! What a block did, asked inside its transaction and held against its manifest.

use super::{Broken, Measured, Transaction};
use crate::{
    boot::{Boot, provides::provided},
    database::{
        ResultSets,
        around::Around,
        effects::Effects,
        objects::{Objects, Question},
        questions::{PREPARED, read_prepared},
        touched::Touched,
    },
    report::{ErrorClass, ReportError},
};
use plinth_manifest::{Kind, TableName};

impl<'a> Transaction<'a> {
    /// Measures, with something that is to be sent before.
    pub(super) async fn measure(mut self, before: &str) -> Result<(Measured<'a>, ResultSets), Broken<'a>> {
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
