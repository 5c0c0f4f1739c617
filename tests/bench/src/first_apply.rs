//! Everything is pending: each subject applies it to an empty database.

use crate::{
    Bench,
    folders::{Folders, Migration},
    numbers::{All, Figure, Goal, Rounds, Spread},
    subjects::{self, From, Socket, boot},
};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Who does it, as the table has it.
const FLOOR: &str = "a transaction each";
const ONE_STRING: &str = "a transaction each, in one string";
const SQLX: &str = "sqlx 0.9";
const REFINERY: &str = "refinery 0.10";
const PLINTH: &str = "precompiled";
const ALL: [&str; 5] = [FLOOR, ONE_STRING, SQLX, REFINERY, PLINTH];

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let count = bench.arguments.first_apply;
    let folders = Folders::write(count, &bench.component)?;
    eprintln!("  {count} blocks, compiled for the first time …");
    let cold = fresh(bench, async |database| {
        let begin = Instant::now();
        boot(&bench.socket, database, &From::Folder(folders.plinth.path().into()), Some(bench.cache.path())).await?;
        Ok(begin.elapsed())
    })
    .await?;
    let mut rounds = Rounds::default();
    let counted = bench.arguments.few();
    for round in 0..=counted {
        eprintln!("  round {round} of {counted} …");
        for place in 0..ALL.len() {
            let name = ALL[(round + place) % ALL.len()];
            let took = fresh(bench, async |database| once(name, bench, database, &folders).await).await?;
            // The first warms up.
            if round > 0 {
                rounds.add(name, took.as_secs_f64() * 1e3);
            }
        }
    }
    let spread = |name| rounds.spread(name).context("no rounds");
    let plinth = spread(PLINTH)?;
    for name in [FLOOR, ONE_STRING, SQLX, REFINERY] {
        let figure = Figure::time(2, format!("first apply of {count}, precompiled"), plinth).against(name, spread(name)?);
        all.figures.push(match name {
            FLOOR => figure.goal(Goal::AtMost(1.1)),
            SQLX => figure.goal(Goal::Ahead),
            _ => figure,
        });
    }
    let cold = cold.as_secs_f64() * 1e3;
    all.figures.push(Figure::time(2, format!("first apply of {count}, compiled on the way"), Spread::once(cold)));
    all.figures.push(Figure::time(2, "of which compiling", Spread::once((cold - plinth.median).max(0.0))));
    Ok(())
}

/// Something on an empty database that is gone afterwards.
pub async fn fresh<T>(bench: &Bench, work: impl AsyncFnOnce(&str) -> Result<T>) -> Result<T> {
    const DATABASE: &str = "fresh";
    let admin = bench.socket.client("postgres").await?;
    admin.batch_execute(&format!("create database {DATABASE}")).await?;
    admin.batch_execute("checkpoint").await?;
    let done = work(DATABASE).await;
    admin.batch_execute(&format!("drop database {DATABASE} with (force)")).await?;
    done
}

/// From after connecting.
async fn once(name: &str, bench: &Bench, database: &str, folders: &Folders) -> Result<Duration> {
    let socket = &bench.socket;
    Ok(match name {
        FLOOR => floor(socket, database, folders.count).await?,
        ONE_STRING => one_string(socket, database, folders.count).await?,
        SQLX => subjects::sqlx(socket, database, folders.sqlx.path(), false).await?.run,
        REFINERY => subjects::refinery(socket, database, folders.refinery.path(), false).await?.run,
        _ => plinth(bench, database, folders).await?,
    })
}

/// With code that was compiled before.
pub async fn plinth(bench: &Bench, database: &str, folders: &Folders) -> Result<Duration> {
    let from = From::Folder(folders.plinth.path().into());
    Ok(boot(&bench.socket, database, &from, Some(bench.cache.path())).await?.0.run)
}

/// What anybody would write who keeps no ledger.
async fn floor(socket: &Socket, database: &str, count: usize) -> Result<Duration> {
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
async fn one_string(socket: &Socket, database: &str, count: usize) -> Result<Duration> {
    let client = socket.client(database).await?;
    let start = Instant::now();
    for number in 1..=count {
        client.batch_execute(&format!("begin; {}; commit", Migration::new(number).statement)).await?;
    }
    Ok(start.elapsed())
}
