//! What a boot costs: Plinth beside the least that the database needs and beside its peers, in the same run. Nothing is asserted:
//! ratios are printed, with what is to be reached.
//!
//!     plinth-bench [--only-part boots,deploy,first-apply,block,rules,bulk,replicas,memory,growth,instructions] [--json FILE] [--readme] [--rounds N]
//!                  [--sizes 10,100,1000,10000] [--only plinth,sqlx] [--first-apply N] [--bulk ROWS] [--replicas N] [--plots DIR] [--no-fsync]
//!
//! `--readme` writes the tables into README.md and docs/PERFORMANCE.md and draws docs/growth-*.svg.

mod arguments;
mod block;
mod boots;
mod bulk;
mod child;
mod deploy;
mod far;
mod first_apply;
mod folders;
mod growth;
mod guests;
mod instructions;
mod memory;
mod numbers;
mod planning;
mod plot;
mod proxy;
mod replicas;
mod rules;
mod statements;
mod subjects;
mod table;

use anyhow::{Context, Result, ensure};
use arguments::{Arguments, Part};
use numbers::{All, Machine};
use plinth::embedded::Server;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};
use subjects::Socket;
use tempfile::TempDir;

/// What all parts share.
pub struct Bench {
    pub arguments: Arguments,
    pub socket: Socket,
    /// The component that migrations are copies of.
    pub component: Vec<u8>,
    /// Compiled code, of what one part compiled and another runs.
    pub cache: TempDir,
    /// What the parts write. Nothing is deleted before the end, and no database either: some file systems pass over what was deleted lately
    /// when they make a file (ext4 without a journal does, for minutes), and that would be a part of what is measured.
    files: TempDir,
    /// How many folders and databases there are.
    made: AtomicUsize,
}

impl Bench {
    /// A folder that nobody else has.
    pub fn folder(&self) -> Result<PathBuf> {
        let folder = self.files.path().join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// The name of a database that nobody else has.
    pub fn database(&self) -> String {
        format!("of_its_own_{}", self.made.fetch_add(1, Ordering::Relaxed))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == child::WORD).is_some() {
        let order: child::Order = serde_json::from_str(&words.next().context("no order")?)?;
        return order.obey().await;
    }
    let arguments = Arguments::read(words)?;
    let durable = arguments.durable;
    let load_before = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let server =
        tokio::task::spawn_blocking(move || Server::builder().setting("autovacuum", "off").durable(durable).start()).await??;
    let socket = Socket(server.socket_folder().to_owned());
    let component = guests::built(guests::MIGRATION)?;
    let bench = Bench {
        arguments,
        socket,
        component,
        cache: tempfile::tempdir()?,
        files: tempfile::tempdir()?,
        made: AtomicUsize::new(0),
    };
    let mut all =
        All { machine: machine(&bench, load_before).await?, figures: Vec::new(), curves: Vec::new(), skipped: Vec::new() };
    let mut failed = Vec::new();
    for part in &bench.arguments.parts {
        eprintln!("{} …", part.name());
        let begun = Instant::now();
        if let Err(error) = measure(*part, &bench, &mut all).await {
            // The others are worth having all the same.
            all.skip(format!("{} could not be measured: {error:#}", part.name()).replace('\n', " "));
            failed.push(part.name());
        }
        eprintln!("  {:.0} s", begun.elapsed().as_secs_f64());
    }
    println!("{}\n\n{}\n{}", all.said(), all.table(true), all.growth());
    if let Some(file) = &bench.arguments.json {
        fs::write(file, serde_json::to_string_pretty(&all)?).with_context(|| file.display().to_string())?;
    }
    if let Some(folder) = &bench.arguments.plots {
        plot::draw(&all.curves, folder)?;
    }
    if bench.arguments.readme && failed.is_empty() {
        document(&all)?;
    }
    tokio::task::spawn_blocking(|| server.stop()).await??;
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

async fn measure(part: Part, bench: &Bench, all: &mut All) -> Result<()> {
    match part {
        Part::Boots => boots::measure(bench, all).await,
        Part::Deploy => deploy::measure(bench, all).await,
        Part::FirstApply => first_apply::measure(bench, all).await,
        Part::Block => block::measure(bench, all).await,
        Part::Rules => rules::measure(bench, all).await,
        Part::Bulk => bulk::measure(bench, all).await,
        Part::Replicas => replicas::measure(bench, all).await,
        Part::Memory => memory::measure(bench, all).await,
        Part::Growth => growth::measure(bench, all).await,
        Part::Instructions => instructions::measure(bench, all).await,
    }
}

/// Writes what was measured into the documents.
fn document(all: &All) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (readme, performance) = (root.join("README.md"), root.join("docs/PERFORMANCE.md"));
    all.write_into(&readme, "what is to be reached", &format!("{}\n\n{}", all.said(), all.table(false)))?;
    all.write_into(&performance, "everything", &format!("{}\n\n{}", all.said(), all.table(true)))?;
    all.write_into(&performance, "growth", &all.growth())?;
    plot::draw(&all.curves, &root.join("docs"))
}

async fn machine(bench: &Bench, load_before: String) -> Result<Machine> {
    let client = bench.socket.client("postgres").await?;
    let setting = async |name: &str| -> Result<String> { Ok(client.query_one(&format!("show {name}"), &[]).await?.get(0)) };
    let durability = format!("fsync {}, synchronous_commit {}", setting("fsync").await?, setting("synchronous_commit").await?);
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, name)| name);
    Ok(Machine {
        processors: std::thread::available_parallelism()?.get(),
        model: model.to_owned(),
        load_before: load_before.split(' ').take(3).collect::<Vec<_>>().join(" "),
        postgres: setting("server_version").await?,
        durability,
        component_bytes: bench.component.len(),
        rounds: bench.arguments.rounds,
    })
}
