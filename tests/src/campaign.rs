//! Kills, cuts and crowds, short in `make test` and long in `make campaign`: the same code with other numbers.

use crate::{
    TestDatabase, copy_of_blocks, crash,
    proxy::{Proxy, When},
};
use plinth::{Host, embedded::Server};
use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// What a campaign found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How often something was killed, cut or started at once.
    pub times: usize,
    /// How long it took, all in all.
    pub took: Duration,
    /// Everything that was not as it must be, with when it happened.
    pub wrong: Vec<String>,
}

impl Found {
    fn note(&mut self, when: &str, wrong: Vec<String>) {
        self.times += 1;
        self.wrong.extend(wrong.into_iter().map(|what| format!("{when}: {what}")));
    }

    /// Fails a test with everything that was wrong.
    pub fn assert_at_least(&self, times: usize) {
        assert!(self.wrong.is_empty(), "{} times:\n{}", self.times, self.wrong.join("\n"));
        assert!(self.times >= times, "only {} times, not {times}", self.times);
    }
}

/// The socket of a server.
fn socket(server: &Server) -> std::path::PathBuf {
    server.socket_folder().join(format!(".s.PGSQL.{}", server.port()))
}

/// The command, about to boot.
pub fn run(url: &str, blocks: &Path, more: &[&str]) -> Command {
    let mut command = crate::plinth();
    command.args(["run", "--format", "json", "--database-url", url, "--blocks"]).arg(blocks).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn output(child: Child) -> Output {
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

fn report(output: &Output) -> Result<serde_json::Value, String> {
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// A host that boots the set of [`crash`] on a database, without the network in between.
fn host(database: &TestDatabase, blocks: &Path) -> Host {
    database.host().folder(blocks)
}

/// Kills the command at each message that the server is to answer, before and after the server has it, and boots again.
/// `every`: 1 for each message, n for each n-th.
pub async fn kills_at_every_boundary(server: &Server, every: u64) -> Found {
    let (began, mut found, blocks) = (Instant::now(), Found::default(), crash::folder());
    for when in [When::Before, When::After] {
        let mut message = 1;
        loop {
            let database = TestDatabase::with_t_on(server).await;
            let proxy = Proxy::new(socket(server)).await;
            let process: Arc<Mutex<Option<u32>>> = Arc::default();
            let child = {
                // The hook waits for the number of the process that it is to kill.
                let mut number = process.lock().unwrap();
                let shared = process.clone();
                proxy.at(message, when, move || kill(shared.lock().unwrap().unwrap()));
                let child = run(&proxy.url(&database.name), blocks.path(), &[]).spawn().unwrap();
                *number = Some(child.id());
                child
            };
            let ended = output(child).await;
            if !proxy.sprung() {
                // There are no more messages than that.
                assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
                break;
            }
            found.note(
                &format!("killed {when:?} message {message}"),
                crash::next_boot(&host(&database, blocks.path()), &database).await,
            );
            database.remove(server).await;
            message += every;
        }
    }
    found.took = began.elapsed();
    found
}

/// Cuts all connections of the command at each message: it goes on by itself.
pub async fn cuts_at_every_boundary(server: &Server, every: u64) -> Found {
    let (began, mut found, blocks) = (Instant::now(), Found::default(), crash::folder());
    for when in [When::Before, When::After] {
        let mut message = 1;
        loop {
            let database = TestDatabase::with_t_on(server).await;
            let proxy = Proxy::new(socket(server)).await;
            proxy.cut_at(message, when);
            let ended = output(run(&proxy.url(&database.name), blocks.path(), &[]).spawn().unwrap()).await;
            if !proxy.sprung() {
                break;
            }
            let mut wrong = match report(&ended) {
                Ok(report) => crash::lies(&database, &report).await,
                Err(error) => vec![error],
            };
            wrong.extend(crash::differences(&database).await);
            found.note(&format!("cut {when:?} message {message}"), wrong);
            database.remove(server).await;
            message += every;
        }
    }
    found.took = began.elapsed();
    found
}

/// Kills the command at random moments, and boots again.
pub async fn kills_at_random(server: &Server, times: usize) -> Found {
    let (began, mut found, blocks) = (Instant::now(), Found::default(), crash::folder());
    // What an undisturbed boot takes.
    let database = TestDatabase::with_t_on(server).await;
    let alone = Instant::now();
    let ended = output(run(&database.url, blocks.path(), &[]).spawn().unwrap()).await;
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let alone = alone.elapsed();
    for time in 0..times {
        let database = TestDatabase::with_t_on(server).await;
        let child = run(&database.url, blocks.path(), &[]).spawn().unwrap();
        let moment = alone.mul_f64(fastrand::f64());
        tokio::time::sleep(moment).await;
        kill(child.id());
        output(child).await;
        let when = format!("kill {time}, after {moment:?} of {alone:?}");
        found.note(&when, crash::next_boot(&host(&database, blocks.path()), &database).await);
        database.remove(server).await;
    }
    found.took = began.elapsed();
    found
}

/// Ends the server as a crash would, at a random moment of a boot, and starts it again: the command goes on by itself, or the
/// next one does.
pub async fn crashes_of_the_server(times: usize) -> Found {
    let (began, mut found, blocks) = (Instant::now(), Found::default(), crash::folder());
    let mut server = Server::builder().in_memory(true).durable(true).start().unwrap();
    for time in 0..times {
        let database = TestDatabase::with_t_on(&server).await;
        // A database that is new survives the crash only once it is on disk.
        database.client().await.batch_execute("checkpoint").await.unwrap();
        let child = run(&database.url, blocks.path(), &["--retry-for", "30"]).spawn().unwrap();
        let moment = Duration::from_millis(fastrand::u64(1..400));
        tokio::time::sleep(moment).await;
        server.kill_immediate().unwrap();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
        server.restart().unwrap();
        let ended = output(child).await;
        let mut wrong = match report(&ended) {
            Ok(report) => crash::lies(&database, &report).await,
            Err(error) => vec![error],
        };
        wrong.extend(crash::differences(&database).await);
        wrong.extend(crash::next_boot(&host(&database, blocks.path()), &database).await);
        found.note(&format!("crash {time}, after {moment:?}"), wrong);
        database.remove(&server).await;
    }
    found.took = began.elapsed();
    found
}

/// Many replicas at once, on a database that is empty but for the table of the guests, or where one migration is pending.
pub async fn crowd(server: &Server, replicas: usize, pending_only: bool) -> Found {
    crowd_with(
        server,
        replicas,
        pending_only,
        |database, _| database.url.clone(),
        async |database| crash::differences(database).await,
    )
    .await
}

/// The same, each replica at an address of its own.
pub async fn crowd_with(
    server: &Server,
    replicas: usize,
    pending_only: bool,
    address: impl Fn(&TestDatabase, usize) -> String,
    differences: impl AsyncFn(&TestDatabase) -> Vec<String>,
) -> Found {
    let (began, mut found, blocks) = (Instant::now(), Found::default(), crash::folder());
    let database = TestDatabase::with_t_on(server).await;
    if pending_only {
        let first = tempfile::tempdir().unwrap();
        for id in ["crash_first", "crash_rule"] {
            std::fs::copy(crate::guest(id), first.path().join(format!("{id}.wasm"))).unwrap();
        }
        host(&database, first.path()).boot().await.unwrap();
    }
    let spawned = |replica| run(&address(&database, replica), blocks.path(), &[]).spawn().unwrap();
    let children: Vec<Child> = (0..replicas).map(spawned).collect();
    let mut wrong = Vec::new();
    let mut ran = 0;
    for child in children {
        match report(&output(child).await) {
            Ok(report) => {
                ran += usize::from(report["blocks"].as_array().unwrap().iter().any(|block| block["outcome"] == "applied"));
                wrong.extend(crash::lies(&database, &report).await);
            }
            Err(error) => wrong.push(error),
        }
    }
    if ran != 1 {
        wrong.push(format!("{ran} replicas say that they applied something"));
    }
    wrong.extend(differences(&database).await);
    found.note(&format!("{replicas} replicas"), wrong);
    database.remove(server).await;
    found.took = began.elapsed();
    found
}

/// The old and the new set of a release at once: the eleven blocks without two of them, and all of them.
pub async fn old_and_new(server: &Server, replicas: usize) -> Found {
    let (began, mut found) = (Instant::now(), Found::default());
    let (old, new) = (copy_of_blocks(), copy_of_blocks());
    for id in ["0063_scheduled_testing_eligible", "0066_reconcile_eligibility_from_cost"] {
        std::fs::remove_file(old.path().join(format!("{id}.wasm"))).unwrap();
    }
    let database = TestDatabase::production_like_on(server).await;
    host(&database, old.path()).boot().await.unwrap();
    let children: Vec<Child> = (0..replicas)
        .map(|replica| {
            let folder = if replica % 2 == 0 { old.path() } else { new.path() };
            run(&database.url, folder, &[]).spawn().unwrap()
        })
        .collect();
    let mut wrong = Vec::new();
    for child in children {
        match report(&output(child).await) {
            Ok(report) => wrong.extend(crash::lies(&database, &report).await),
            Err(error) => wrong.push(error),
        }
    }
    let twice = "select string_agg(block, ', ') from (select block from plinth.outcomes o join plinth.blocks b on b.id = o.block
                 where o.outcome = 'applied' and b.kind = 'migration' group by block having count(*) > 1) o";
    wrong.extend(database.text(twice).await.map(|blocks| format!("applied more than once: {blocks}")));
    let applied =
        database.number("select count(*) from plinth.blocks where kind = 'migration' and first_applied is not null").await;
    if applied != 7 {
        wrong.push(format!("{applied} migrations are applied, not 7"));
    }
    let drift =
        "select count(*) from test_suites where scheduled_testing_eligible <> (external_cost_cents is not distinct from 0)";
    // Whoever boots last with the new set reconciles; the old set does not know the rule.
    host(&database, new.path()).boot().await.unwrap();
    if database.number(drift).await != 0 {
        wrong.push("the bridge does not hold".to_owned());
    }
    found.note(&format!("{replicas} replicas of two sets"), wrong);
    database.remove(server).await;
    found.took = began.elapsed();
    found
}

/// As `kill -9`.
pub fn kill(process: u32) {
    signal("KILL", process);
}

/// As `kill -NAME`.
pub fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(status.success(), "{process} does not get {name}");
}
