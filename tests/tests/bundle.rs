//! A bundle: one file with all blocks, which boots like the folder it was made of, is trusted no further than it may be, and is
//! refused when it is damaged.

use plinth::{BootError, BootState, Bundle, Host, Keys, Outcome, Report, make_key, sign};
use plinth_tests::{TestDatabase, blocks, copy_of_blocks, guests, plinth};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A host that only writes bundles.
fn nowhere() -> Host {
    Host::new(tokio_postgres::Config::new())
}

/// A bundle of a folder.
fn bundled(folder: &Path, compile: bool) -> (tempfile::TempDir, PathBuf) {
    let there = tempfile::tempdir().unwrap();
    let file = there.path().join("app.plinth");
    nowhere().folder(folder).cache(plinth_tests::cache()).write_bundle(&file, compile).unwrap();
    (there, file)
}

fn outcomes(report: &Report) -> Vec<(String, Outcome)> {
    report.blocks.iter().map(|block| (block.id.clone(), block.outcome)).collect()
}

/// Where a component's bytes lie in a file.
fn place_of(file: &[u8], component: &Path) -> usize {
    let component = fs::read(component).unwrap();
    file.windows(component.len()).position(|window| window == component).expect("the component lies in the bundle")
}

/// Changes a byte of a component inside a bundle. Components say little at their end: names of functions.
fn damage(bundle: &Path, component: &Path) {
    let mut bytes = fs::read(bundle).unwrap();
    let at = place_of(&bytes, component) + fs::metadata(component).unwrap().len() as usize - 9;
    bytes[at] ^= 1;
    fs::write(bundle, bytes).unwrap();
}

#[tokio::test]
async fn a_bundle_boots_like_the_folder_it_was_made_of() {
    let (one, other) = (TestDatabase::production_like().await, TestDatabase::production_like().await);
    let (_there, file) = bundled(&blocks(), false);
    let from_folder = one.host().folder(blocks()).boot().await.unwrap();
    let host = other.host().bundle(&file);
    let from_bundle = host.boot().await.unwrap();
    assert_eq!(outcomes(&from_folder), outcomes(&from_bundle));
    assert_eq!(from_bundle.boot.found, 11);
    // The set is the same set, whichever way it came.
    let again = one.host().bundle(&file).plan().await.unwrap();
    assert!(!again.pending);
}

#[tokio::test]
async fn nothing_to_do_is_seen_from_the_index_alone() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once", "claims"]);
    let (_there, file) = bundled(folder.path(), false);
    assert_eq!(database.host().folder(folder.path()).boot().await.unwrap().boot.ran, 2);
    // Neither of the components can be read any more, and nobody notices, since nobody reads them.
    for component in ["once.wasm", "claims.wasm"] {
        damage(&file, &folder.path().join(component));
    }
    let report = database.host().bundle(&file).boot().await.unwrap();
    assert_eq!((report.boot.state, report.boot.round_trips, report.boot.found), (BootState::Complete, 1, 2));
    // What is to run is read, and is then what it must be.
    let elsewhere = TestDatabase::with_t().await;
    let without_cache = Host::new(plinth::Database::from_url(&elsewhere.url).unwrap());
    let error = without_cache.bundle(&file).boot().await.unwrap_err();
    assert!(error.to_string().contains("damaged") || format!("{:?}", error.report()).contains("damaged"), "{error}");
    assert_eq!(elsewhere.number("select count(*) from t where a <> 0").await, 0);
}

#[test]
fn the_same_blocks_give_the_same_bundle() {
    let (_one, first) = bundled(&blocks(), false);
    let copy = copy_of_blocks();
    let (_two, second) = bundled(copy.path(), false);
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap());
    let (_three, compiled) = bundled(&blocks(), true);
    nowhere().bundle(&second).cache(plinth_tests::cache()).write_bundle(&second, true).unwrap();
    assert!(fs::read(&compiled).unwrap() == fs::read(&second).unwrap(), "compiled later or at once");
}

#[tokio::test]
async fn code_in_a_bundle_runs_only_if_nobody_else_can_have_written_it() {
    let folder = guests(&["once"]);
    let (_there, file) = bundled(folder.path(), true);
    // Only its code can still run.
    damage(&file, &folder.path().join("once.wasm"));
    let database = TestDatabase::with_t().await;
    let without_cache = |database: &TestDatabase| Host::new(plinth::Database::from_url(&database.url).unwrap()).bundle(&file);
    assert_eq!(without_cache(&database).boot().await.unwrap().boot.ran, 1);
    // A file that others can write may hold anything, and native code is not confined.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let elsewhere = TestDatabase::with_t().await;
    let error = without_cache(&elsewhere).boot().await.unwrap_err();
    assert!(format!("{:?}", error.report()).contains("damaged"), "the component was looked at: {error}");
}

#[tokio::test]
async fn a_bundle_that_the_program_carries_boots_with_its_code() {
    let folder = guests(&["once"]);
    let (_there, file) = bundled(folder.path(), true);
    damage(&file, &folder.path().join("once.wasm"));
    let bytes: &'static [u8] = Vec::leak(fs::read(&file).unwrap());
    let database = TestDatabase::with_t().await;
    let host = Host::new(plinth::Database::from_url(&database.url).unwrap()).carried_bundle("app", bytes);
    assert_eq!(host.boot().await.unwrap().boot.ran, 1);
    assert_eq!(host.boot().await.unwrap().boot.round_trips, 1);
}

#[tokio::test]
async fn a_bundle_is_signed_as_a_whole_or_block_by_block() {
    let folder = guests(&["once"]);
    let secrets = tempfile::tempdir().unwrap();
    let (release, team) = (secrets.path().join("release"), secrets.path().join("team"));
    let (release_key, team_key) = (make_key(&release).unwrap(), make_key(&team).unwrap());
    let keys_file = secrets.path().join("keys.toml");
    let keys = |text: String| {
        fs::write(&keys_file, text).unwrap();
        Keys::from_file(&keys_file).unwrap()
    };
    let for_bundles = keys(format!("bundles = [\"{release_key}\"]\n"));
    let for_teams = keys(format!("[teams]\nguests = [\"{team_key}\"]\n"));
    let database = TestDatabase::with_t().await;
    let boot = async |file: &Path, keys: &Keys| database.host().bundle(file).keys(keys.clone()).boot().await;

    let (_there, file) = bundled(folder.path(), false);
    let error = boot(&file, &for_bundles).await.unwrap_err().to_string();
    assert!(error.contains("app.plinth, once") && error.contains("is not signed"), "{error}");
    // A team's key signs no bundle.
    sign(&team, &file).unwrap();
    assert!(boot(&file, &for_teams).await.is_err());
    sign(&release, &file).unwrap();
    assert!(boot(&file, &for_teams).await.is_err());
    assert_eq!(boot(&file, &for_bundles).await.unwrap().boot.ran, 1);
    // The signature is of this bundle.
    let others = guests(&["once", "claims"]);
    nowhere().folder(others.path()).write_bundle(&file, false).unwrap();
    assert!(boot(&file, &for_bundles).await.is_err());

    // Signatures of components come with them, and mean their own team's blocks.
    sign(&team, &folder.path().join("once.wasm")).unwrap();
    let (_there, file) = bundled(folder.path(), false);
    assert!(Bundle::open(&file).unwrap().blocks().all(|block| block.signed));
    let other_team = keys(format!("[teams]\nothers = [\"{team_key}\"]\n"));
    let error = boot(&file, &other_team).await.unwrap_err().to_string();
    assert!(error.contains("signed by a key of others"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_was_changed_in_a_bundle_is_refused_however_it_is_signed() {
    let (folder, secrets) = (guests(&["once"]), tempfile::tempdir().unwrap());
    let release = secrets.path().join("release");
    let keys = format!("bundles = [\"{}\"]\n", make_key(&release).unwrap());
    fs::write(secrets.path().join("keys.toml"), keys).unwrap();
    let keys = Keys::from_file(&secrets.path().join("keys.toml")).unwrap();
    let (_there, file) = bundled(folder.path(), false);
    sign(&release, &file).unwrap();
    let database = TestDatabase::with_t().await;
    assert!(database.host().bundle(&file).keys(keys.clone()).plan().await.unwrap().pending);

    // What it may write, after it was signed. The index, which the signature is of, stays as it is.
    let mut bytes = fs::read(&file).unwrap();
    let writes = br#""writes":["t."#;
    let at = bytes.windows(writes.len()).position(|window| window == writes).expect("its manifest is there");
    bytes[at + writes.len() - 2] = b'u';
    fs::write(&file, &bytes).unwrap();
    for host in [database.host().bundle(&file).keys(keys), database.host().bundle(&file)] {
        let error = host.boot().await.unwrap_err().to_string();
        assert!(error.contains("app.plinth: is no bundle that can be read: its manifests are damaged"), "{error}");
    }
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0, "nothing was written");
}

#[test]
fn what_is_no_bundle_is_refused_and_never_a_panic() {
    let (_there, file) = bundled(&blocks(), false);
    let whole = fs::read(&file).unwrap();
    let opened = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        Bundle::open(&file).map(drop).map_err(|error| error.to_string())
    };
    assert!(opened(&whole).is_ok());
    for length in [0, 1, 15, 16, 55, 56, 57, 400] {
        let error = opened(&whole[..length]).unwrap_err();
        assert!(error.contains("app.plinth: is no bundle that can be read"), "{length}: {error}");
    }
    // Every byte of what comes before the manifests is tied to the rest.
    let head = 56 + usize::try_from(u64::from_le_bytes(whole[16..24].try_into().unwrap())).unwrap();
    for at in 0..head {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x11;
        assert!(opened(&bytes).is_err(), "byte {at}");
    }
    for length in [head, head + 10, whole.len() - 1] {
        let error = opened(&whole[..length]).unwrap_err();
        assert_eq!(
            error,
            format!("{}: is no bundle that can be read: it is cut short; `plinth bundle` makes one", file.display())
        );
    }
    assert!(opened(b"something else").unwrap_err().contains("it does not begin like one"));
    let older = [b"plinth bundle 1\n", &whole[16..]].concat();
    assert!(opened(&older).unwrap_err().contains("it has the format of another plinth; `plinth bundle` makes one"));
}

#[tokio::test]
async fn a_lock_file_and_expected_ids_hold_for_a_bundle() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    let (there, file) = bundled(folder.path(), false);
    let lock_file = there.path().join("plinth.lock");
    fs::write(&lock_file, nowhere().bundle(&file).load().unwrap().lock_file()).unwrap();
    assert_eq!(database.host().bundle(&file).locked(&lock_file).boot().await.unwrap().boot.ran, 1);
    nowhere().folder(guests(&["once", "claims"]).path()).write_bundle(&file, false).unwrap();
    let Err(BootError::Load(error)) = database.host().bundle(&file).locked(&lock_file).boot().await else { panic!("not locked") };
    assert!(error.to_string().contains("claims is not in the lock file"), "{error}");
    let error = database.host().bundle(&file).expect(["0066_gone"]).boot().await.unwrap_err().to_string();
    assert!(error.contains("0066_gone"), "{error}");
}

#[test]
fn the_command_bundles_lists_compares_and_unpacks() {
    let there = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let output = plinth().args(words).current_dir(there.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let all = blocks();
    let all = all.to_str().unwrap();
    let (code, told, error) = run(&["bundle", all, "-o", "app.plinth"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(told.starts_with("app.plinth: 11 blocks, "), "{told}");
    let listed = run(&["inspect", "app.plinth"]).1;
    // In the order in which they run: rules last.
    let places: Vec<_> =
        ["0000_baseline", "0063_scheduled", "0066_reconcile"].iter().map(|id| listed.find(id).unwrap()).collect();
    assert!(places.is_sorted(), "{listed}");
    let json: serde_json::Value = serde_json::from_str(&run(&["inspect", "app.plinth", "--format", "json"]).1).unwrap();
    assert_eq!(json["blocks"][0]["code_bytes"], serde_json::Value::Null);

    assert_eq!(run(&["unpack", "app.plinth", "out"]).0, Some(0));
    assert_eq!(run(&["compare", "app.plinth", "out"]), (Some(0), String::new(), String::new()));
    fs::remove_file(there.path().join("out/0064_always_llm_costs.wasm")).unwrap();
    let unpacked = there.path().join("out/0065_leaky_caps_cleanup.wasm");
    fs::copy(plinth_tests::guest("once"), there.path().join("out/once.wasm")).unwrap();
    fs::remove_file(unpacked).unwrap();
    let (code, told, _) = run(&["compare", "app.plinth", "out"]);
    assert_eq!((code, told.as_str()), (Some(3), "- 0064_always_llm_costs\n- 0065_leaky_caps_cleanup\n+ once\n"));

    assert_eq!(run(&["compile", "app.plinth", "-o", "fast.plinth"]).0, Some(0));
    let json: serde_json::Value = serde_json::from_str(&run(&["inspect", "fast.plinth", "--format", "json"]).1).unwrap();
    assert!(json["blocks"].as_array().unwrap().iter().all(|block| block["code_bytes"].as_u64() > Some(0)), "{json}");
    assert_eq!(run(&["compare", "app.plinth", "fast.plinth"]).0, Some(0));

    let (code, _, error) = run(&["bundle", "nowhere", "-o", "app.plinth"]);
    assert!(code == Some(2) && error.contains("nowhere"), "{error}");
    assert!(there.path().join("app.plinth").is_file(), "the old one stays");
}

#[tokio::test]
async fn a_folder_is_read_again_when_a_file_of_it_changed() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once", "claims"]);
    let cache = tempfile::tempdir().unwrap();
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let host = || Host::new(plinth::Database::from_url(&database.url).unwrap()).folder(folder.path()).cache(cache.path());
    let kept = || {
        fs::read_dir(cache.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("folder-"))
            .count()
    };
    assert_eq!(host().boot().await.unwrap().boot.ran, 2);
    assert_eq!(kept(), 0, "a file that was just written may still change without its times telling");
    tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
    assert_eq!(host().boot().await.unwrap().boot.round_trips, 1);
    assert_eq!(kept(), 1);
    assert_eq!(host().boot().await.unwrap().boot.round_trips, 1);

    // Another component of the same size under the same name, with the times of the old one.
    let path = folder.path().join("once.wasm");
    let mut bytes = fs::read(&path).unwrap();
    let times = fs::metadata(&path).unwrap().modified().unwrap();
    let end = bytes.len() - 9;
    bytes[end] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
    let report = host().boot().await.unwrap();
    assert!(report.boot.round_trips > 1, "it was seen that the set is another one");
    fs::remove_file(&path).unwrap();
    assert_eq!(host().boot().await.unwrap().boot.found, 1);
}
