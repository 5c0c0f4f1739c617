//! How time grows: with blocks, rows, replicas and rules; and how instructions grow where time is noisy.

use crate::{
    Bench,
    block::{Disk, block, component, follow, native, without_waiting},
    bulk,
    first_apply::{floor, fresh},
    folders::Folders,
    numbers::{All, Curve, Spread},
    replicas::Replicas,
    rules::Rules,
    statements::{LEDGER, List, Native},
    subjects::boot,
};
use anyhow::{Context, Result};
use std::time::Duration;

/// Of each point. Where it matters what the last digit is, the other parts have more.
const ROUNDS: usize = 5;

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    first_applies(bench, all).await?;
    rows(bench, all).await?;
    replicas(bench, all).await?;
    rules(bench, all).await
}

fn upto(most: usize) -> impl Iterator<Item = usize> {
    [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000].into_iter().filter(move |count| *count <= most)
}

fn median(took: Vec<Duration>) -> Result<f64> {
    Ok(Spread::of(took).context("no rounds")?.median)
}

async fn first_applies(bench: &Bench, all: &mut All) -> Result<()> {
    let (mut points, mut floors) = (Vec::new(), Vec::new());
    for count in upto(bench.arguments.first_apply).filter(|count| *count >= 10) {
        eprintln!("  first apply of {count} …");
        let folders = Folders::write(count, bench)?;
        let (mut took, mut natively) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let cache = Some(bench.cache.path());
            let one = fresh(bench, async |database| boot(&bench.socket, database, &folders.folder(), cache).await).await?;
            let native = fresh(bench, async |database| floor(&bench.socket, database, count).await).await?;
            // The first may compile.
            if round > 0 {
                took.push(one.0.run);
                natively.push(native);
            }
        }
        points.push((count as f64, median(took)?));
        floors.push((count as f64, median(natively)?));
    }
    all.curves.push(Curve::new("blocks", "first apply, precompiled", "ms", points));
    all.curves.push(Curve::new("blocks", "its statements natively, a transaction each", "ms", floors));
    Ok(())
}

/// Rows that a statement changes, which the host counts; and rows that pass through the block.
async fn rows(bench: &Bench, all: &mut All) -> Result<()> {
    let database = "growth_rows";
    without_waiting(bench, database).await?;
    let client = bench.socket.client(database).await?;
    client.batch_execute(&format!("create schema apart; set search_path = apart; {LEDGER}; reset search_path")).await?;
    let folder = tempfile::tempdir()?;
    let (mut blocks, mut natives) = (Vec::new(), Vec::new());
    for rows in [100_u64, 1000, 10_000, 100_000, 1_000_000].into_iter().filter(|rows| *rows <= bench.arguments.bulk) {
        eprintln!("  {rows} rows …");
        let list = List::new(&format!("update bench_many set a = a + $1 where id <= $2\t1\t{rows}"))?;
        std::fs::write(folder.path().join("statements.wasm"), component(&list)?)?;
        follow(folder.path(), "update bench_many set a = a where id < $1\t0")?;
        let (mut block_took, mut native_took) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            for plinth in [true, false] {
                let fill = format!(
                    "drop table if exists bench_many; create table bench_many as select i::bigint as id, 0::bigint as a from generate_series(1, {rows}) i"
                );
                client.batch_execute(&fill).await?;
                client.batch_execute("analyze bench_many; checkpoint").await?;
                let (took, one) = match plinth {
                    true => {
                        let application = format!("{rows} {round}");
                        (&mut block_took, block(bench, database, &application, folder.path()).await?)
                    }
                    false => {
                        (&mut native_took, native(&bench.socket, database, &list, None, Native::Typed, Disk::NotWaited).await?)
                    }
                };
                if round > 0 {
                    took.push(one);
                }
            }
        }
        blocks.push((rows as f64, median(block_took)?));
        natives.push((rows as f64, median(native_took)?));
    }
    all.curves.push(Curve::new("rows", "rows that a block's statement changes", "ms", blocks));
    all.curves.push(Curve::new("rows", "the same natively", "ms", natives));
    let (mut read, mut written) = (Vec::new(), Vec::new());
    for rows in [1000_u64, 10_000, 100_000, 1_000_000].into_iter().filter(|rows| *rows <= bench.arguments.bulk) {
        eprintln!("  {rows} rows in bulk …");
        let bulk = bulk::one(bench, &format!("growth_bulk_{rows}"), rows, ROUNDS, false).await?;
        read.push((rows as f64, bulk.read.get("plinth").context("no rounds")?.median));
        written.push((rows as f64, bulk.written.get("plinth").context("no rounds")?.median));
    }
    all.curves.push(Curve::new("rows", "rows that a block reads", "ms", read));
    all.curves.push(Curve::new("rows", "rows that a block writes", "ms", written));
    Ok(())
}

async fn replicas(bench: &Bench, all: &mut All) -> Result<()> {
    let mut replicas = Replicas::prepare(bench, "growth_replicas").await?;
    for (pending, what) in [(false, "nothing to do"), (true, "one block pending")] {
        let mut points = Vec::new();
        for crowd in [1, 2, 4, 8, 16, 32].into_iter().filter(|crowd| *crowd <= bench.arguments.replicas) {
            eprintln!("  {crowd} replicas, {what} …");
            let crowds = replicas.crowds(bench, crowd, pending, ROUNDS).await?;
            let took = Spread::of_numbers(crowds.iter().map(|crowd| crowd.first + crowd.last)).context("no rounds")?;
            points.push((crowd as f64, took.median));
        }
        all.curves.push(Curve::new("replicas", format!("{what}: until the last is ready"), "ms", points));
    }
    Ok(())
}

async fn rules(bench: &Bench, all: &mut All) -> Result<()> {
    let (mut plinth, mut native) = (Vec::new(), Vec::new());
    for count in upto(100) {
        eprintln!("  {count} rules …");
        let rules = Rules::write(count)?;
        let database = format!("growth_rules_{count}");
        rules.prepare(bench, &database, 10_000).await?;
        let (mut boots, mut natives) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            boots.push(rules.boot(bench, &database).await?);
            natives.push(rules.natively(&bench.socket, &database).await?);
        }
        plinth.push((count as f64, median(boots)?));
        native.push((count as f64, median(natives)?));
    }
    all.curves.push(Curve::new("rules", "rules that change nothing, 10,000 rows", "ms", plinth));
    all.curves.push(Curve::new("rules", "their statements natively", "ms", native));
    Ok(())
}
