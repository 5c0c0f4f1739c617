//! Many rows through a component, against the same work in native tokio-postgres; and in Python and Node, if their drivers are there.

use crate::{
    Bench,
    block::without_waiting,
    numbers::{All, Figure, Goal, Rounds, Spread},
    subjects::Socket,
};
use anyhow::{Context, Result, ensure};
use futures_util::{TryStreamExt, pin_mut};
use plinth::{Host, Outcome};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime},
};
use tokio_postgres::{
    Client,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bulk");
/// Where `run.sh` puts the drivers of other languages.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench-peers");
const NAMES: [&str; 4] = ["plinth", "native", "psycopg", "postgres.js"];

/// What it took to read and to write, by who did it.
pub struct Bulk {
    pub read: BTreeMap<&'static str, Spread>,
    pub written: BTreeMap<&'static str, Spread>,
    skipped: Vec<String>,
}

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let rows = bench.arguments.bulk;
    if rows == 0 {
        return Ok(());
    }
    let bulk = one(bench, "bulk", rows, bench.arguments.few(), true).await?;
    for (verb, spreads) in [("read", &bulk.read), ("written", &bulk.written)] {
        let plinth = *spreads.get("plinth").context("no rounds")?;
        for (name, spread) in spreads.iter().filter(|(name, _)| **name != "plinth") {
            let title = if *name == "native" { "tokio-postgres" } else { name };
            let figure =
                Figure::time(5, format!("{rows} rows {verb}; the ratio is that of throughputs"), plinth).against(title, *spread);
            all.figures.push(figure.goal(if *name == "native" { Goal::AtLeast(0.8) } else { Goal::AtLeast(1.0) }));
        }
    }
    bulk.skipped.into_iter().for_each(|why| all.skip(why));
    Ok(())
}

/// So many rows in a database of their own.
pub async fn one(bench: &Bench, database: &str, rows: u64, rounds: usize, peers: bool) -> Result<Bulk> {
    let socket = &bench.socket;
    without_waiting(bench, database).await?;
    let client = socket.client(database).await?;
    let tables = format!(
        "create table bulk_source (id bigint, name text, cents integer, at timestamptz);
         insert into bulk_source select i, 'a name of twenty-four ch', case when i % 10 > 0 then i % 100000 end,
                '2000-01-01'::timestamptz + i * interval '1 second' from generate_series(0, {rows} - 1) i;
         create table bulk_target (like bulk_source); create table bulk_rows as select {rows}::bigint as count; vacuum analyze bulk_source; checkpoint"
    );
    for statement in tables.split(';') {
        client.batch_execute(statement).await?;
    }
    let (mut read, mut written, mut skipped) = (Rounds::default(), Rounds::default(), Vec::new());
    for round in 0..=rounds {
        // Each is first as often as the other; the first round warms up.
        for place in 0..2 {
            client.batch_execute("truncate bulk_target; checkpoint").await?;
            let (name, took) = match (round + place) % 2 {
                0 => ("native", native(socket, database, rows).await?),
                _ => ("plinth", plinth(bench, database, round, rows).await?),
            };
            if round > 0 {
                read.add(name, took.0.as_secs_f64() * 1e3);
                written.add(name, took.1.as_secs_f64() * 1e3);
            }
        }
    }
    let peers: &[(&'static str, fn(&Socket, &str, u64) -> Command)] =
        if peers { &[("psycopg", python), ("postgres.js", node)] } else { &[] };
    for (name, command) in peers {
        for _ in 0..rounds.min(3) {
            client.batch_execute("truncate bulk_target; checkpoint").await?;
            match peer(command(socket, database, rows)) {
                Ok(took) => {
                    read.add(name, took.0.as_secs_f64() * 1e3);
                    written.add(name, took.1.as_secs_f64() * 1e3);
                }
                Err(error) => {
                    skipped.push(format!("{name} is not measured: {error:#}"));
                    break;
                }
            }
        }
    }
    let spread = |rounds: Rounds| NAMES.into_iter().filter_map(|name| Some((name, rounds.spread(name)?))).collect();
    Ok(Bulk { read: spread(read), written: spread(written), skipped })
}

/// By the report: from BEGIN to COMMIT, with all that the host measures and records.
async fn plinth(bench: &Bench, database: &str, round: usize, rows: u64) -> Result<(Duration, Duration)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-bulk");
    let host = Host::new(bench.socket.config(database)).application(format!("round {round}"));
    let host = host.folder(&folder).cache(bench.cache.path());
    let report = host.boot().await.with_context(|| folder.display().to_string())?;
    let took = |id: &str| -> Result<(Duration, String)> {
        let block = report.block(id).context("it is not there")?;
        ensure!(block.outcome == Outcome::Applied, "{report:?}");
        Ok((Duration::from_secs_f64(block.duration_ms / 1e3), block.message.clone().unwrap_or_default()))
    };
    let ((read, sums), (write, written)) = (took("bulk_read")?, took("bulk_write")?);
    ensure!(sums == self::sums(rows) && written == rows.to_string(), "other work was done: {sums}, {written}");
    Ok((read, write))
}

/// What the table adds up to.
fn sums(rows: u64) -> String {
    let cents: u64 = (0..rows).map(|id| if id % 10 > 0 { id % 100_000 } else { 0 }).sum();
    format!("{} {} {cents} {}", rows * (rows - 1) / 2, rows * 24, (rows - 1) * 1_000_000)
}

async fn native(socket: &Socket, database: &str, rows: u64) -> Result<(Duration, Duration)> {
    let client = socket.client(database).await?;
    let start = Instant::now();
    client.batch_execute("begin").await?;
    let (mut ids, mut names, mut cents, mut latest) = (0_i64, 0_usize, 0_i64, SystemTime::UNIX_EPOCH);
    let none: [&(dyn ToSql + Sync); 0] = [];
    let stream = client.query_raw("select id, name, cents, at from bulk_source", none).await?;
    pin_mut!(stream);
    while let Some(row) = stream.try_next().await? {
        ids = ids.wrapping_add(row.try_get::<_, i64>(0)?);
        names += row.try_get::<_, &str>(1)?.len();
        cents += i64::from(row.try_get::<_, Option<i32>>(2)?.unwrap_or(0));
        latest = latest.max(row.try_get::<_, SystemTime>(3)?);
    }
    client.batch_execute("commit").await?;
    let read = start.elapsed();
    let latest = latest.duration_since(epoch())?.as_micros();
    ensure!(format!("{ids} {names} {cents} {latest}") == sums(rows), "other work was done");
    let start = Instant::now();
    write(&client, rows).await?;
    Ok((read, start.elapsed()))
}

async fn write(client: &Client, rows: u64) -> Result<()> {
    client.batch_execute("begin").await?;
    let sink = client.copy_in("copy bulk_target (id, name, cents, at) from stdin (format binary)").await?;
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT8, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ]);
    pin_mut!(writer);
    for id in 0..rows {
        let cents = (id % 10 != 0).then_some(i32::try_from(id % 100_000)?);
        let at = epoch() + Duration::from_secs(id);
        writer.as_mut().write(&[&i64::try_from(id)?, &"a name of twenty-four ch", &cents, &at]).await?;
    }
    ensure!(writer.finish().await? == rows, "other work was done");
    client.batch_execute("commit").await?;
    Ok(())
}

/// PostgreSQL's.
fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800)
}

fn python(socket: &Socket, database: &str, rows: u64) -> Command {
    let mut command = Command::new(format!("{PEERS}/bin/python"));
    let address = format!("host={} port=5432 user=postgres dbname={database}", socket.0.display());
    command.args([&format!("{FOLDER}/peer.py"), &address, &rows.to_string()]);
    command
}

fn node(socket: &Socket, database: &str, rows: u64) -> Command {
    let mut command = Command::new("node");
    command.current_dir(PEERS).arg(format!("{FOLDER}/peer.mjs")).arg(&socket.0).args(["postgres", database, &rows.to_string()]);
    command
}

fn peer(mut command: Command) -> Result<(Duration, Duration)> {
    let output = command.output().context("it cannot be started")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaint.lines().rfind(|line| line.contains("Error")).unwrap_or("it failed"));
    let text = String::from_utf8(output.stdout)?;
    let mut times = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || -> Result<Duration> { Ok(Duration::from_secs_f64(times.next().context("no time")?? / 1e3)) };
    Ok((next()?, next()?))
}
