//! A boot that has nothing to do: Plinth, sqlx and refinery on the same migrations, beside the least that a question to the server
//! can cost.

use crate::{
    Bench,
    folders::{Folders, Migration},
    numbers::{All, Curve, Figure, Goal, Spread},
    planning,
    proxy::Proxy,
    subjects::{self, From, Socket, Subject, Took, boot},
};
use anyhow::{Context, Result, ensure};
use plinth::{Adoption, Database, Host};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Rounds before those that count.
const WARM_UP: usize = 3;
/// A server process that ends needs a processor for a moment, and there are few.
const BETWEEN: Duration = Duration::from_millis(10);
/// Beyond this the peers are not measured: to apply so much takes them minutes, and what they need here is enough to be compared with.
pub const MOST_OF_PEERS: usize = 1000;

/// A way to boot, as the rounds have it.
#[derive(Clone)]
struct Way {
    subject: Subject,
    title: &'static str,
    from: From,
    cached: bool,
}

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let mut peers = BTreeMap::new();
    let mut curves: BTreeMap<(&str, &str), Vec<(f64, f64)>> = BTreeMap::new();
    for count in &bench.arguments.sizes {
        eprintln!("  {count} blocks, nothing to do …");
        for (key, value) in size(*count, bench, all, &mut peers).await? {
            curves.entry(key).or_default().push((*count as f64, value));
        }
    }
    for ((title, what), points) in curves.into_iter().filter(|(_, points)| points.len() > 1) {
        all.curves.push(Curve::new("blocks", format!("nothing to do, {title}, {what}"), "ms", points));
    }
    eprintln!("  a plan of {} blocks …", planning::BLOCKS);
    let (plan, load) = planning::measure(&bench.socket).await?;
    all.figures.push(Figure::time(1, format!("a plan of {} blocks that are not applied yet", planning::BLOCKS), plan));
    all.figures.push(Figure::time(1, "of which loading them", load));
    Ok(())
}

/// One number of blocks. Returns the points of the curves.
async fn size(
    count: usize,
    bench: &Bench,
    all: &mut All,
    peers: &mut BTreeMap<(Subject, &'static str), Spread>,
) -> Result<Vec<((&'static str, &'static str), f64)>> {
    let folders = Folders::write(count, bench)?;
    let ways = ways(count, bench, &folders).await?;
    let database = |subject: Subject| match subject {
        // A new session reads of the catalog what is there: the floor stands on the same.
        Subject::Floor | Subject::Plinth => format!("plinth_{count}"),
        peer => format!("{}_{count}", peer.name()),
    };
    prepare(bench, &ways, &folders, &database).await?;
    let cache = tempfile::tempdir()?;
    let mut rounds: Vec<Vec<Took>> = vec![Vec::new(); ways.len()];
    // To load so many takes half a second.
    let counted = if count > MOST_OF_PEERS { bench.arguments.few() } else { bench.arguments.rounds };
    for round in 0..WARM_UP + counted {
        // Each is first as often as the others: what comes before costs those that follow.
        for place in 0..ways.len() {
            let turn = (round + place) % ways.len();
            let (way, took) = (&ways[turn], &mut rounds[turn]);
            tokio::time::sleep(BETWEEN).await;
            let one = run(way, &bench.socket, &database(way.subject), &folders, cache.path(), true).await?;
            if round >= WARM_UP {
                took.push(one);
            }
        }
    }
    let spread = |turn: usize, part: fn(&Took) -> Duration| Spread::of(rounds[turn].iter().map(part)).context("no rounds");
    let parts: [(&str, fn(&Took) -> Duration); 2] = [("after connecting", |took| took.run), ("in total", |took| took.wall)];
    let mut points = Vec::new();
    for (turn, way) in ways.iter().enumerate() {
        for (what, part) in parts {
            let spread = spread(turn, part)?;
            if way.subject == Subject::Plinth {
                points.push(((way.title, what), spread.median));
            } else {
                // The floor is one of this size; of the peers, the last that was measured.
                peers.insert((way.subject, what), spread);
            }
        }
    }
    for (turn, way) in ways.iter().enumerate().filter(|(_, way)| way.subject == Subject::Plinth) {
        for (what, part) in parts {
            for ((peer, of), other) in peers.iter().filter(|((_, of), _)| *of == what) {
                let title = format!("nothing to do, {count} blocks, {}, {of}", way.title);
                let beyond = *peer != Subject::Floor && count > MOST_OF_PEERS;
                let name = peer.title().to_owned() + if beyond { " with 1000" } else { "" };
                let figure = Figure::time(1, title, spread(turn, part)?).against(name, *other);
                match goal(count, way, *peer, what) {
                    Some(goal) => all.figures.push(figure.goal(goal)),
                    // Of all the others, those that say most.
                    None if (*peer == Subject::Floor) == (what == "after connecting") => all.figures.push(figure),
                    None => {}
                }
            }
        }
        all.figures.push(Figure::time(1, format!("loading {count} blocks, {}", way.title), spread(turn, |took| took.load)?));
    }
    let proxy = Proxy::start(&bench.socket)?;
    for way in ways.iter().filter(|way| way.subject != Subject::Floor && count == MOST_OF_PEERS) {
        let trips = round_trips(way, &proxy, &database(way.subject), &folders, cache.path()).await?;
        let title = if way.subject == Subject::Plinth { way.title } else { way.subject.title() };
        let figure =
            Figure::new(1, format!("round trips, nothing to do, {count} blocks, {title}"), "", Spread::once(trips as f64));
        all.figures.push(if way.subject == Subject::Plinth { figure.goal(Goal::AtMost(1.0)) } else { figure });
    }
    for (turn, way) in ways.iter().enumerate() {
        let again = Spread::of(rounds[turn].iter().filter_map(|took| took.again));
        if let Some(again) = again.filter(|_| way.subject != Subject::Floor && count == MOST_OF_PEERS) {
            let title = format!("{} once more on a connection that did it before, {count} migrations", way.subject.title());
            all.figures.push(Figure::time(1, title, again));
        }
    }
    Ok(points)
}

async fn ways(count: usize, bench: &Bench, folders: &Folders) -> Result<Vec<Way>> {
    let way = |subject: Subject, title, from, cached| Way { subject, title, from, cached };
    let folder = || folders.folder();
    let mut ways = vec![
        way(Subject::Floor, "", folder(), false),
        way(Subject::Plinth, "bundle", folders.bundle(false).await?, false),
        way(Subject::Plinth, "folder", folder(), false),
        way(Subject::Plinth, "folder with a cache", folder(), true),
    ];
    if count <= MOST_OF_PEERS {
        ways.extend([way(Subject::Sqlx, "", folder(), false), way(Subject::Refinery, "", folder(), false)]);
    }
    ways.retain(|way| bench.arguments.subjects.contains(&way.subject));
    Ok(ways)
}

/// What is to be reached at this size.
fn goal(count: usize, way: &Way, peer: Subject, what: &str) -> Option<Goal> {
    match (count, peer, way.title) {
        (1000, Subject::Floor, "bundle") if what == "after connecting" => Some(Goal::AtMost(1.5)),
        (1000, Subject::Sqlx, "folder" | "folder with a cache") => Some(Goal::Ahead),
        (10_000, Subject::Sqlx, "bundle") => Some(Goal::Ahead),
        _ => None,
    }
}

/// One round. On an empty database it applies everything. With `again`, once more on the same connection.
async fn run(way: &Way, socket: &Socket, database: &str, folders: &Folders, cache: &Path, again: bool) -> Result<Took> {
    match way.subject {
        Subject::Floor => subjects::floor(socket, database, again).await,
        Subject::Plinth => boot(socket, database, &way.from, Some(cache).filter(|_| way.cached)).await.map(|(took, _)| took),
        Subject::Sqlx => subjects::sqlx(socket, database, &folders.sqlx, again).await,
        Subject::Refinery => subjects::refinery(socket, database, &folders.refinery, again).await,
    }
    .with_context(|| way.subject.name())
}

/// Databases in which all of it is applied.
async fn prepare(bench: &Bench, ways: &[Way], folders: &Folders, database: &impl Fn(Subject) -> String) -> Result<()> {
    let admin = bench.socket.client("postgres").await?;
    let cache = tempfile::tempdir()?;
    let mut subjects: Vec<Subject> = ways.iter().map(|way| way.subject).filter(|subject| *subject != Subject::Floor).collect();
    subjects.dedup();
    for subject in &subjects {
        let name = database(*subject);
        admin.batch_execute(&format!("create database {name}")).await?;
        match ways.iter().find(|way| way.subject == *subject) {
            Some(way) if *subject == Subject::Plinth => adopted(&bench.socket, &name, folders.count, &way.from).await?,
            Some(way) => drop(run(way, &bench.socket, &name, folders, cache.path(), false).await?),
            None => {}
        }
        // Autovacuum would come upon so many new tables at some time within the rounds.
        bench.socket.client(&name).await?.batch_execute("vacuum analyze").await?;
        same_tables(&bench.socket, &name, *subject, folders.count).await?;
    }
    admin.batch_execute("checkpoint").await?;
    Ok(())
}

/// Everything is there, the ledger adopts it, and a boot completes the set: as if the blocks had run, without compiling them.
pub async fn adopted(socket: &Socket, database: &str, count: usize, from: &From) -> Result<()> {
    let client = socket.client(database).await?;
    let statements: Vec<String> = (1..=count).map(|number| Migration::new(number).statement).collect();
    // A transaction holds a lock for each table that it makes.
    for some in statements.chunks(500) {
        client.batch_execute(&some.join("; ")).await?;
    }
    let host = || from.of(Host::new(Database::from(socket.config(database))));
    let baseline = host().baseline(&[]).await?;
    let other = baseline.blocks.iter().find(|block| block.result != Adoption::Adopted);
    ensure!(other.is_none() && baseline.blocks.len() == count, "not everything was adopted: {other:?}");
    let report = host().boot().await?;
    ensure!(report.boot.ran == 0, "something was left to do");
    Ok(())
}

/// All subjects made the same: a comparison of those that did not would be none.
async fn same_tables(socket: &Socket, database: &str, subject: Subject, count: usize) -> Result<()> {
    let query = "select count(*) from pg_attribute a join pg_class c on c.oid = a.attrelid
                 where c.relkind = 'r' and c.relname ~ '^bench_[0-9]+$' and a.attnum > 0 and not a.attisdropped";
    let columns: i64 = socket.client(database).await?.query_one(query, &[]).await?.get(0);
    let expected = 2 * count.div_ceil(2) + count / 2;
    ensure!(usize::try_from(columns)? == expected, "{} made {columns} columns, not {expected}", subject.name());
    Ok(())
}

/// Round trips of one run without those of connecting.
async fn round_trips(way: &Way, proxy: &Proxy, database: &str, folders: &Folders, cache: &Path) -> Result<u64> {
    let socket = proxy.socket();
    proxy.take();
    way.subject.connect(&socket, database).await?;
    tokio::time::sleep(BETWEEN).await;
    let connecting = proxy.take();
    run(way, &socket, database, folders, cache, false).await?;
    tokio::time::sleep(BETWEEN).await;
    Ok(proxy.take().saturating_sub(connecting))
}
