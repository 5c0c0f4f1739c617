//! Rules that find nothing to change, against their own statements sent natively.

use crate::{
    Bench,
    guests::{self, RULE, RULE_DRIFTED, RULE_EXISTS, RULE_MANIFEST, RULE_UPDATE},
    numbers::{All, Figure, Goal, Rounds},
    subjects::{From, Socket, boot},
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const DATABASE: &str = "rules";
const RULES: usize = 10;
const ROWS: u64 = 100_000;

/// So many rules, each of a column of its own, and the table that they keep.
pub struct Rules {
    pub folder: TempDir,
    numbers: std::ops::RangeInclusive<usize>,
}

impl Rules {
    /// Writes the components.
    pub fn write(count: usize) -> Result<Rules> {
        let (folder, original) = (TempDir::new()?, guests::built(RULE)?);
        for number in 1..=count {
            let manifest = format!(
                "id = \"{number:03}_bench_rule\"\nkind = \"rule\"\ntitle = \"Column {number}\"\nteam = \"bench\"\n\
                 reads = [\"bench_rows.id\"]\nwrites = [\"bench_rows.c{number}\"]\n"
            );
            let component = guests::copy(
                &original,
                &[
                    (RULE_MANIFEST, &manifest),
                    (RULE_EXISTS, &exists(number)),
                    (RULE_UPDATE, &format!("update bench_rows set c{number} = id % 7 where c{number} <> id % 7")),
                    (RULE_DRIFTED, &drifted(number)),
                ],
            )?;
            fs::write(folder.path().join(format!("{number:03}_bench_rule.wasm")), component)?;
        }
        Ok(Rules { folder, numbers: 1..=count })
    }

    /// A database with so many rows that are as the rules want them, and a first boot that compiled them.
    pub async fn prepare(&self, bench: &Bench, database: &str, rows: u64) -> Result<()> {
        bench.socket.client("postgres").await?.batch_execute(&format!("create database {database}")).await?;
        let client = bench.socket.client(database).await?;
        let columns: Vec<String> = self.numbers.clone().map(|number| format!("c{number} integer not null")).collect();
        let values: Vec<String> = self.numbers.clone().map(|_| "i % 7".to_owned()).collect();
        client.batch_execute(&format!("create table bench_rows (id integer primary key, {})", columns.join(", "))).await?;
        let fill = format!("insert into bench_rows select i, {} from generate_series(1, {rows}) i", values.join(", "));
        client.batch_execute(&fill).await?;
        client.batch_execute("vacuum analyze").await?;
        client.batch_execute("checkpoint").await?;
        self.boot(bench, database).await.map(drop)
    }

    /// By the report: from after connecting.
    pub async fn boot(&self, bench: &Bench, database: &str) -> Result<Duration> {
        let from = From::Folder(self.folder.path().to_owned());
        Ok(boot(&bench.socket, database, &from, Some(bench.cache.path())).await?.0.run)
    }

    /// What the rules ask, and nothing else.
    pub async fn natively(&self, socket: &Socket, database: &str) -> Result<Duration> {
        let client = socket.client(database).await?;
        let start = Instant::now();
        for number in self.numbers.clone() {
            let rows = client.query_typed(&exists(number), &[]).await?;
            ensure!(!rows.first().context("no row")?.try_get::<_, bool>(0)?, "it drifted");
            // As the SDK asks it.
            let rows = client.query_typed(&format!("select count(*) from ({}) as found", drifted(number)), &[]).await?;
            ensure!(rows.first().context("no row")?.try_get::<_, i64>(0)? == 0, "it drifted");
        }
        Ok(start.elapsed())
    }
}

fn exists(number: usize) -> String {
    format!("select exists (select from bench_rows where c{number} <> id % 7)")
}

fn drifted(number: usize) -> String {
    format!("select id from bench_rows where c{number} <> id % 7")
}

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let rules = Rules::write(RULES)?;
    rules.prepare(bench, DATABASE, ROWS).await?;
    let mut rounds = Rounds::default();
    for round in 0..=bench.arguments.many() {
        for place in 0..3 {
            let (name, took) = match (round + place) % 3 {
                0 => ("plinth", rules.boot(bench, DATABASE).await?),
                1 => {
                    let client = bench.socket.client(DATABASE).await?;
                    client.batch_execute("update plinth.blocks set recall = null").await?;
                    ("run", rules.boot(bench, DATABASE).await?)
                }
                _ => ("native", rules.natively(&bench.socket, DATABASE).await?),
            };
            if round > 0 {
                rounds.add(name, took.as_secs_f64() * 1e3);
            }
        }
    }
    let spread = |name| rounds.spread(name).context("no rounds");
    let what = format!("{RULES} rules that change nothing, {ROWS} rows, the whole boot");
    let figure = Figure::time(4, what, spread("plinth")?).against("their statements natively", spread("native")?);
    all.figures.push(figure.goal(Goal::AtMost(1.1)));
    let what = format!("{RULES} rules that change nothing, {ROWS} rows, the first boot with them: each of them is run");
    all.figures.push(Figure::time(4, what, spread("run")?).against("their statements natively", spread("native")?));
    Ok(())
}
