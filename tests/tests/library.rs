//! What an API relies on that calls the library: hosts do not disturb each other, bytes will do, errors carry what was done,
//! compiled code is never trusted blindly, and a boot with nothing to do costs one round trip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth::{BootError, BootState, CacheError, Components, Host, Keys, Limits, Outcome, PlanProblem};
use plinth_tests::{TestDatabase, blocks, cache, copy_of_blocks, guest, guests, texts};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;

fn bytes(name: &str) -> Vec<u8> {
    fs::read(guest(name)).unwrap()
}

/// All that a ledger holds.
async fn ledger(database: &TestDatabase, schema: &str) -> Vec<String> {
    let client = database.client().await;
    let query = format!(
        "select b::text from {schema}.boots b union all select b::text from {schema}.blocks b
         union all select o::text from {schema}.outcomes o order by 1"
    );
    texts(&client, &query).await
}

#[tokio::test]
async fn hosts_with_ledgers_or_applications_of_their_own_do_not_disturb_each_other() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    let host =
        |schema: &str, application: &str| database.host().folder(folder.path()).ledger_schema(schema).application(application);
    // At once, on a database without any ledger.
    let hosts = [
        host("plinth", "api"),
        host("plinth", "worker"),
        host("plinth", "mail"),
        host("other", "api"),
        host("An \"odd\" one", "it's"),
    ];
    let booting: Vec<_> = hosts.iter().cloned().map(|host| tokio::spawn(async move { host.boot().await })).collect();
    for boot in booting {
        let report = boot.await.unwrap().unwrap();
        assert_eq!((report.boot.state, report.boot.ran), (BootState::Complete, 1));
    }
    assert_eq!(database.number("select count(*) from t where a = 5").await, 10, "once for each of them");
    let before = (ledger(&database, "other").await, database.snapshot().await);
    for host in &hosts {
        assert_eq!((host.boot().await.unwrap().boot.ran, host.status().await.unwrap().blocks.len()), (0, 1));
    }
    assert_eq!((ledger(&database, "other").await, database.snapshot().await), before);

    // What one does is no change for the other, and its component is not missed there.
    let more = guests(&["once", "claims"]);
    assert_eq!(database.host().folder(more.path()).application("worker").boot().await.unwrap().boot.ran, 1);
    assert_eq!(hosts[0].status().await.unwrap().blocks.len(), 1);
    assert_eq!(hosts[0].plan().await.unwrap().retired, Vec::<String>::new());
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn a_host_waits_for_its_own_application_and_for_no_other() {
    let database = TestDatabase::with_t().await;
    let (slow, quick) = (guests(&["slow"]), guests(&["once"]));
    let sleeping = database.host().folder(slow.path()).application("sleeper");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let sleeper = tokio::spawn(async move { sleeping.boot_until(async { stopped.await.unwrap_or(()) }).await });
    let client = database.client().await;
    while texts(&client, "select 1 from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid() and datname = current_database()").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = Instant::now();
    database.host().folder(quick.path()).boot().await.unwrap();
    database.host().folder(quick.path()).application("sleeper").ledger_schema("elsewhere").boot().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));

    let began = Instant::now();
    let waits = database.host().folder(quick.path()).application("sleeper").lock_deadline(Duration::from_millis(300));
    let Err(error @ BootError::Locked { .. }) = waits.boot().await else { panic!("the lock is held") };
    assert!(error.to_string().contains("plinth sleeper "), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    stop.send(()).unwrap();
    assert!(matches!(sleeper.await.unwrap(), Err(BootError::Interrupted(_))));
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn a_boot_whose_future_is_dropped_leaves_nothing_running() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["slow"]);
    let host = database.host().folder(folder.path());
    host.plan().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(3), host.boot()).await.is_err());
    // It got as far as the block, and leaves like one that is told to.
    let left = async {
        while database.number("select count(*) from plinth.boots where state = 'interrupted'").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), left).await.expect("the ledger is told");
    assert_eq!(database.left_behind().await, 0);
    fs::remove_file(folder.path().join("slow.wasm")).unwrap();
    assert_eq!(host.boot().await.unwrap().boot.state, BootState::Complete);
}

#[tokio::test]
async fn components_that_the_program_carries_boot_like_files() {
    let loaded = Components::from_bytes([("one", bytes("once")), ("two", bytes("claims"))]).unwrap();
    let ids: Vec<String> = loaded.iter().map(|component| component.manifest.id.to_string()).collect();
    assert_eq!(ids, ["claims", "once"]);
    assert_eq!(loaded.iter().next().unwrap().origin(), "two");

    let database = TestDatabase::with_t().await;
    let folder = guests(&["claims"]);
    let host = database.host().folder(folder.path()).component("once, from memory", bytes("once"));
    let report = host.boot().await.unwrap();
    assert_eq!((report.boot.found, report.boot.ran), (2, 2));
    // The same component as a file is the same component.
    let files = guests(&["claims", "once"]);
    assert_eq!(database.host().folder(files.path()).boot().await.unwrap().boot.round_trips, 1);

    let Err(BootError::Load(error)) = host.clone().component("claims, once more", bytes("claims")).boot().await else {
        panic!("a duplicate")
    };
    assert!(error.to_string().contains("claims, once more") && error.to_string().contains("claims.wasm"), "{error}");
    let Err(BootError::Load(error)) = host.component("half of it", bytes("once")[..999].to_vec()).boot().await else {
        panic!("half a file")
    };
    assert_eq!(error.problems().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), ["half of it"], "{error}");
}

#[tokio::test]
async fn what_the_program_carries_is_signed_and_locked_as_files_are() {
    let folder = guests(&["signed"]);
    let file = folder.path().join("signed.wasm");
    let key = |name: &str| plinth::make_key(&folder.path().join(name)).unwrap();
    let keys = format!("[teams]\ntesting = [\"{}\"]\nbilling = [\"{}\"]\n", key("testing"), key("billing"));
    let signature = |name: &str| {
        plinth::sign(&folder.path().join(name), &file).unwrap();
        fs::read_to_string(folder.path().join("signed.wasm.sig")).unwrap()
    };
    let database = TestDatabase::with_t().await;
    let host = database.host().keys(Keys::from_text(&keys).unwrap());
    let refused = async |host: Host, what: &str| {
        let Err(BootError::Load(error)) = host.boot().await else { panic!("{what}: it was to be refused") };
        assert!(error.to_string().contains(what), "{what}: {error}");
    };
    refused(host.clone().component("carried", bytes("signed")), "carried: is not signed").await;
    let by_others = host.clone().signed_component("carried", bytes("signed"), signature("billing"));
    refused(by_others, "signed by a key of billing").await;
    let another = host.clone().signed_component("carried", bytes("claims"), signature("testing"));
    refused(another, "carried: is signed by none of the keys").await;
    let host = host.signed_component("carried", bytes("signed"), signature("testing"));
    let lock = |name: &str| Components::from_bytes([("locked", bytes(name))]).unwrap().lock_file();
    refused(host.clone().locked_to(lock("claims")), "carried: signed is not in the lock file").await;
    refused(host.clone().locked_to(lock("claims")), "the lock file that the program carries: names claims").await;
    let small = Limits { component_bytes: 100, ..Limits::default() };
    refused(host.clone().limits(small), "a component may have 100").await;
    assert_eq!(database.text("select to_regclass('plinth.boots')::text").await, None, "nothing ran");
    assert_eq!(host.locked_to(lock("signed")).boot().await.unwrap().boot.ran, 1);
}

#[tokio::test]
async fn expected_ids_are_looked_for_before_anything_is_done() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    let host = database.host().folder(folder.path()).expect(["once", "gone"]).expect(vec!["lost".to_owned()]);
    let boot = host.boot().await.unwrap_err();
    for error in [boot, host.plan().await.unwrap_err(), host.verify().await.unwrap_err()] {
        let BootError::Plan(problems) = &error else { panic!("{error:?}") };
        let expected = |id: &str| PlanProblem::Expected { id: id.to_owned() };
        assert_eq!(problems.problems(), [expected("gone"), expected("lost")]);
        assert!(error.is_usage() && error.report().is_none());
    }
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0);
    // Nor is a database needed to find that out.
    let nowhere = plinth::Database::from_url("postgres://nobody@127.0.0.1:1/none").unwrap();
    assert!(matches!(Host::new(nowhere).folder(folder.path()).expect(["gone"]).boot().await, Err(BootError::Plan(_))));
}

#[tokio::test]
async fn an_error_carries_the_report_of_what_was_done_and_both_serialise() {
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("insert into t (id) values (2)").await.unwrap();
    let folder = guests(&["claims", "fails_post_condition", "once"]);
    let error = database.host().folder(folder.path()).build("b1").boot().await.unwrap_err();
    let report = error.report().unwrap();
    let outcomes: Vec<(&str, Outcome)> = report.blocks.iter().map(|block| (block.id.as_str(), block.outcome)).collect();
    assert_eq!(outcomes, [("claims", Outcome::Applied), ("fails_post_condition", Outcome::Failed), ("once", Outcome::Skipped)]);
    assert_eq!((report.boot.state, report.boot.ran, report.boot.skipped), (BootState::Failed, 2, 1));
    assert!(error.to_string().starts_with("fails_post_condition: post-condition does not hold: t has two rows"), "{error}");
    assert!(!error.is_usage());
    let json = serde_json::to_value(report).unwrap();
    assert_eq!(json["boot"]["build"], "b1");
    assert_eq!(json["blocks"][0]["rows"]["public.t"]["updated"], 1);
    assert_eq!(json["blocks"][1]["error"]["class"], "post-condition");
    assert_eq!(database.text("select state from plinth.boots").await.as_deref(), Some("failed"));
    serde_json::to_string(&database.host().folder(folder.path()).status().await.unwrap()).unwrap();
}

/// The compiled code of one component, in a cache of its own.
struct Cached {
    database: TestDatabase,
    blocks: TempDir,
    folder: TempDir,
    boots: u32,
}

impl Cached {
    async fn new() -> Cached {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Cached { database: TestDatabase::with_t().await, blocks: guests(&["once"]), folder, boots: 0 }
    }

    /// Boots with an engine that is new, as in a new process.
    async fn boot(&mut self) {
        self.boots += 1;
        let host =
            self.database.host().folder(self.blocks.path()).cache(self.folder.path()).application(format!("boot {}", self.boots));
        assert_eq!(host.boot().await.unwrap().boot.ran, 1);
        assert_eq!(self.database.number(&format!("select count(*) from t where a = {}", self.boots)).await, 10);
    }

    fn file(&self) -> PathBuf {
        let mut files = names(self.folder.path());
        // Beside what is known of the folder with the blocks.
        files.retain(|file| !file.file_name().unwrap().to_string_lossy().starts_with("folder-"));
        assert_eq!(files.len(), 1, "one component, one file, and nothing temporary: {files:?}");
        files[0].clone()
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[tokio::test]
async fn compiled_code_that_is_damaged_is_made_anew_and_not_run() {
    let mut cached = Cached::new().await;
    cached.boot().await;
    let file = cached.file();
    let whole = fs::read(&file).unwrap();
    // Its inode may be given to the next file, but not with the same time of writing.
    let written = |file: &Path| fs::metadata(file).map(|file| (file.ino(), file.ctime(), file.ctime_nsec())).unwrap();
    let first = written(&file);
    cached.boot().await;
    assert_eq!(written(&cached.file()), first, "what is whole is used");

    let mut damages: Vec<Vec<u8>> = [0, 30, 60, 200, whole.len() / 2, whole.len() - 1]
        .iter()
        .map(|place| {
            let mut damaged = whole.clone();
            damaged[*place] ^= 0x40;
            damaged
        })
        .collect();
    damages.extend([0, 10, 40, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    damages.push([whole.as_slice(), b"more"].concat());
    damages.push(vec![0; whole.len()]);
    for damaged in damages {
        fs::write(&file, &damaged).unwrap();
        let before = written(&file);
        cached.boot().await;
        assert_eq!(cached.file(), file);
        assert!(written(&file) != before && fs::read(&file).unwrap() != damaged, "{} bytes were made anew", damaged.len());
        let anew = written(&file);
        cached.boot().await;
        assert_eq!(written(&cached.file()), anew, "and are valid again");
    }

    // Whole code of another component under this one's name.
    let other = Cached { blocks: guests(&["claims"]), ..Cached::new().await };
    other.database.host().folder(other.blocks.path()).cache(other.folder.path()).boot().await.unwrap();
    fs::copy(other.file(), &file).unwrap();
    cached.boot().await;
    assert_ne!(fs::read(&file).unwrap(), fs::read(other.file()).unwrap());
}

#[tokio::test]
async fn a_cache_that_others_can_write_is_refused_before_anything_is_done() {
    let database = TestDatabase::with_t().await;
    let (folder, blocks) = (tempfile::tempdir().unwrap(), guests(&["once"]));
    let host = || database.host().folder(blocks.path()).cache(folder.path());
    let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    let refused = async || {
        let error = host().boot().await.unwrap_err();
        assert!(matches!(&error, BootError::Sandbox(CacheError::NotPrivate(path)) if path == folder.path()), "{error:?}");
        assert!(
            error.is_usage()
                && error.to_string().contains("chmod 700")
                && error.to_string().contains(folder.path().to_str().unwrap()),
            "{error}"
        );
    };
    for open in [0o777, 0o770, 0o702, 0o1777] {
        mode(open);
        refused().await;
        assert_eq!(names(folder.path()), Vec::<PathBuf>::new());
    }
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0, "no boot was opened");
    mode(0o700);
    // Only root can give a folder away.
    if chown(folder.path(), Some(12345), None).is_ok() {
        refused().await;
        chown(folder.path(), Some(0), None).unwrap();
    }
    assert_eq!(host().boot().await.unwrap().boot.ran, 1);

    let file = tempfile::NamedTempFile::new().unwrap();
    let error = database.host().folder(blocks.path()).application("file").cache(file.path()).boot().await.unwrap_err();
    assert!(
        matches!(&error, BootError::Sandbox(CacheError::Folder { .. }))
            && error.to_string().contains(file.path().to_str().unwrap()),
        "{error}"
    );
    // A folder that is not there is made, for us alone.
    let made = folder.path().join("deeper/cache");
    database.host().folder(blocks.path()).application("made").cache(&made).boot().await.unwrap();
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn without_a_cache_everything_works_as_well() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    let host = Host::new(plinth::Database::from_url(&database.url).unwrap()).folder(folder.path());
    assert_eq!((host.cache_folder(), host.boot().await.unwrap().boot.ran), (None, 1));
}

#[tokio::test]
async fn a_boot_with_nothing_to_do_is_one_round_trip_without_a_lock_or_a_row() {
    let database = TestDatabase::production_like().await;
    let folder = copy_of_blocks();
    for entry in Components::from_folder(&blocks(), u64::MAX).unwrap().iter() {
        if entry.manifest.kind == plinth::manifest::Kind::Rule {
            fs::remove_file(folder.path().join(format!("{}.wasm", entry.manifest.id))).unwrap();
        }
    }
    let host = || database.host().folder(folder.path()).cache(cache());
    let first = host().boot().await.unwrap();
    assert_eq!((first.boot.found, first.boot.ran, first.boot.state), (7, 7, BootState::Complete));
    let before = (ledger(&database, "plinth").await, database.snapshot().await);

    // Every table of users is locked by a customer, the ledger's cannot be written, and another boot of the same application
    // holds the lock: none of it matters.
    let client = database.client().await;
    let tables = texts(
        &client,
        "select format('%I', relname) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace",
    )
    .await;
    let ledgers = "lock table plinth.boots, plinth.blocks, plinth.outcomes, plinth.ledger in exclusive mode";
    let slow = guests(&["slow"]);
    let other = database.host().folder(slow.path());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let booting = tokio::spawn(async move { other.boot_until(async { stopped.await.unwrap_or(()) }).await });
    while texts(&client, "select 1 from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid() and datname = current_database()").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let during = ledger(&database, "plinth").await;
    client.batch_execute(&format!("begin; lock table {} in access exclusive mode; {ledgers}", tables.join(", "))).await.unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        let report = host().boot().await.unwrap();
        assert_eq!(
            (report.boot.round_trips, report.boot.state, report.boot.ran, report.boot.skipped),
            (1, BootState::Complete, 0, 7)
        );
        assert_eq!(report.boot.id, first.boot.id, "the boot that did it");
        assert!(report.blocks.iter().all(|block| block.outcome == Outcome::Skipped));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(ledger(&database, "plinth").await, during, "nothing was written");
    stop.send(()).unwrap();
    assert!(matches!(booting.await.unwrap(), Err(BootError::Interrupted(_))));
    assert_eq!(database.snapshot().await, before.1);
    assert_eq!(before.0.len() + 1, during.len(), "the other boot's row is all that came");
    assert_eq!(database.left_behind().await, 0);
}
