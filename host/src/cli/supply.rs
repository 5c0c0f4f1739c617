//! `plinth lock`, `plinth key`, `plinth sign`: which blocks, and from whom.

use super::{FAILED, USAGE, print};
use crate::{Components, Limits, make_key, sign};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn lock(blocks: &Path, lock_file: Option<PathBuf>) -> u8 {
    let path = lock_file.unwrap_or_else(|| blocks.join("plinth.lock"));
    match Components::from_folder(blocks, Limits::default().component_bytes) {
        Ok(components) => match fs::write(&path, components.lock_file()) {
            Ok(()) => 0,
            Err(error) => told(&format!("{}: {error}", path.display()), FAILED),
        },
        Err(error) => told(&error.to_string(), USAGE),
    }
}

pub(super) fn key(file: &Path) -> u8 {
    match make_key(file) {
        Ok(public) => {
            print::text(&format!("{public}\n"));
            0
        }
        Err(error) => told(&error.to_string(), USAGE),
    }
}

pub(super) fn signed(key: &Path, files: &[PathBuf]) -> u8 {
    for file in files {
        if let Err(error) = sign(key, file) {
            return told(&error.to_string(), USAGE);
        }
    }
    0
}

fn told(message: &str, code: u8) -> u8 {
    print::error(message);
    code
}
