//! Takes PostgreSQL into the program, if the feature `bundled` says so.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-env-changed=PLINTH_BUNDLE");
    let own = || PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../target/bundled");
    let folder = env::var_os("PLINTH_BUNDLE").map_or_else(own, PathBuf::from);
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for file in ["server.tar.zst", "data.tar.zst", "version"] {
        let from = folder.join(file);
        if !from.is_file() {
            println!(
                "cargo::error={} is not there: `make bundled` (host/bundle.sh) makes it for the feature bundled-postgres, or set PLINTH_BUNDLE \
                 to the folder that has it",
                from.display()
            );
            return Ok(());
        }
        println!("cargo::rerun-if-changed={}", from.display());
        fs::copy(&from, out.join(file))?;
    }
    Ok(())
}
