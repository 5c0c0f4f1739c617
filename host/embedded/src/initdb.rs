//! Making a data folder.

use std::fs;
use std::path::Path;

use super::account::Account;
use super::binaries::Binaries;
use super::error::{EmbeddedError, io_error};

/// The best first. Only glibc since 2.35 and some distributions before it have C.UTF-8.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// Fills `data`, an empty folder of `account`. If this process dies meanwhile, a part of a data
/// folder stays.
pub(super) fn run(binaries: &Binaries, account: &Account, data: &Path, durable: bool) -> Result<(), EmbeddedError> {
    #[cfg(feature = "bundled")]
    if binaries.carried {
        return super::bundled::data(account, data, durable);
    }
    let mut first = None;
    for locale in LOCALES {
        match with_locale(binaries, account, data, durable, locale) {
            Err(EmbeddedError::Prepare { program, status, output }) if output.contains("locale") => {
                first.get_or_insert(EmbeddedError::Prepare { program, status, output });
                empty(data)?;
            }
            other => return other,
        }
    }
    first.map_or(Ok(()), Err)
}

fn with_locale(binaries: &Binaries, account: &Account, data: &Path, durable: bool, locale: &str) -> Result<(), EmbeddedError> {
    let mut initdb = binaries.command(account, "initdb");
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--data-checksums"]);
    initdb.arg(format!("--locale={locale}"));
    if !durable {
        initdb.arg("--no-sync");
    }
    // The server's default time zone, alike on every machine.
    initdb.env("TZ", "UTC").arg("-D").arg(data);
    let ended = initdb.output().map_err(io_error("run", &binaries.folder().join("initdb")))?;
    if ended.status.success() {
        return Ok(());
    }
    // The reason is in the error stream; the other tells of steps, and helps if the first is empty.
    let output = match String::from_utf8_lossy(&ended.stderr).trim() {
        "" => String::from_utf8_lossy(&ended.stdout).trim().to_owned(),
        reason => reason.to_owned(),
    };
    Err(EmbeddedError::Prepare { program: "initdb", status: ended.status.to_string(), output })
}

fn empty(folder: &Path) -> Result<(), EmbeddedError> {
    for entry in fs::read_dir(folder).map_err(io_error("list", folder))?.flatten() {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(io_error("remove", &path))?;
    }
    Ok(())
}
