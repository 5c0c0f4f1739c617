//! `plinth inspect`: a component without a database.

use super::{arguments::Format, bundle, print};
use crate::{Component, Interfaces, Limits, LoadError};
use plinth_manifest::Manifest;
use serde::Serialize;
use std::path::Path;

/// What a component says about itself.
#[derive(Serialize)]
pub(super) struct Inspected {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) digest: String,
    pub(super) manifest: Manifest,
    #[serde(flatten)]
    pub(super) interfaces: Interfaces,
}

pub(super) fn inspect(file: &Path, format: Format) -> u8 {
    if crate::load::is_bundle(file).unwrap_or(false) {
        return told(bundle::listed(file), format, print::listed);
    }
    let inspected = Component::from_file(file, Limits::default().component_bytes).and_then(|component| {
        Ok(Inspected {
            file: component.origin(),
            bytes: std::fs::metadata(file).map_or(0, |file| file.len()),
            digest: component.digest.to_string(),
            interfaces: component.interfaces()?,
            manifest: component.manifest,
        })
    });
    told(inspected, format, print::inspected)
}

fn told<T: Serialize>(found: Result<T, LoadError>, format: Format, table: impl FnOnce(&T)) -> u8 {
    match found {
        Ok(found) => {
            match format {
                Format::Json => print::json(&found),
                Format::Table => table(&found),
            }
            0
        }
        Err(error) => {
            print::error(&error.to_string());
            super::USAGE
        }
    }
}
