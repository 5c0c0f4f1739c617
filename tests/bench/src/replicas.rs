//! Many replicas that start at once, each a process of its own.

use crate::{
    Bench,
    boots::adopted,
    child::{Order, Told},
    folders::Folders,
    numbers::{All, Figure, Goal, Spread},
    subjects::From,
};
use anyhow::{Context, Result, ensure};
use std::process::Stdio;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

/// Blocks of the set.
const BLOCKS: usize = 1000;

/// What a crowd needs, milliseconds.
pub struct Crowd {
    /// From the word to the first that was ready, which is the runner if something was pending.
    pub first: f64,
    /// From the first to the last.
    pub last: f64,
}

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let crowd = bench.arguments.replicas;
    let mut replicas = Replicas::prepare(bench, "replicas").await?;
    for pending in [false, true] {
        eprintln!("  {crowd} replicas, {} …", if pending { "one block pending" } else { "nothing to do" });
        let crowds = replicas.crowds(bench, crowd, pending, bench.arguments.few()).await?;
        let spread = |part: fn(&Crowd) -> f64| Spread::of_numbers(crowds.iter().map(part)).context("no rounds");
        let what = if pending { "one of 1000 blocks pending" } else { "nothing to do with 1000 blocks" };
        let runner = if pending { "the runner" } else { "the first" };
        all.figures.push(
            Figure::time(
                6,
                format!("{crowd} replicas at once, {what}: the last is ready after {runner}"),
                spread(|crowd| crowd.last)?,
            )
            .goal(Goal::AtMost(150.0)),
        );
        let what = format!("{crowd} replicas at once, {what}: from the word to {runner}");
        all.figures.push(Figure::time(6, what, spread(|crowd| crowd.first)?));
    }
    Ok(())
}

/// What crowds boot: a bundle of a thousand blocks, and of one more for each crowd that is to find one pending.
pub struct Replicas {
    database: &'static str,
    folders: Folders,
    bundle: From,
}

impl Replicas {
    /// A database in which all of it is applied.
    pub async fn prepare(bench: &Bench, database: &'static str) -> Result<Replicas> {
        let folders = Folders::write(BLOCKS, bench)?;
        let bundle = folders.bundle(false).await?;
        bench.socket.client("postgres").await?.batch_execute(&format!("create database {database}")).await?;
        adopted(&bench.socket, database, BLOCKS, &bundle).await?;
        Ok(Replicas { database, folders, bundle })
    }

    /// So many crowds, one after the other.
    pub async fn crowds(&mut self, bench: &Bench, crowd: usize, pending: bool, rounds: usize) -> Result<Vec<Crowd>> {
        let mut crowds = Vec::new();
        for round in 0..=rounds {
            if pending {
                self.folders.add(&bench.component)?;
                self.bundle = self.folders.bundle(false).await?;
            }
            let took = at_once(bench, self.database, &self.bundle, crowd, pending).await?;
            if round > 0 {
                crowds.push(took);
            }
        }
        Ok(crowds)
    }
}

async fn at_once(bench: &Bench, database: &str, from: &From, crowd: usize, pending: bool) -> Result<Crowd> {
    let order = Order { cache: Some(bench.cache.path().into()), wait: true, ..Order::one(&bench.socket, database, from.clone()) };
    let mut children = Vec::new();
    for _ in 0..crowd {
        let mut command = Command::from(order.command(&[])?);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line).await?;
        ensure!(line == "ready\n", "a replica said {line:?}");
        children.push((child, lines));
    }
    for (child, _) in &mut children {
        child.stdin.as_mut().context("no input")?.write_all(b"go\n").await?;
    }
    let mut told = Vec::new();
    for (mut child, mut lines) in children {
        let mut text = String::new();
        lines.read_to_string(&mut text).await?;
        ensure!(child.wait().await?.success(), "a replica failed");
        told.extend(Told::read(&text)?);
    }
    ensure!(told.len() == crowd, "{} of {crowd} replicas were ready", told.len());
    let ran = told.iter().filter(|one| one.ran > 0).count();
    ensure!(ran == usize::from(pending), "{ran} replicas ran something");
    let begun = told.iter().map(|one| one.began).min().unwrap_or_default();
    let first = told.iter().filter(|one| !pending || one.ran > 0).map(|one| one.done).min().unwrap_or_default();
    let last = told.iter().map(|one| one.done).max().unwrap_or_default();
    let milliseconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    Ok(Crowd { first: milliseconds(begun, first), last: milliseconds(first, last) })
}
