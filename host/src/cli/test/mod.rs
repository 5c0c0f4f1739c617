//! `plinth test`: a block, alone, on a real PostgreSQL of its own. What no author should have to write himself: run, run again
//! without effect, killed after every statement, two at once, effects against the manifest.

mod declared;
mod proxy;
mod stage;
mod subject;
mod told;
mod trial;

use super::{print, signal};
use crate::Components;
use clap::{Args, ValueEnum};
use stage::Stage;
use std::{path::PathBuf, sync::Arc, time::Instant};
use subject::{Subject, others, subjects};
use tokio::task::JoinSet;
use told::{Tested, Told};

/// The arguments of `plinth test`.
#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// A component, a block's crate (built first), or a folder of either
    #[arg(value_name = "FILE|CRATE|FOLDER", required = true)]
    paths: Vec<PathBuf>,
    /// A folder with components of blocks that these may require (repeatable); those that are tested together are known to each other
    #[arg(long, value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Where the crates' components are, a file per id: nothing is built then
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// The folder with SQL that runs before, or with a folder per id [default: fixtures, in the crate or beside the component]
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// How many hosts run at once [default: as many as there are processors]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = TestFormat::Table)]
    format: TestFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TestFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// For a build server
    Junit,
}

pub(super) async fn test(arguments: TestArguments) -> u8 {
    let found = match found(&arguments) {
        Ok(found) => found,
        Err(error) => {
            print::error(&format!("{error:#}"));
            return super::USAGE;
        }
    };
    let told = match run(found, arguments.jobs).await {
        Ok(Some(told)) => told,
        Ok(None) => {
            print::error("interrupted");
            return super::INTERRUPTED;
        }
        Err(error) => {
            print::error(&format!("{error:#}"));
            return super::FAILED;
        }
    };
    match arguments.format {
        TestFormat::Table => told.print(),
        TestFormat::Json => print::json(&told),
        TestFormat::Junit => print::text(&told.junit()),
    }
    if told.passed { 0 } else { super::FAILED }
}

fn found(arguments: &TestArguments) -> anyhow::Result<(Vec<Subject>, Components)> {
    let mut all = Vec::new();
    for path in &arguments.paths {
        all.extend(subjects(path, arguments.components.as_deref(), arguments.fixtures.as_deref())?);
    }
    let mut candidates = Components::default();
    let folders = arguments.with.iter().chain(&arguments.components);
    for folder in folders {
        candidates = candidates.or(others(folder)?);
    }
    for subject in &all {
        candidates = candidates.or(Components::one(subject.component.clone()));
    }
    Ok((all, candidates))
}

/// Tests the blocks; none if it was told to stop meanwhile. Nothing is left behind either way.
async fn run((subjects, candidates): (Vec<Subject>, Components), jobs: Option<usize>) -> anyhow::Result<Option<Told>> {
    let started = Instant::now();
    let mut stopped = tokio::spawn(signal::told_to_stop());
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into)).max(1);
    let (stage, candidates) = (Arc::new(Stage::new(jobs).await?), Arc::new(candidates));
    let mut tests = JoinSet::new();
    let order: Vec<String> = subjects.iter().map(|subject| subject.component.manifest.id.to_string()).collect();
    for subject in subjects {
        tests.spawn(trial::test(stage.clone(), subject, candidates.clone()));
    }
    let mut blocks: Vec<Tested> = Vec::new();
    let cut_short = loop {
        let why = tokio::select! {
            tested = tests.join_next() => match tested {
                Some(tested) => {
                    blocks.push(tested?);
                    continue;
                }
                None => break None,
            },
            _ = &mut stopped => Ok(None),
            log = stage.lost() => Err(anyhow::anyhow!("the server of the tests is gone; it said last:\n{log}")),
        };
        tests.shutdown().await;
        break Some(why);
    };
    blocks.sort_by_key(|block| order.iter().position(|id| *id == block.id));
    let told = Told {
        passed: blocks.iter().all(|block| block.passed),
        duration_ms: started.elapsed().as_secs_f64() * 1000.0,
        server: stage.version(),
        blocks,
    };
    stage::stop(stage).await?;
    cut_short.unwrap_or(Ok(Some(told)))
}
