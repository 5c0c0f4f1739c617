//! What a boot keeps in memory, in a process of its own.

use crate::{
    Bench,
    boots::adopted,
    child::{Memory, Order, Task, Told},
    folders::Folders,
    guests::{self, GROWS},
    numbers::{All, Figure, Goal, Spread},
    subjects::From,
};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fs};

/// Room for the guest that takes 200 MiB.
const ROOM: usize = 256 << 20;

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let mut least: BTreeMap<&str, (usize, Spread)> = BTreeMap::new();
    for count in bench.arguments.sizes.iter().copied().filter(|count| *count >= 1000) {
        eprintln!("  {count} blocks …");
        let folders = Folders::write(count, bench)?;
        let database = format!("memory_{count}");
        bench.socket.client("postgres").await?.batch_execute(&format!("create database {database}")).await?;
        adopted(&bench.socket, &database, count, &folders.folder()).await?;
        let cache = tempfile::tempdir()?;
        let bundle = folders.bundle(false).await?;
        for (title, from, cache) in [
            ("bundle", bundle, None),
            ("folder", folders.folder(), None),
            ("folder with a cache", folders.folder(), Some(cache.path().to_owned())),
        ] {
            let told = several(bench, Order { cache, ..Order::one(&bench.socket, &database, from) }).await?;
            let spread = |part: fn(&Memory) -> u64| {
                Spread::of_numbers(told.iter().filter_map(|told| Some(mebibytes(part(&told.last()?.after))))).context("no rounds")
            };
            let what = |what: &str| format!("{what} of a process after a boot with nothing to do, {count} blocks, {title}");
            let resident = spread(|memory| memory.resident)?;
            let figure = Figure::new(7, what("resident memory"), "MiB", resident);
            all.figures.push(match least.get(title) {
                None => figure.goal(Goal::AtMost(40.0)),
                Some((count, spread)) => figure.against(format!("{count} blocks"), *spread).goal(Goal::AtMost(1.5)),
            });
            least.entry(title).or_insert((count, resident));
            all.figures.push(Figure::new(7, what("peak"), "MiB", spread(|memory| memory.peak)?));
        }
    }
    returns(bench, all).await
}

/// A block's memory is given back when it is done.
async fn returns(bench: &Bench, all: &mut All) -> Result<()> {
    let database = "memory_returns";
    bench.socket.client("postgres").await?.batch_execute(&format!("create database {database}")).await?;
    let small = Folders::write(2, bench)?;
    let large = tempfile::tempdir()?;
    fs::write(large.path().join("grows.wasm"), guests::built(GROWS)?)?;
    let mut told = Vec::new();
    for round in 0..=bench.arguments.few() {
        // What runs first makes the engine, which stays.
        let boots = [(small.folder(), "small"), (From::Folder(large.path().into()), "large")];
        let boots = boots.map(|(from, name)| Task { from, application: format!("{name} {round}") });
        bench.socket.client(database).await?.batch_execute("drop table if exists bench_0001").await?;
        let order = Order {
            boots: boots.to_vec(),
            cache: Some(bench.cache.path().into()),
            memory: Some(ROOM),
            ..Order::one(&bench.socket, database, small.folder())
        };
        let one = order.run().await?;
        ensure!(one.iter().all(|told| told.ran > 0), "a block did not run");
        // The first compiles, which takes memory as well.
        if round > 0 {
            told.extend(one.into_iter().nth(1));
        }
    }
    let spread = |part: fn(&Told) -> u64| Spread::of_numbers(told.iter().map(|told| mebibytes(part(told)))).context("no rounds");
    all.figures.push(Figure::new(7, "peak while a block has 200 MiB", "MiB", spread(|told| told.after.peak)?));
    all.figures.push(
        Figure::new(7, "resident memory after that block", "MiB", spread(|told| told.after.resident)?)
            .against("before it", spread(|told| told.before.resident)?),
    );
    Ok(())
}

async fn several(bench: &Bench, order: Order) -> Result<Vec<Vec<Told>>> {
    // The first fills the cache.
    order.run().await?;
    let mut all = Vec::new();
    for _ in 0..bench.arguments.few() {
        all.push(order.run().await?);
    }
    Ok(all)
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
