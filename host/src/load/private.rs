//! A folder that is ours alone. What lies in one was written by this host and is trusted like its own memory.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

/// Makes a private folder, unless there is one already.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Whether a folder belongs to our user and nobody else can write there.
pub(crate) fn is_ours(folder: &Path) -> io::Result<bool> {
    let found = fs::metadata(folder)?;
    Ok(found.is_dir() && found.mode() & 0o022 == 0 && found.uid() == user(folder)?)
}

/// Whether a file is what its owner made of it: ours or the administrator's, and writable by nobody else, like the program itself.
pub(crate) fn is_trusted(file: &fs::Metadata) -> bool {
    let ours = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == file.uid());
    (ours || file.uid() == 0) && file.mode() & 0o022 == 0
}

/// Our user. Where there is no `/proc`, a file that we make tells.
fn user(folder: &Path) -> io::Result<u32> {
    if let Ok(process) = fs::metadata("/proc/self") {
        return Ok(process.uid());
    }
    let probe = folder.join(format!(".probe-{}-{:x}", std::process::id(), fastrand::u64(..)));
    let owner = fs::File::create_new(&probe)?.metadata()?.uid();
    fs::remove_file(&probe)?;
    Ok(owner)
}

/// Writes a file that is there when it is whole: neither a reader nor a killed writer ever leaves half of one.
pub(crate) fn write(file: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = file.with_extension(format!("{}-{:x}", std::process::id(), fastrand::u64(..)));
    let written = fs::File::create_new(&temporary).and_then(|mut opened| {
        parts.iter().try_for_each(|part| opened.write_all(part))?;
        fs::rename(&temporary, file)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
