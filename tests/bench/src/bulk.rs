//! Many rows through a component, against the same work in native tokio-postgres; and in Python and Node, if their drivers are there.

use crate::{numbers::Spread, subjects::Socket};
use anyhow::{Context, Result, ensure};
use futures_util::{TryStreamExt, pin_mut};
use plinth::{Host, Outcome};
use serde::Serialize;
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

const ROUNDS: usize = 7;
const DATABASE: &str = "bulk";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bulk");

/// Milliseconds to read and to write, by who did it.
#[derive(Serialize)]
pub struct Bulk {
    pub rows: u64,
    pub read: BTreeMap<&'static str, Spread>,
    pub write: BTreeMap<&'static str, Spread>,
}

pub async fn measure(socket: &Socket, rows: u64) -> Result<Bulk> {
    socket.client("postgres").await?.batch_execute(&format!("create database {DATABASE}")).await?;
    let client = socket.client(DATABASE).await?;
    let tables = format!(
        "create table bulk_source (id bigint, name text, cents integer, at timestamptz);
         insert into bulk_source select i, 'a name of twenty-four ch', case when i % 10 > 0 then i % 100000 end,
                '2000-01-01'::timestamptz + i * interval '1 second' from generate_series(0, {rows} - 1) i;
         create table bulk_target (like bulk_source); vacuum analyze bulk_source; checkpoint"
    );
    for statement in tables.split(';') {
        client.batch_execute(statement).await?;
    }
    let (mut read, mut write) = (BTreeMap::<_, Vec<Duration>>::new(), BTreeMap::<_, Vec<Duration>>::new());
    let cache = tempfile::tempdir()?;
    for round in 0..=ROUNDS {
        // Each is first as often as the other; the first round warms up.
        for place in 0..2 {
            client.batch_execute("truncate bulk_target; checkpoint").await?;
            let (name, took) = match (round + place) % 2 {
                0 => ("native", native(socket, rows).await?),
                _ => ("plinth", plinth(socket, round, rows, cache.path()).await?),
            };
            if round > 0 {
                read.entry(name).or_default().push(took.0);
                write.entry(name).or_default().push(took.1);
            }
        }
    }
    for (name, command) in [("psycopg", python(socket, rows)), ("postgres.js", node(socket, rows))] {
        client.batch_execute("truncate bulk_target; checkpoint").await?;
        match peer(command) {
            Ok(took) => {
                read.entry(name).or_default().push(took.0);
                write.entry(name).or_default().push(took.1);
            }
            Err(error) => eprintln!("{name} is not measured: {error:#}"),
        }
    }
    let spread = |all: BTreeMap<&'static str, Vec<Duration>>| {
        all.into_iter().filter_map(|(name, took)| Some((name, Spread::of(took.into_iter())?))).collect()
    };
    Ok(Bulk { rows, read: spread(read), write: spread(write) })
}

/// By the report: from BEGIN to COMMIT, with all that the host measures and records.
async fn plinth(socket: &Socket, round: usize, rows: u64, cache: &Path) -> Result<(Duration, Duration)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-bulk");
    let host = Host::new(socket.config(DATABASE)).application(format!("round {round}")).folder(&folder).cache(cache);
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

async fn native(socket: &Socket, rows: u64) -> Result<(Duration, Duration)> {
    let client = socket.client(DATABASE).await?;
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

fn python(socket: &Socket, rows: u64) -> Command {
    let mut command = Command::new("python3");
    let address = format!("host={} port=5432 user=postgres dbname={DATABASE}", socket.0.display());
    command.args([&format!("{FOLDER}/peer.py"), &address, &rows.to_string()]);
    command
}

fn node(socket: &Socket, rows: u64) -> Command {
    let mut command = Command::new("node");
    command.arg(format!("{FOLDER}/peer.mjs")).arg(&socket.0).args(["postgres", DATABASE, &rows.to_string()]);
    command
}

fn peer(mut command: Command) -> Result<(Duration, Duration)> {
    let output = command.output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaint.lines().rfind(|line| line.contains("Error")).unwrap_or("it failed"));
    let text = String::from_utf8(output.stdout)?;
    let mut times = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || -> Result<Duration> { Ok(Duration::from_secs_f64(times.next().context("no time")?? / 1e3)) };
    Ok((next()?, next()?))
}

impl Bulk {
    pub fn print(&self) {
        for (verb, all) in [("read", &self.read), ("written", &self.write)] {
            let Some(native) = all.get("native") else { continue };
            println!("\n{} rows of four columns {verb}; median of {ROUNDS} rounds, least in brackets; milliseconds", self.rows);
            for (name, spread) in all {
                let ratio = native.median / spread.median;
                println!(
                    "  {name:<12}{:>8.0} [{:.0}], {ratio:.2} of the throughput of native tokio-postgres",
                    spread.median, spread.least
                );
            }
        }
    }
}
