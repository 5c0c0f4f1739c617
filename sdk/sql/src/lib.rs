//! A block that is SQL alone. `plinth pack` writes the statements of a file into this component and gives it a manifest, so that
//! nobody needs a Rust toolchain for them.
//!
//! The statements stand in [`ROOM`], which is empty in the component as it is built. The one that packs finds [`SLOT`] by its mark,
//! reads there where the room begins, and writes how much of it is used: see `host/src/cli/pack/component.rs`.

use plinth_block::{Row, Rows, prelude::*};
use std::{
    hint::black_box,
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

/// Room for a file. It costs nothing in the component, which carries only what is written there.
const ROOM_BYTES: usize = 1 << 20;

static ROOM: [AtomicU8; ROOM_BYTES] = [const { AtomicU8::new(0) }; ROOM_BYTES];

/// What the packer looks for. Its layout is part of the agreement.
#[repr(C)]
struct Slot {
    mark: [u8; 32],
    room: &'static [AtomicU8; ROOM_BYTES],
    length: AtomicU32,
    most: u32,
}

static SLOT: Slot =
    Slot { mark: *b"plinth:sql the statements' place", room: &ROOM, length: AtomicU32::new(0), most: ROOM_BYTES as u32 };

/// A part of the file: what it is, and its text.
struct Part {
    kind: u8,
    text: String,
}

/// The kinds of parts.
const STATEMENT: u8 = b'S';
const CONDITION: u8 = b'I';
const NAME: u8 = b'N';
const CHECK: u8 = b'C';

/// Reads the parts: a kind, a length in four bytes, the text.
fn parts() -> Result<Vec<Part>> {
    // Without the black boxes the compiler knows that nobody in here ever writes there.
    let slot = black_box(&SLOT);
    let length = slot.length.load(Ordering::Relaxed).min(slot.most);
    let room = black_box(slot.room);
    let mut bytes = room.iter().take(usize::try_from(length)?).map(|byte| byte.load(Ordering::Relaxed));
    let mut parts = Vec::new();
    while let Some(kind) = bytes.next() {
        let size: Vec<u8> = bytes.by_ref().take(4).collect();
        let size = <[u8; 4]>::try_from(size).map(u32::from_le_bytes).map_err(|_| Error::message("the packed file is cut off"))?;
        let text: Vec<u8> = bytes.by_ref().take(usize::try_from(size)?).collect();
        parts.push(Part { kind, text: String::from_utf8(text)? });
    }
    ensure!(!parts.is_empty(), "no file was packed into this component: `plinth pack` does it");
    Ok(parts)
}

struct Sql;

/// Runs the statements in order. One with a condition before it runs only if that is true.
fn work(db: &Db) -> Result<Outcome> {
    let mut runs = true;
    for part in parts()? {
        match part.kind {
            CONDITION => runs = db.query_one(&part.text, &[])?,
            // Whether this one ran or not, the next has no condition yet.
            STATEMENT if std::mem::replace(&mut runs, true) => db.send(&part.text, &[])?,
            _ => {}
        }
    }
    done()
}

/// Looks at the post-conditions.
fn look(db: &Db) -> Result<Checks> {
    let mut checks = Checks::new();
    let mut name = None;
    for part in parts()? {
        match part.kind {
            NAME => name = Some(part.text),
            CHECK => {
                let wrong = wrong(&db.rows(&part.text, &[])?);
                let name = name.take().unwrap_or(part.text);
                checks.that(wrong.as_ref().map_or_else(|| name.clone(), |wrong| format!("{name} ({wrong})")), wrong.is_none());
            }
            _ => {}
        }
    }
    Ok(checks)
}

/// A condition is one column of truth values, all of them true; any other query selects what is wrong, and finds nothing.
fn wrong(rows: &Rows) -> Option<String> {
    let truths: Option<Vec<bool>> = rows.iter().map(|row| truth(&row)).collect();
    match truths {
        Some(truths) if truths.iter().all(|truth| *truth) => None,
        Some(_) => Some("it is not true".to_owned()),
        None => Some(format!("{} rows are found", rows.len())),
    }
}

fn truth(row: &Row<'_>) -> Option<bool> {
    if row.len() == 1 { row.get::<Option<bool>>(0).ok().map(|truth| truth == Some(true)) } else { None }
}

impl Migration for Sql {
    fn apply(db: &Db) -> Result<Outcome> {
        work(db)
    }

    fn verify(db: &Db) -> Result<Checks> {
        look(db)
    }
}

impl Rule for Sql {
    fn reconcile(db: &Db) -> Result<Outcome> {
        work(db)
    }

    fn verify(db: &Db) -> Result<Checks> {
        look(db)
    }
}

// Both worlds: the manifest that is packed says which of them counts.
#[cfg(target_arch = "wasm32")]
plinth_block::__private::migration::export!(Sql with_types_in plinth_block::__private::migration);
#[cfg(target_arch = "wasm32")]
plinth_block::__private::rule::export!(Sql with_types_in plinth_block::__private::rule);
#[cfg(not(target_arch = "wasm32"))]
const _: fn(&Db) -> Result<Checks> = <Sql as Rule>::verify;
#[cfg(not(target_arch = "wasm32"))]
const _: fn(&Db) -> Result<Checks> = <Sql as Migration>::verify;
