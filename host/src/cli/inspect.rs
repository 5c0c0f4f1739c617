//! `plinth inspect`: a component without a database.

use super::{arguments::Format, print};
use crate::{Component, Interfaces, Limits};
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
    let inspected = Component::from_file(file, Limits::default().component_bytes).and_then(|component| {
        Ok(Inspected {
            file: component.origin(),
            bytes: std::fs::metadata(file).map_or(0, |file| file.len()),
            digest: component.digest.to_string(),
            interfaces: component.interfaces()?,
            manifest: component.manifest,
        })
    });
    match inspected {
        Ok(inspected) => {
            match format {
                Format::Json => print::json(&inspected),
                Format::Table => print::inspected(&inspected),
            }
            0
        }
        Err(error) => {
            print::error(&error.to_string());
            super::USAGE
        }
    }
}
