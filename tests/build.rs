//! A guest without a test does not compile: every folder and file of `guests`, and every attack that a guest tells apart by name,
//! must be handed to something that runs guests.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What takes a guest by its name and runs it, or has it refused. Naming one elsewhere, in a list or a message, tests nothing.
const RUNNERS: [&str; 11] = [
    "guest",
    "guests",
    "bytes",
    "raw",
    "attack",
    "by_guest",
    "by_statements",
    "by_component",
    "succeeds",
    "breaks_contract",
    "refused_file",
];

fn main() {
    for watched in ["guests", "tests", "src"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let tests = code(&[Path::new("tests"), Path::new("src")]);
    let runs = |name: &str| {
        let named = format!("\"{name}\"");
        tests.match_indices(&named).any(|(at, _)| callee(&tests[..at]).is_some_and(|callee| RUNNERS.contains(&callee)))
    };
    for (name, place) in guests() {
        if !runs(&name) {
            println!(
                "cargo::error=tests/{}: no test runs \"{name}\": write one in tests/tests that hands it to {}, or take it out",
                place.display(),
                RUNNERS.join(", ")
            );
        }
    }
}

/// The function whose argument a text ends in, however deep in brackets: `guests` for `guests(&["a", `.
fn callee(text: &str) -> Option<&str> {
    let mut closed = 0;
    for (at, byte) in text.bytes().enumerate().rev() {
        match byte {
            b')' => closed += 1,
            b'(' if closed == 0 => return text[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next(),
            b'(' => closed -= 1,
            _ => {}
        }
    }
    None
}

/// The code of Rust files, without comments.
fn code(folders: &[&Path]) -> String {
    let files = folders.iter().flat_map(|folder| listed(folder)).filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let text = files.filter_map(|path| fs::read_to_string(path).ok()).collect::<Vec<_>>().join("\n");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
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
