//! A guest without a test does not compile: every folder and file of `guests`, and every attack that a guest tells apart by name,
//! must be named by some test.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn main() {
    for watched in ["guests", "tests", "src"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let tests = code(&[Path::new("tests"), Path::new("src")]);
    let named = |name: &str| tests.iter().any(|line| line.contains(&format!("\"{name}\"")));
    for (name, place) in guests() {
        if !named(&name) {
            println!(
                "cargo::error=tests/{}: no test uses \"{name}\": write one in tests/tests that runs it by this name, or take it out",
                place.display()
            );
        }
    }
}

/// The lines of Rust files, without comments.
fn code(folders: &[&Path]) -> Vec<String> {
    let files = folders.iter().flat_map(|folder| listed(folder)).filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let text = files.filter_map(|path| fs::read_to_string(path).ok()).collect::<Vec<_>>().join("\n");
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).map(str::to_owned).collect()
}

/// Guests by their folders, components written as text, and the arms `"name" => …` of a guest that does several things.
fn guests() -> Vec<(String, PathBuf)> {
    let mut guests = Vec::new();
    for path in listed(Path::new("guests")) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let source = path.join("src/lib.rs");
        if source.is_file() {
            guests.push((name.to_owned(), path.clone()));
            for line in fs::read_to_string(&source).unwrap_or_default().lines() {
                let arm = line.trim_start().strip_prefix('"').and_then(|rest| rest.split_once("\" =>"));
                guests.extend(arm.filter(|_| name == "breaks_contract").map(|(arm, _)| (arm.to_owned(), source.clone())));
            }
        }
    }
    for path in listed(Path::new("guests/raw")) {
        guests.extend(path.file_stem().and_then(|stem| stem.to_str()).map(|stem| (stem.to_owned(), path.clone())));
    }
    guests
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}
