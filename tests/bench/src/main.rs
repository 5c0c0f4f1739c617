//! What a boot costs that has nothing to do: Plinth, sqlx and refinery on the same migrations, in the same run, beside the
//! least that a question to the server can cost. Nothing is asserted: the ratios are printed.
//!
//! And many rows through a component, against native tokio-postgres: `--bulk` says how many, 0 none; `--sizes none` leaves the boots out.
//!
//!     plinth-bench [--json FILE] [--rounds N] [--sizes 10,100,1000] [--only plinth,sqlx] [--component FILE] [--bulk ROWS]

mod bulk;
mod folders;
mod numbers;
mod planning;
mod proxy;
mod subjects;

use anyhow::{Context, Result, bail, ensure};
use folders::Folders;
use numbers::{All, Machine, Measured, Size, Spread};
use plinth::embedded::Server;
use proxy::Proxy;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use subjects::{Socket, Subject, Took, boot};

/// Rounds before those that count.
const WARM_UP: usize = 3;
/// A server process that ends needs a processor for a moment, and there are few.
const BETWEEN: Duration = Duration::from_millis(10);

struct Arguments {
    json: Option<PathBuf>,
    rounds: usize,
    sizes: Vec<usize>,
    subjects: Vec<Subject>,
    component: PathBuf,
    bulk: u64,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-guest/migration.wasm");
        let mut read = Arguments {
            json: None,
            rounds: 31,
            sizes: vec![10, 100, 1000],
            subjects: Subject::ALL.to_vec(),
            component,
            bulk: 1_000_000,
        };
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--json" => read.json = Some(value.into()),
                "--rounds" => read.rounds = value.parse().context(word)?,
                "--bulk" => read.bulk = value.parse().context(word)?,
                "--sizes" if value == "none" => read.sizes = Vec::new(),
                "--sizes" => read.sizes = value.split(',').map(str::parse).collect::<Result<_, _>>().context(word)?,
                "--only" => read.subjects.retain(|subject| value.split(',').any(|name| name == subject.name())),
                "--component" => read.component = value.into(),
                _ => bail!("{word} is no option: --json, --rounds, --sizes, --only, --component, --bulk"),
            }
        }
        ensure!(read.rounds > 0 && !read.subjects.is_empty(), "nothing to measure");
        Ok(read)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let component = folders::component(&arguments.component)?;
    let load_before = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let server = tokio::task::spawn_blocking(|| Server::builder().start()).await??;
    let socket = Socket(server.socket_folder().to_owned());
    let mut all = All {
        machine: machine(&socket, load_before, component.len()).await?,
        rounds: arguments.rounds,
        sizes: Vec::new(),
        planning: None,
        bulk: None,
    };
    for count in &arguments.sizes {
        eprintln!("{count} migrations …");
        all.sizes.push(size(*count, &arguments, &socket, &component).await?);
    }
    if !arguments.sizes.is_empty() {
        eprintln!("a plan of {} blocks …", planning::BLOCKS);
        all.planning = Some(planning::measure(&socket).await?);
    }
    if arguments.bulk > 0 {
        eprintln!("{} rows …", arguments.bulk);
        all.bulk = Some(bulk::measure(&socket, arguments.bulk).await?);
    }
    all.print();
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_string_pretty(&all)?).with_context(|| file.display().to_string())?;
    }
    tokio::task::spawn_blocking(|| server.stop()).await??;
    Ok(())
}

async fn size(count: usize, arguments: &Arguments, socket: &Socket, component: &[u8]) -> Result<Size> {
    let folders = Folders::write(count, component)?;
    let admin = socket.client("postgres").await?;
    let database = |subject: Subject| format!("{}_{count}", subject.name());
    let mut first = BTreeMap::new();
    for subject in &arguments.subjects {
        admin.batch_execute(&format!("create database {}", database(*subject))).await?;
        let start = Instant::now();
        subject.round(socket, &database(*subject), &folders, false).await?;
        first.insert(*subject, start.elapsed());
    }
    // Autovacuum would come upon so many new tables at some time within the rounds.
    for subject in &arguments.subjects {
        socket.client(&database(*subject)).await?.batch_execute("vacuum analyze").await?;
    }
    admin.batch_execute("checkpoint").await?;
    same_tables(socket, arguments, &database, count).await?;

    let mut rounds: BTreeMap<Subject, Vec<Took>> = BTreeMap::new();
    for round in 0..WARM_UP + arguments.rounds {
        // Each is first as often as the others: what comes before costs those that follow.
        for place in 0..arguments.subjects.len() {
            let subject = arguments.subjects[(round + place) % arguments.subjects.len()];
            tokio::time::sleep(BETWEEN).await;
            let took = subject.round(socket, &database(subject), &folders, true).await?;
            if round >= WARM_UP {
                rounds.entry(subject).or_default().push(took);
            }
        }
    }

    let proxy = Proxy::start(socket)?;
    let mut subjects = BTreeMap::new();
    for (subject, took) in &rounds {
        let spread = |part: fn(&Took) -> Duration| Spread::of(took.iter().map(part)).context("no rounds");
        subjects.insert(
            subject.name(),
            Measured {
                after_connecting: spread(|took| took.run)?,
                again: Spread::of(took.iter().filter_map(|took| took.again)),
                load: spread(|took| took.load)?,
                wall: spread(|took| took.wall)?,
                round_trips: round_trips(*subject, &proxy, &database(*subject), &folders).await?,
                first: first.get(subject).map(Duration::as_secs_f64).unwrap_or_default() * 1e3,
            },
        );
    }
    let reported_round_trips = match subjects.contains_key("plinth") {
        true => boot(socket, &database(Subject::Plinth), folders.plinth.path()).await?.1,
        false => 0,
    };
    let ratios = |part: fn(&Measured) -> Spread| -> BTreeMap<&'static str, f64> {
        let Some(plinth) = subjects.get("plinth") else { return BTreeMap::new() };
        let others = subjects.iter().filter(|(name, _)| **name != "plinth");
        others.map(|(name, other)| (*name, part(plinth).median / part(other).median)).collect()
    };
    let (ratios, wall_ratios) = (ratios(|measured| measured.after_connecting), ratios(|measured| measured.wall));
    Ok(Size { applied: count, subjects, ratios, wall_ratios, reported_round_trips })
}

/// All subjects made the same: a comparison of those that did not would be none.
async fn same_tables(socket: &Socket, arguments: &Arguments, database: &impl Fn(Subject) -> String, count: usize) -> Result<()> {
    let query = "select count(*) from pg_attribute a join pg_class c on c.oid = a.attrelid
                 where c.relkind = 'r' and c.relname ~ '^bench_[0-9]+$' and a.attnum > 0 and not a.attisdropped";
    for subject in arguments.subjects.iter().filter(|subject| **subject != Subject::Floor) {
        let columns: i64 = socket.client(&database(*subject)).await?.query_one(query, &[]).await?.get(0);
        let expected = 2 * count.div_ceil(2) + count / 2;
        ensure!(usize::try_from(columns)? == expected, "{} made {columns} columns, not {expected}", subject.name());
    }
    Ok(())
}

/// Round trips of one run without those of connecting.
async fn round_trips(subject: Subject, proxy: &Proxy, database: &str, folders: &Folders) -> Result<u64> {
    let socket = proxy.socket();
    proxy.take();
    subject.connect(&socket, database).await?;
    tokio::time::sleep(BETWEEN).await;
    let connecting = proxy.take();
    subject.round(&socket, database, folders, false).await?;
    tokio::time::sleep(BETWEEN).await;
    Ok(proxy.take().saturating_sub(connecting))
}

async fn machine(socket: &Socket, load_before: String, component_bytes: usize) -> Result<Machine> {
    let postgres = socket.client("postgres").await?.query_one("show server_version", &[]).await?.get(0);
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, name)| name);
    Ok(Machine {
        processors: std::thread::available_parallelism()?.get(),
        model: model.to_owned(),
        load_before: load_before.split(' ').take(3).collect::<Vec<_>>().join(" "),
        postgres,
        component_bytes,
    })
}
