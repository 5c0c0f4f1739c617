//! What a block did, asked inside its transaction and held against its manifest.

use super::{Broken, Measured, Transaction};
use crate::{
    boot::provides::provided,
    database::{
        ResultSets,
        around::PATH,
        effects::Effects,
        measured::{Question, Seen},
        objects::{Objects, objects_query},
        simple::text,
    },
    report::{ErrorClass, ReportError},
};
use plinth_manifest::{Kind, TableName};
use tokio_postgres::error::SqlState;

/// What is asked to know what a block did, and how its answer is read.
pub(super) struct Measure {
    pub(super) ask: String,
    question: Question,
    /// What it declares that may do more than most.
    everywhere: bool,
    /// How many statements measure it, and how many more look at what it provides.
    statements: usize,
    provides: usize,
}

impl Measure {
    /// For a block that did its work. `before` is asked before it, if there is anything.
    pub(super) fn new(transaction: &mut Transaction<'_>, before: Option<&str>) -> Measure {
        // What has to say more than most may do more than most.
        let everywhere = !transaction.component.manifest.allow.is_empty();
        let questions = &transaction.boot.questions;
        // Whether it made any at all is the cheaper question, for what only works on rows.
        let question = questions.first(transaction.running.session().defined(), transaction.after, everywhere);
        // The look at what it provides comes last: its own locks are none of the block's.
        let looks = questions.look(&provided(&transaction.component.manifest));
        let (measures, statements) = questions.measure(question);
        // What a block puts off to COMMIT is its doing too, and is not to see the text of what the host sends with COMMIT.
        let ask = format!(
            "{}set constraints all immediate; {PATH}; {measures}{}",
            before.map(|before| format!("{before}; ")).unwrap_or_default(),
            looks.iter().map(|look| format!("; {look}")).collect::<String>()
        );
        Measure { ask, question, everywhere, statements, provides: looks.len() }
    }

    /// Where what was asked before it stands, from the end.
    pub(super) fn before(&self) -> usize {
        2 + self.statements + self.provides
    }
}

impl<'a> Transaction<'a> {
    /// That it cannot be known what a block did.
    pub(super) fn unmeasured(self, error: &tokio_postgres::Error) -> Broken<'a> {
        let doing = match error.code().map(SqlState::code) {
            Some(code) if code.starts_with("23") => "what was put off to the block's end",
            Some("25P02") => "the block left its transaction unusable",
            _ => "what the block did cannot be measured",
        };
        let error = ReportError::of_end(error, doing, self.boot.host.shows_values);
        self.broken(error)
    }

    /// Reads what the block did, and holds it against its manifest.
    pub(super) async fn measured(mut self, measure: &Measure, mut sets: ResultSets) -> Result<Measured<'a>, Broken<'a>> {
        let ledger = &self.boot.record.ledger.schema;
        let existing = provided(&self.component.manifest).read_all(&sets.take_last(measure.provides));
        let Seen { around, touched, objects } = measure.question.read(&sets);
        let path = sets.set_from_end(measure.statements).first().and_then(|row| text(row, 0));
        if let Some(error) = ReportError::of_around(&self.around, (&around, path), &touched, ledger) {
            return Err(self.broken(error));
        }
        let rows = touched.counters().since(self.running.session().counters());
        let objects = match objects {
            Some(objects) => objects,
            None => match self.made(measure.everywhere).await {
                Ok(objects) => objects,
                Err(error) => return Err(self.unmeasured(&error)),
            },
        };
        let youngest = objects.youngest().max(self.after);
        let effects = Effects { rows, locks: touched.locks(ledger), objects: objects.changes(ledger), youngest };
        match self.forbidden(&effects).or_else(|| ReportError::of_provides(&self.component.manifest, &existing)) {
            Some(error) => Err(Broken { effects: Some(effects), ..self.broken(error) }),
            None => Ok(Measured { effects, transaction: self }),
        }
    }

    /// The objects that it made, whatever they are.
    async fn made(&mut self, everywhere: bool) -> Result<Objects, tokio_postgres::Error> {
        for everywhere in [everywhere, true] {
            let ask = format!("{}{}", self.looked(), objects_query(self.after, everywhere));
            if let Some(objects) = Objects::read(&self.boot.connection.send(&ask).await?, 0, everywhere) {
                return Ok(objects);
            }
        }
        Ok(Objects::default())
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
