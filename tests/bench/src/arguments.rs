//! The command line.

use crate::subjects::Subject;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;

/// The parts of a run, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Boots,
    Deploy,
    FirstApply,
    Block,
    Rules,
    Bulk,
    Replicas,
    Memory,
    Growth,
    Instructions,
}

impl Part {
    pub const ALL: [Part; 10] = [
        Part::Boots,
        Part::Deploy,
        Part::FirstApply,
        Part::Block,
        Part::Rules,
        Part::Bulk,
        Part::Replicas,
        Part::Memory,
        Part::Growth,
        Part::Instructions,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Part::Boots => "boots",
            Part::Deploy => "deploy",
            Part::FirstApply => "first-apply",
            Part::Block => "block",
            Part::Rules => "rules",
            Part::Bulk => "bulk",
            Part::Replicas => "replicas",
            Part::Memory => "memory",
            Part::Growth => "growth",
            Part::Instructions => "instructions",
        }
    }
}

pub struct Arguments {
    pub json: Option<PathBuf>,
    /// Writes the tables into the documents and draws the plots.
    pub readme: bool,
    /// A folder to draw the plots into.
    pub plots: Option<PathBuf>,
    pub parts: Vec<Part>,
    /// Of what takes milliseconds. What takes seconds has nine at least, or as many as this if it is fewer.
    pub rounds: usize,
    pub sizes: Vec<usize>,
    pub subjects: Vec<Subject>,
    pub first_apply: usize,
    pub bulk: u64,
    pub replicas: usize,
    /// Whether committed data survive a crash of the machine, as in production.
    pub durable: bool,
}

/// The least of rounds that make a median.
const LEAST: usize = 9;

impl Arguments {
    pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments> {
        let mut read = Arguments {
            json: None,
            readme: false,
            plots: None,
            parts: Part::ALL.to_vec(),
            rounds: 31,
            sizes: vec![10, 100, 1000, 10_000],
            subjects: Subject::ALL.to_vec(),
            first_apply: 1000,
            bulk: 1_000_000,
            replicas: 32,
            durable: true,
        };
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--readme" => read.readme = true,
                "--no-fsync" => read.durable = false,
                _ => {
                    let value = words.next().with_context(|| format!("{word} needs a value"))?;
                    read.option(&word, &value).with_context(|| word.clone())?;
                }
            }
        }
        ensure!(read.rounds > 0 && !read.subjects.is_empty() && !read.parts.is_empty(), "nothing to measure");
        ensure!(!read.readme || read.parts.len() == Part::ALL.len(), "--readme wants a whole run: its figures belong together");
        Ok(read)
    }

    fn option(&mut self, word: &str, value: &str) -> Result<()> {
        match word {
            "--json" => self.json = Some(value.into()),
            "--rounds" => self.rounds = value.parse()?,
            "--plots" => self.plots = Some(value.into()),
            "--bulk" => self.bulk = value.parse()?,
            "--first-apply" => self.first_apply = value.parse()?,
            "--replicas" => self.replicas = value.parse()?,
            "--sizes" => self.sizes = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--only" => self.subjects.retain(|subject| value.split(',').any(|name| name == subject.name())),
            "--only-part" => {
                let parts = value.split(',').map(|name| Part::ALL.into_iter().find(|part| part.name() == name));
                self.parts = parts
                    .collect::<Option<_>>()
                    .with_context(|| format!("the parts are: {}", Part::ALL.map(Part::name).join(", ")))?;
            }
            _ => bail!(
                "no option: --json, --readme, --only-part, --rounds, --sizes, --only, --first-apply, --bulk, --replicas, --plots, --no-fsync"
            ),
        }
        Ok(())
    }

    /// Rounds of what takes seconds.
    pub fn few(&self) -> usize {
        self.rounds.min(LEAST)
    }

    /// Of what is quick and noisy.
    pub fn many(&self) -> usize {
        3 * self.rounds
    }
}
