//! The embedded PostgreSQL: a real server, as root or not, that keeps what it should keep and
//! leaves nothing else behind.
//!
//! Tests that need a process of their own run this very program again, with one test's name and a
//! variable that tells it to play the child: see `child`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use plinth::embedded::{Binaries, EmbeddedError, Server};

const ROLE: &str = "PLINTH_TEST_CHILD";

/// One value from the database.
fn ask(url: &str, sql: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connect");
        let connection = tokio::spawn(connection);
        let rows = client.simple_query(sql).await.expect("query");
        drop(client);
        let _ = connection.await;
        let row = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        });
        row.unwrap_or_default()
    })
}

/// A folder that the server's user can enter, also when we are root.
fn place() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("embedded-test-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Whether this program runs `test` for another run of it.
fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Runs `test` of this program in a process of its own.
fn child(test: &str, set: &[(&str, &Path)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, "yes").stdout(Stdio::piped());
    for (name, value) in set {
        command.env(name, value);
    }
    command.spawn().unwrap()
}

/// What the child says after `key=`.
fn said(child: &mut Child, key: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    // The harness prints "test NAME ... " before, on the same line.
    let mut found = lines.filter_map(|line| line.split_once(&format!("{key}=")).map(|(_, value)| value.trim().to_owned()));
    found.next().unwrap_or_else(|| panic!("the child said no {key}"))
}

/// Gone, or a zombie that nobody has collected yet.
fn gone(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty())
}

fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> Option<Duration> {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > limit {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
    Some(began.elapsed())
}

/// Ends a child as the out-of-memory killer would.
fn kill_child(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn starts_answers_and_leaves_nothing() {
    let server = Server::builder().start().unwrap();
    let (pid, data, sockets) = (server.pid().unwrap(), server.data().to_owned(), server.socket_folder().to_owned());
    assert_eq!(ask(&server.url("postgres"), "SELECT 6 * 7"), "42");
    assert_eq!(ask(&server.url("postgres"), "SHOW fsync"), "off");
    assert_eq!(ask(&server.url("postgres"), "SHOW listen_addresses"), "");
    assert_eq!(ask(&server.url("postgres"), "SHOW server_encoding"), "UTF8");
    assert!(server.log_tail(9).contains("ready to accept connections"), "{}", server.log_tail(9));
    assert_eq!(fs::metadata(&sockets).unwrap().mode() & 0o777, 0o700);
    server.stop().unwrap();
    assert!(gone(pid) && !data.exists() && !sockets.exists());
}

#[test]
fn drop_stops_the_server() {
    let server = Server::builder().in_memory(true).start().unwrap();
    let (pid, data) = (server.pid().unwrap(), server.data().to_owned());
    drop(server);
    assert!(gone(pid) && !data.exists());
}

#[test]
fn a_database_with_an_awkward_name_has_a_url() {
    let server = Server::builder().in_memory(true).start().unwrap();
    ask(&server.url("postgres"), "CREATE DATABASE \"a b/ü?&=%\"");
    assert_eq!(ask(&server.url("a b/ü?&=%"), "SELECT current_database()"), "a b/ü?&=%");
    let config: tokio_postgres::Config = server.url("x").parse().unwrap();
    assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix(server.socket_folder().to_owned())]);
    assert_eq!((config.get_user(), config.get_dbname()), (Some("postgres"), Some("x")));
}

#[test]
fn as_root_the_server_is_somebody_else() {
    let server = Server::builder().in_memory(true).start().unwrap();
    let (ours, theirs) = (fs::metadata("/proc/self").unwrap().uid(), server.pid().map(|pid| format!("/proc/{pid}")).unwrap());
    let theirs = fs::metadata(theirs).unwrap().uid();
    if ours == 0 {
        assert_ne!(theirs, 0);
    } else {
        println!("not root: only checked that the server runs as user {ours}");
        assert_eq!(theirs, ours);
    }
}

#[test]
fn two_at_once() {
    let one = std::thread::spawn(|| Server::builder().in_memory(true).start().unwrap());
    let two = Server::builder().in_memory(true).start().unwrap();
    let one = one.join().unwrap();
    ask(&one.url("postgres"), "CREATE TABLE only_here ()");
    assert_eq!(ask(&one.url("postgres"), "SELECT count(*) FROM pg_class WHERE relname = 'only_here'"), "1");
    assert_eq!(ask(&two.url("postgres"), "SELECT count(*) FROM pg_class WHERE relname = 'only_here'"), "0");
    one.stop().unwrap();
    assert_eq!(ask(&two.url("postgres"), "SELECT 1"), "1");
}

#[test]
fn settings_reach_the_server() {
    let server = Server::builder().in_memory(true).setting("work_mem", "7MB").setting("cluster_name", "a 'b'").start().unwrap();
    assert_eq!(ask(&server.url("postgres"), "SHOW work_mem"), "7MB");
    assert_eq!(ask(&server.url("postgres"), "SHOW cluster_name"), "a 'b'");
    let refused = Server::builder().setting("port", "1").start().unwrap_err();
    assert!(matches!(refused, EmbeddedError::Setting { .. }), "{refused}");
    let wrong = Server::builder().in_memory(true).setting("work_mem", "a lot").start().unwrap_err();
    assert!(matches!(wrong, EmbeddedError::Exited { .. }) && wrong.to_string().contains("work_mem"), "{wrong}");
}

#[test]
fn tcp_asks_for_a_password() {
    let server = Server::builder().in_memory(true).tcp(true).start().unwrap();
    let url = server.tcp_url("postgres").unwrap();
    assert_eq!(ask(&url, "SELECT inet_server_addr()"), "127.0.0.1");
    assert_eq!(ask(&server.url("postgres"), "SELECT inet_server_addr()"), "NULL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wrong = url.replace(server.password().unwrap(), "wrong");
    assert!(runtime.block_on(tokio_postgres::connect(&wrong, tokio_postgres::NoTls)).is_err());
}

#[test]
fn a_named_folder_keeps_its_data() {
    let place = place();
    let data = place.path().join("some/where");
    let server = Server::builder().data(&data).start().unwrap();
    assert_eq!(ask(&server.url("postgres"), "SHOW fsync"), "on");
    ask(&server.url("postgres"), "CREATE TABLE t AS SELECT 5 AS n");
    server.stop().unwrap();

    let mut server = Server::builder().data(&data).start().unwrap();
    assert_eq!(ask(&server.url("postgres"), "SELECT n FROM t"), "5");
    let url = server.url("postgres");
    server.restart().unwrap();
    ask(&url, "INSERT INTO t VALUES (6)");
    server.kill_immediate().unwrap();
    assert_eq!(server.pid(), None);
    server.restart().unwrap();
    assert!(server.log_tail(50).contains("not properly shut down"), "{}", server.log_tail(50));
    assert_eq!(ask(&url, "SELECT sum(n) FROM t"), "11");

    // And after the death of the postmaster alone, while one of its backends is still at work.
    let busy = {
        let url = url.clone();
        let until = "DO $$ DECLARE t timestamptz := clock_timestamp(); \
                     BEGIN WHILE clock_timestamp() < t + interval '900 ms' LOOP END LOOP; END $$";
        std::thread::spawn(move || ask(&url, until))
    };
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%'";
    assert!(wait_until(Duration::from_secs(5), || ask(&url, at_work) == "1").is_some());
    let pid = server.pid().unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    server.restart().unwrap();
    busy.join().unwrap();
    assert_eq!(ask(&url, "SELECT sum(n) FROM t"), "11");
    server.stop().unwrap();
    let beside: Vec<_> = fs::read_dir(place.path().join("some")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 3, "the folder, its lock, its log: {beside:?}");
}

#[test]
fn a_folder_with_other_files_is_refused_and_untouched() {
    let place = place();
    let foreign = place.path().join("photos");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("cat.jpg"), "cat").unwrap();
    let error = Server::builder().data(&foreign).start().unwrap_err();
    assert!(matches!(error, EmbeddedError::NotADataFolder { .. }), "{error}");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);

    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Server::builder().data(&file).start().unwrap_err();
    assert!(matches!(error, EmbeddedError::BadDataFolder { .. }), "{error}");
}

#[test]
fn a_folder_of_another_version_is_refused_with_both() {
    let place = place();
    let data = place.path().join("data");
    fs::create_dir_all(data.join("global")).unwrap();
    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let error = Server::builder().data(&data).start().unwrap_err();
    assert!(matches!(error, EmbeddedError::WrongVersion { .. }), "{error}");
    let major = Binaries::find().unwrap().major().to_string();
    assert!(error.to_string().contains("PostgreSQL 9,") && error.to_string().contains(&major), "{error}");
}

#[test]
fn a_folder_in_use_is_refused() {
    let place = place();
    let data = place.path().join("data");
    let server = Server::builder().data(&data).start().unwrap();
    let error = Server::builder().data(&data).start().unwrap_err();
    let EmbeddedError::InUse { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, server.pid());
    assert_eq!(ask(&server.url("postgres"), "SELECT 1"), "1");
}

#[test]
fn a_pid_file_that_names_a_stranger_is_no_obstacle() {
    let place = place();
    let data = place.path().join("data");
    Server::builder().data(&data).start().unwrap().stop().unwrap();
    // After a kill, in a container, our id of then is another program's id now: here a sleep of the
    // server's own user.
    let owner = fs::metadata(&data).unwrap();
    let mut sleeper = {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sleep");
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.arg("60").spawn().unwrap()
    };
    let file = data.join("postmaster.pid");
    fs::write(&file, format!("{}\n{}\n1700000000\n5432\n/tmp\n\n  0  0\nready   \n", sleeper.id(), data.display())).unwrap();
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    let started = Server::builder().data(&data).start();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(ask(&started.unwrap().url("postgres"), "SELECT 1"), "1");
}

#[test]
fn a_folder_that_the_server_cannot_reach_is_named() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: not root");
        return;
    }
    let place = place();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = Server::builder().data(place.path().join("data")).start().unwrap_err();
    let EmbeddedError::Unreachable { blocked, .. } = &error else { panic!("{error}") };
    assert_eq!(blocked, place.path());
}

#[test]
fn a_killed_parent_takes_the_server_along() {
    if is_child() {
        let server = match std::env::var_os("PLINTH_TEST_DATA") {
            Some(data) => Server::builder().data(data).start().unwrap(),
            None => Server::builder().start().unwrap(),
        };
        println!("pid={} {}", server.pid().unwrap(), server.data().display());
        sleep(Duration::from_secs(60));
        return;
    }
    let mut parent = child("a_killed_parent_takes_the_server_along", &[]);
    let told = said(&mut parent, "pid");
    let (pid, data) = told.split_once(' ').unwrap();
    let pid: u32 = pid.parse().unwrap();
    assert!(!gone(pid));
    kill_child(parent);
    let took = wait_until(Duration::from_secs(3), || gone(pid)).expect("the server outlived its parent");
    println!("the server was gone {} ms after its parent", took.as_millis());

    // The next start, here or elsewhere, removes the folder.
    drop(Server::builder().in_memory(true).start().unwrap());
    assert!(wait_until(Duration::from_secs(3), || !Path::new(data).exists()).is_some(), "{data} is left");
}

#[test]
fn a_named_folder_can_be_started_right_after_a_kill() {
    let place = place();
    let data = place.path().join("data");
    let mut parent = child("a_killed_parent_takes_the_server_along", &[("PLINTH_TEST_DATA", &data)]);
    said(&mut parent, "pid");
    kill_child(parent);
    let server = Server::builder().data(&data).start().unwrap();
    assert_eq!(ask(&server.url("postgres"), "SELECT 1"), "1");
}

#[test]
fn a_kill_while_the_folder_is_made_leaves_nothing_half_made() {
    let place = place();
    let data = place.path().join("data");
    let mut parent = child("a_killed_parent_takes_the_server_along", &[("PLINTH_TEST_DATA", &data)]);
    let making = || fs::read_dir(place.path()).unwrap().flatten().any(|entry| entry.path().join("data/PG_VERSION").exists());
    assert!(wait_until(Duration::from_secs(20), making).is_some());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(!data.exists());
    let server = Server::builder().data(&data).start().unwrap();
    assert_eq!(ask(&server.url("postgres"), "SELECT 1"), "1");
}

/// The worst case: the watcher was killed as well, so the server still runs when the next start
/// finds its folder.
#[test]
fn stale_folders_are_swept_with_their_servers() {
    if is_child() {
        let server = Server::builder().start().unwrap();
        println!("pid={} {}", server.pid().unwrap(), server.data().display());
        sleep(Duration::from_secs(60));
        return;
    }
    let mut parent = child("stale_folders_are_swept_with_their_servers", &[]);
    let told = said(&mut parent, "pid");
    let (pid, data) = told.split_once(' ').unwrap();
    let (pid, data): (u32, PathBuf) = (pid.parse().unwrap(), data.into());
    let folder = data.parent().unwrap().to_owned();
    // Take the lock's guard away, as if its holder were gone: the watcher and the parent sleep on.
    let lock = folder.join("lock");
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "").unwrap();

    drop(Server::builder().in_memory(true).start().unwrap());
    let swept = wait_until(Duration::from_secs(3), || gone(pid) && !folder.exists());
    kill_child(parent);
    assert!(swept.is_some(), "server gone: {}, folder gone: {}", gone(pid), !folder.exists());
}

#[test]
fn without_binaries_the_error_says_where_it_looked() {
    if is_child() {
        let named = Binaries::find().unwrap_err();
        assert!(matches!(named, EmbeddedError::UnusableBinaries { .. }), "{named}");
        let cached = Binaries::cached().unwrap_err().to_string();
        println!("error={cached}");
        return;
    }
    let place = place();
    let mut process = child(
        "without_binaries_the_error_says_where_it_looked",
        &[("PLINTH_PG_BIN", place.path()), ("PLINTH_PG_CACHE", place.path())],
    );
    let error = said(&mut process, "error");
    assert!(process.wait().unwrap().success());
    for part in
        ["apt-get install postgresql", "make postgres", "PLINTH_PG_BIN", "--database-url", &place.path().display().to_string()]
    {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
}

/// The pinned package: where `PLINTH_PG_CACHE` points, or in the user's cache.
#[test]
fn the_packages_binaries_work() {
    let binaries = match Binaries::cached() {
        Ok(binaries) => binaries,
        // Whoever says where it is wants it tried.
        Err(error) if std::env::var_os("PLINTH_PG_CACHE").is_none() => {
            println!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    println!("PostgreSQL {} in {}", binaries.version(), binaries.folder().display());
    let major = binaries.major().to_string();
    let server = Server::builder().binaries(binaries).in_memory(true).start().unwrap();
    assert!(ask(&server.url("postgres"), "SHOW server_version").starts_with(&major));
    assert_eq!(ask(&server.url("postgres"), "DO $$ BEGIN PERFORM 1; END $$; SELECT 'plpgsql'"), "plpgsql");
    server.stop().unwrap();
}
