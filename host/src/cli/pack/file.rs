//! A block as one SQL file: the manifest in a comment at its head, then the work, then the post-conditions.

use crate::{
    contract::Refusal,
    database::policy::{Phase, Policy},
};
use anyhow::{Context, bail, ensure};
use plinth_manifest::{Kind, Manifest, Transaction};
use squawk_syntax::{
    SourceFile,
    ast::{AstNode, Stmt},
};

/// The comment that holds the manifest.
const OPENS: &str = "/*---";
const CLOSES: &str = "---*/";

/// A file, read.
#[derive(Debug)]
pub(super) struct File {
    pub(super) manifest: Manifest,
    /// The manifest's text.
    pub(super) text: String,
    pub(super) parts: Vec<Part>,
}

/// What the file says, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A statement of the work.
    Statement(String),
    /// What must be true for the next statement to run.
    Condition(String),
    /// The name of the next post-condition.
    Name(String),
    /// A post-condition.
    Check(String),
}

impl File {
    /// Reads a file and checks everything that can be known without a database.
    pub(super) fn read(source: &str) -> anyhow::Result<File> {
        let start = source.find(OPENS).filter(|at| source.get(..*at).is_some_and(|before| before.trim().is_empty()));
        let start = start.with_context(|| {
            format!("the file does not begin with its manifest: `{OPENS}`, what would be in block.toml, `{CLOSES}`")
        })? + OPENS.len();
        let length = source.get(start..).and_then(|rest| rest.find(CLOSES));
        let end = start + length.with_context(|| format!("the manifest's comment is not closed: write `{CLOSES}` after it"))?;
        let text = source.get(start..end).unwrap_or_default();
        let first = line(source, start);
        let manifest =
            Manifest::parse(text).map_err(|error| anyhow::anyhow!("line {}: {}", first + error.line() - 1, error.message()))?;
        let parts = parts(source, end + CLOSES.len(), &manifest)?;
        let count = |wanted: fn(&Part) -> bool| parts.iter().filter(|part| wanted(part)).count();
        ensure!(count(|part| matches!(part, Part::Statement(_))) > 0, "the file has no statement before `-- plinth: verify`");
        ensure!(
            count(|part| matches!(part, Part::Check(_))) > 0,
            "the file states no post-condition: write `-- plinth: verify`, and below it queries that select what is wrong, or one truth value"
        );
        Ok(File { manifest, text: text.trim().to_owned() + "\n", parts })
    }

    /// The parts as the component reads them: a kind, a length in four bytes, the text.
    pub(super) fn room(&self) -> anyhow::Result<Vec<u8>> {
        let mut room = Vec::new();
        for part in &self.parts {
            let (kind, text) = match part {
                Part::Statement(text) => (b'S', text),
                Part::Condition(text) => (b'I', text),
                Part::Name(text) => (b'N', text),
                Part::Check(text) => (b'C', text),
            };
            room.push(kind);
            room.extend_from_slice(&u32::try_from(text.len())?.to_le_bytes());
            room.extend_from_slice(text.as_bytes());
        }
        Ok(room)
    }
}

fn line(source: &str, at: usize) -> usize {
    source.get(..at).unwrap_or(source).matches('\n').count() + 1
}

/// Splits the statements, with what the comments between them say.
fn parts(source: &str, body: usize, manifest: &Manifest) -> anyhow::Result<Vec<Part>> {
    let text = source.get(body..).unwrap_or_default();
    let parsed = SourceFile::parse(text);
    if let Some(error) = parsed.errors().first() {
        bail!("line {}: {}", line(source, body + usize::from(error.range().start())), error.message());
    }
    let work = if manifest.transaction == Transaction::None { Phase::Outside } else { Phase::Work };
    let policy = Policy::new(manifest, "plinth");
    let allowed = |sql: &str, at: usize, phase| {
        let told = |refusal: Refusal| anyhow::anyhow!("line {}: {} ({})", line(source, at), refusal.message, refusal.rule);
        policy.check(sql, phase).map(drop).map_err(told)
    };
    let mut parts = Vec::new();
    let mut between = Between { verify: false, condition: None, name: Vec::new() };
    let mut before = 0;
    for statement in parsed.tree().stmts().filter(|statement| !matches!(statement, Stmt::EmptyStmt(_))) {
        let range = statement.syntax().text_range();
        let (start, end) = (usize::from(range.start()), usize::from(range.end()));
        between
            .read(text.get(before..start).unwrap_or_default(), manifest.kind)
            .with_context(|| format!("before line {}", line(source, body + start)))?;
        before = end;
        let sql = text.get(start..end).unwrap_or_default().trim().trim_end_matches(';').trim_end().to_owned();
        let at = body + start;
        if between.verify {
            allowed(&sql, at, Phase::Verify)?;
            ensure!(between.condition.is_none(), "line {}: a post-condition has no `-- if:`", line(source, at));
            let name = std::mem::take(&mut between.name);
            if !name.is_empty() {
                parts.push(Part::Name(name.join(" ")));
            }
            parts.push(Part::Check(sql));
            continue;
        }
        if let Some(condition) = between.condition.take() {
            allowed(&condition, at, if work == Phase::Outside { work } else { Phase::Verify })?;
            parts.push(Part::Condition(condition));
        }
        allowed(&sql, at, work)?;
        parts.push(Part::Statement(sql));
    }
    Ok(parts)
}

/// What the comments said up to here.
struct Between {
    verify: bool,
    condition: Option<String>,
    name: Vec<String>,
}

impl Between {
    fn read(&mut self, text: &str, kind: Kind) -> anyhow::Result<()> {
        self.name.clear();
        for line in text.lines().map(str::trim) {
            let Some(comment) = line.strip_prefix("--").map(str::trim) else {
                self.name.clear();
                continue;
            };
            if let Some(section) = comment.strip_prefix("plinth:").map(str::trim) {
                self.name.clear();
                self.verify = match (section, kind) {
                    ("verify", _) => true,
                    ("apply", Kind::Migration) | ("reconcile", Kind::Rule) => false,
                    _ => bail!(
                        "there is no section `{section}` in a {kind}: apply in a migration, reconcile in a rule, verify in both"
                    ),
                };
            } else if let Some(condition) = comment.strip_prefix("if:") {
                self.condition = Some(condition.trim().trim_end_matches(';').to_owned());
            } else {
                self.name.push(comment.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "/*---\nid = \"a\"\nkind = \"rule\"\ntitle = \"t\"\nwrites = [\"t.a\"]\n---*/\n";

    fn read(rest: &str) -> anyhow::Result<Vec<Part>> {
        File::read(&format!("{RULE}{rest}")).map(|file| file.parts)
    }

    #[test]
    fn statements_conditions_and_named_checks_are_told_apart() {
        let parts = read(
            "-- plinth: reconcile\n-- a word\n-- if: select exists (select from t where a < 0)\nupdate t set a = ';' || '--'; -- after\n\
             update t\n  set a = 2;\n\n-- plinth: verify\n\n-- nothing is\n-- negative\nselect from t where a < 0;\nselect true;\n",
        );
        assert_eq!(
            parts.unwrap(),
            [
                Part::Condition("select exists (select from t where a < 0)".into()),
                Part::Statement("update t set a = ';' || '--'".into()),
                Part::Statement("update t\n  set a = 2".into()),
                Part::Name("nothing is negative".into()),
                Part::Check("select from t where a < 0".into()),
                Part::Check("select true".into()),
            ]
        );
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let said = |rest: &str| format!("{:#}", read(rest).unwrap_err());
        assert!(
            said("update t set a = 1;\nupdate t set b = 2;\n-- plinth: verify\nselect true")
                .starts_with("line 8: the block writes t.b")
        );
        assert!(said("update t set a = 1;\nselec 1;").starts_with("line 8: "), "{}", said("update t set a = 1;\nselec 1;"));
        assert!(said("-- plinth: apply\nupdate t set a = 1").contains("no section `apply` in a rule"));
        assert!(said("update t set a = 1;").contains("no post-condition"));
        assert!(said("-- plinth: verify\nselect true").contains("no statement"));
        assert!(said("update t set a = 1; commit;\n-- plinth: verify\nselect true").contains("transaction"));
        assert!(said("update t set a = 1;\n-- plinth: verify\nupdate t set a = 1").contains("line 9"));
        let error = File::read("/*---\nid = \"a\"\nkind = \"rules\"\n---*/").unwrap_err().to_string();
        assert!(error.starts_with("line 3: "), "{error}");
        assert!(File::read("select 1").unwrap_err().to_string().contains("does not begin with its manifest"));
    }
}
