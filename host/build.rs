//! Takes the component for `plinth pack` into the command, if it was built: `make generic` does it.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("sql.wasm");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../target/generic");
    // An empty file stands for none: the command then says how to get one.
    let component = fs::read(folder.join("sql.wasm")).unwrap_or_default();
    // Cargo would run this at every build if it watched what does not exist.
    fs::create_dir_all(&folder)?;
    println!("cargo::rerun-if-changed={}", folder.display());
    fs::write(out, component)
}
