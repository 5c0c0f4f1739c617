//! The file that a server's messages go to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// A log that is kept over restarts starts anew when it has become this long.
const LONGEST: u64 = 16 << 20;

/// As much of the end is looked at for the last lines.
const TAIL: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Where the messages of the last start begin.
    from: u64,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Log {
        Log { path, from: 0 }
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Opens the log for a start of the server.
    pub(super) fn open(&mut self) -> io::Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        if file.metadata()?.len() > LONGEST {
            file.set_len(0)?;
        }
        self.from = file.metadata()?.len();
        Ok(file)
    }

    /// The last `count` lines since the last start.
    pub(super) fn tail(&self, count: usize) -> String {
        let text = self.end().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let skip = lines.len().saturating_sub(count);
        lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
    }

    fn end(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let from = self.from.max(file.metadata()?.len().saturating_sub(TAIL));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Log;
    use std::io::Write;

    #[test]
    fn the_tail_begins_at_the_last_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path().join("log"));
        log.open().unwrap().write_all(b"old\n").unwrap();
        log.open().unwrap().write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(log.tail(2), "two\nthree");
        assert_eq!(log.tail(9), "one\ntwo\nthree");
    }
}
