//! The two steps between a block in C and its component that need a tool for the component model.
//!
//!     plinth-languages bindings WIT WORLD FOLDER   what `wit-bindgen c WIT --world WORLD --out-dir FOLDER` does
//!     plinth-languages component MODULE FILE       what `wasm-tools component new MODULE -o FILE` does

use anyhow::{Context, Result, bail};
use std::{env, fs, path::Path};
use wit_bindgen_core::{Files, wit_parser::Resolve};
use wit_component::ComponentEncoder;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bindings", wit, world, folder] => bindings(wit, world, Path::new(folder)),
        ["component", module, file] => component(module, file),
        _ => bail!("usage: plinth-languages bindings WIT WORLD FOLDER | component MODULE FILE"),
    }
}

fn bindings(wit: &str, world: &str, folder: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    for (name, contents) in files.iter() {
        fs::write(folder.join(name), contents).with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn component(module: &str, file: &str) -> Result<()> {
    let module = fs::read(module).with_context(|| module.to_owned())?;
    let component = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    fs::write(file, component).with_context(|| file.to_owned())
}
