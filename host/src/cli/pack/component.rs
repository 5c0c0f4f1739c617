//! Writes a file's statements and its manifest into the component that runs them.
//!
//! The component has empty room in its memory, and a mark with the room's address beside it (`sdk/sql`). Packing adds a data segment
//! for that room, corrects the number of segments and the lengths around it, and appends the manifest as a custom section. Nothing is
//! compiled.

use anyhow::{Context, bail, ensure};
use plinth_manifest::SECTION;

/// What stands before the room's address.
const MARK: &[u8; 32] = b"plinth:sql the statements' place";

// Numbers of sections in a core module, and of the one in a component that holds a core module.
const CUSTOM: u8 = 0;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;
const CORE_MODULE: u8 = 1;

/// Magic number and version.
const HEADER: usize = 8;

/// The generic component with a manifest and a room that holds these bytes.
pub(super) fn packed(generic: &[u8], manifest: &str, room: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut out = generic.get(..HEADER).context("it is too short")?.to_vec();
    let mut found = false;
    for section in sections(generic)? {
        let contents = if section.id == CORE_MODULE && !found && position(section.contents, MARK).is_some() {
            found = true;
            with_room(section.contents, room)?
        } else {
            section.contents.to_vec()
        };
        push_section(&mut out, section.id, &contents);
    }
    ensure!(found, "it has no place for statements");
    Ok(described(&out, manifest))
}

/// The component with a manifest.
pub(super) fn described(component: &[u8], manifest: &str) -> Vec<u8> {
    let mut out = component.to_vec();
    let mut custom = Vec::new();
    push_bytes(&mut custom, SECTION.as_bytes());
    custom.extend_from_slice(manifest.as_bytes());
    push_section(&mut out, CUSTOM, &custom);
    out
}

struct Section<'a> {
    id: u8,
    contents: &'a [u8],
}

fn sections(binary: &[u8]) -> anyhow::Result<Vec<Section<'_>>> {
    let mut rest = binary.get(HEADER..).context("it is too short")?;
    let mut sections = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = number(after)?;
        let (contents, after) = after.split_at_checked(length).context("a section is cut off")?;
        sections.push(Section { id: *id, contents });
        rest = after;
    }
    Ok(sections)
}

/// The core module with the room filled.
fn with_room(module: &[u8], room: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut out = module.get(..HEADER).context("a module is too short")?.to_vec();
    for section in sections(module)? {
        let contents = match section.id {
            DATA_COUNT => {
                let (count, _) = number(section.contents)?;
                leb(count + 1)
            }
            DATA => {
                let (count, segments) = number(section.contents)?;
                let mut segments = segments.to_vec();
                let address = take_room(&mut segments, room.len())?;
                let mut data = leb(count + 1);
                data.append(&mut segments);
                // Active, in memory 0, at `i32.const address`.
                data.extend_from_slice(&[0, 0x41]);
                data.append(&mut signed(address));
                data.push(0x0b);
                push_bytes(&mut data, room);
                data
            }
            _ => section.contents.to_vec(),
        };
        push_section(&mut out, section.id, &contents);
    }
    Ok(out)
}

/// Writes down how much of the room is used, and returns where it is.
fn take_room(segments: &mut [u8], used: usize) -> anyhow::Result<u32> {
    let place = position(segments, MARK).context("the mark is not in the module's data")? + MARK.len();
    let word = |at: usize| segments.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (Some(address), Some(most)) = (word(place), word(place + 8)) else { bail!("the mark is cut off") };
    let length = u32::try_from(used)?;
    ensure!(length <= most, "the statements have {length} bytes, there is room for {most}");
    segments.get_mut(place + 4..place + 8).context("the mark is cut off")?.copy_from_slice(&length.to_le_bytes());
    Ok(address)
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn push_section(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    push_bytes(out, contents);
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.append(&mut leb(bytes.len()));
    out.extend_from_slice(bytes);
}

/// An unsigned number in LEB128, and what comes after it.
fn number(bytes: &[u8]) -> anyhow::Result<(usize, &[u8])> {
    let mut value = 0_usize;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((value, bytes.get(place + 1..).unwrap_or_default()));
        }
    }
    bail!("a number is cut off")
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// A signed number in LEB128, of an address.
fn signed(address: u32) -> Vec<u8> {
    let mut value = i64::from(address.cast_signed());
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 1, 127, 128, 300, 70_000, 1 << 30] {
            assert_eq!(number(&leb(value)).unwrap(), (value, [].as_slice()));
        }
        assert_eq!(signed(63), [63]);
        assert_eq!(signed(64), [0xc0, 0]);
        assert_eq!(signed(1_048_576), [0x80, 0x80, 0xc0, 0]);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        assert!(packed(b"\0asm", "", b"").is_err());
        assert!(packed(b"\0asm\x0d\0\x01\0\x01\x80", "", b"").is_err());
        assert!(packed(b"\0asm\x0d\0\x01\0", "", b"").unwrap_err().to_string().contains("no place"));
    }
}
