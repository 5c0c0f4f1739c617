//! Unpacks what the program carries: tar as `tar --format=ustar` writes it, inside zstd. Only folders and plain files.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

/// The block that everything in the format is a multiple of.
const BLOCK: usize = 512;

/// Who may read what is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modes {
    /// Whoever may read it in the archive.
    Kept,
    /// Its owner alone, as PostgreSQL wants it of a data folder.
    Private,
}

/// Unpacks into a folder that is there, and returns what was made.
pub(super) fn unpack(packed: &[u8], to: &Path, modes: Modes) -> io::Result<Vec<PathBuf>> {
    let mut archive = zstd::Decoder::with_buffer(packed)?;
    let mut header = [0_u8; BLOCK];
    let mut made = Vec::new();
    loop {
        archive.read_exact(&mut header)?;
        // Two blocks of zeros end it; one is enough to know.
        if header.iter().all(|byte| *byte == 0) {
            return Ok(made);
        }
        let size = octal(field(&header, 124, 12))?;
        let mode = u32::try_from(octal(field(&header, 100, 8))?).unwrap_or(0o600);
        let path = to.join(inside(&header)?);
        match header.get(156) {
            Some(b'5') => {
                fs::create_dir_all(&path)?;
                if path != to {
                    fs::set_permissions(&path, Permissions::from_mode(if modes == Modes::Private { 0o700 } else { mode }))?;
                    made.push(path);
                }
            }
            Some(b'0' | 0) => {
                let mode = if modes == Modes::Private { 0o600 } else { mode };
                let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
                copy(&mut archive, &mut file, size)?;
                // The umask may have taken away what others need.
                file.set_permissions(Permissions::from_mode(mode))?;
                made.push(path);
            }
            _ => return Err(io::Error::other("the archive has an entry that is neither a folder nor a file")),
        }
    }
}

fn copy(archive: &mut impl Read, file: &mut File, size: u64) -> io::Result<()> {
    let copied = io::copy(&mut archive.by_ref().take(size), file)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.flush()?;
    let rest = size.next_multiple_of(BLOCK as u64) - size;
    io::copy(&mut archive.by_ref().take(rest), &mut io::sink())?;
    Ok(())
}

fn field(header: &[u8; BLOCK], at: usize, length: usize) -> &[u8] {
    let field = header.get(at..at + length).unwrap_or_default();
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn octal(field: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(field).map_err(io::Error::other)?;
    u64::from_str_radix(text.trim(), 8).map_err(io::Error::other)
}

/// The entry's path, which stays inside.
fn inside(header: &[u8; BLOCK]) -> io::Result<PathBuf> {
    let text = |at, length| std::str::from_utf8(field(header, at, length)).map_err(io::Error::other);
    let (name, prefix) = (text(0, 100)?, text(345, 155)?);
    let path: PathBuf = Path::new(prefix).join(name).components().filter(|part| *part != Component::CurDir).collect();
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(path);
    }
    Err(io::Error::other(format!("the archive names {}, which is outside of it", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header
    }

    #[test]
    fn an_entry_stays_inside() {
        assert_eq!(inside(&header("./a/b")).unwrap(), Path::new("a/b"));
        assert_eq!(inside(&header("./")).unwrap(), Path::new(""));
        assert!(inside(&header("../a")).is_err());
        assert!(inside(&header("/a")).is_err());
    }
}
