//! Everything is pending: each subject applies it to an empty database.

use crate::{
    Bench,
    far::{Far, WAY},
    folders::{Folders, Migration},
    numbers::{All, Figure, Goal, Rounds, Spread},
    subjects::{self, From, Socket, boot},
};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Who does it, as the table has it.
const FLOOR: &str = "a transaction each";
const ONE_STRING: &str = "a transaction each, in one string";
const NOT_WAITING: &str = "a transaction each, in one string, not waiting for the disk";
const SQLX: &str = "sqlx 0.9";
const REFINERY: &str = "refinery 0.10";
const PLINTH: &str = "precompiled";
const ALL: [&str; 6] = [FLOOR, ONE_STRING, NOT_WAITING, SQLX, REFINERY, PLINTH];

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let count = bench.arguments.first_apply;
    let folders = Folders::write(count, bench)?;
    eprintln!("  {count} blocks, compiled for the first time …");
    let cold = fresh(bench, async |database| {
        let begin = Instant::now();
        boot(&bench.socket, database, &folders.folder(), Some(bench.cache.path())).await?;
        Ok(begin.elapsed())
    })
    .await?;
    eprintln!("  a bundle with compiled code …");
    let begin = Instant::now();
    let bundle = folders.bundle(true).await?;
    let compiling = begin.elapsed();
    let rounds = compared(bench, &bench.socket, &ALL, &folders, &bundle).await?;
    let spread = |name| rounds.spread(name).context("no rounds");
    let plinth = spread(PLINTH)?;
    for name in [FLOOR, ONE_STRING, NOT_WAITING, SQLX, REFINERY] {
        let figure = Figure::time(2, format!("first apply of {count}, precompiled"), plinth).against(name, spread(name)?);
        all.figures.push(match name {
            FLOOR => figure.goal(Goal::AtMost(1.1)),
            SQLX => figure.goal(Goal::Ahead),
            _ => figure,
        });
    }
    for (what, took) in [("compiled on the way, from a folder", cold), ("compiled ahead: writing the bundle", compiling)] {
        let what = format!("first apply of {count}, {what}");
        all.figures.push(Figure::new(2, what, "s", Spread::once(took.as_secs_f64())));
    }
    far_away(bench, all).await
}

/// How many blocks are applied there.
const FAR: usize = 200;

/// The same where round trips are what takes time.
async fn far_away(bench: &Bench, all: &mut All) -> Result<()> {
    let count = FAR.min(bench.arguments.first_apply);
    eprintln!("  {count} blocks, the server a millisecond away …");
    let folders = Folders::write(count, bench)?;
    let bundle = folders.bundle(true).await?;
    let far = Far::start(&bench.socket, WAY)?;
    let rounds = compared(bench, &far.socket(), &[FLOOR, ONE_STRING, SQLX, REFINERY, PLINTH], &folders, &bundle).await?;
    let spread = |name| rounds.spread(name).context("no rounds");
    for name in [FLOOR, ONE_STRING, SQLX, REFINERY] {
        let what = format!("first apply of {count}, precompiled, the server a millisecond away");
        all.figures.push(Figure::time(2, what, spread(PLINTH)?).against(name, spread(name)?));
    }
    Ok(())
}

/// Subjects that take turns, each on an empty database.
async fn compared(bench: &Bench, socket: &Socket, names: &[&'static str], folders: &Folders, bundle: &From) -> Result<Rounds> {
    let mut rounds = Rounds::default();
    let counted = bench.arguments.few();
    for round in 0..=counted {
        eprintln!("  round {round} of {counted} …");
        for place in 0..names.len() {
            let name = names[(round + place) % names.len()];
            let took = fresh(bench, async |database| once(name, socket, database, folders, bundle).await).await?;
            // The first warms up.
            if round > 0 {
                rounds.add(name, took.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(rounds)
}

/// Something on an empty database.
pub async fn fresh<T>(bench: &Bench, work: impl AsyncFnOnce(&str) -> Result<T>) -> Result<T> {
    let admin = bench.socket.client("postgres").await?;
    let database = bench.database();
    admin.batch_execute(&format!("create database {database}")).await?;
    admin.batch_execute("checkpoint").await?;
    work(&database).await
}

/// From after connecting.
async fn once(name: &str, socket: &Socket, database: &str, folders: &Folders, bundle: &From) -> Result<Duration> {
    Ok(match name {
        FLOOR => floor(socket, database, folders.count).await?,
        ONE_STRING => one_string(socket, database, folders.count, "on").await?,
        NOT_WAITING => one_string(socket, database, folders.count, "off").await?,
        SQLX => subjects::sqlx(socket, database, &folders.sqlx, false).await?.run,
        REFINERY => subjects::refinery(socket, database, &folders.refinery, false).await?.run,
        _ => boot(socket, database, bundle, None).await?.0.run,
    })
}

/// What anybody would write who keeps no ledger.
pub async fn floor(socket: &Socket, database: &str, count: usize) -> Result<Duration> {
    let mut client = socket.client(database).await?;
    let start = Instant::now();
    for number in 1..=count {
        let transaction = client.transaction().await?;
        transaction.batch_execute(&Migration::new(number).statement).await?;
        transaction.commit().await?;
    }
    Ok(start.elapsed())
}

/// As few round trips as can be.
async fn one_string(socket: &Socket, database: &str, count: usize, waits: &str) -> Result<Duration> {
    let client = socket.client(database).await?;
    client.batch_execute(&format!("set synchronous_commit = {waits}")).await?;
    let start = Instant::now();
    for number in 1..=count {
        client.batch_execute(&format!("begin; {}; commit", Migration::new(number).statement)).await?;
    }
    Ok(start.elapsed())
}
