//! Connection URLs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(super) fn socket(database: &str, folder: &Path, port: u16) -> String {
    let (database, host) = (encode(database.as_bytes()), encode(folder.as_os_str().as_bytes()));
    format!("postgresql:///{database}?host={host}&port={port}&user=postgres")
}

pub(super) fn tcp(database: &str, address: SocketAddr, password: &str) -> String {
    format!("postgresql://postgres:{password}@{address}/{}", encode(database.as_bytes()))
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::socket;
    use std::path::Path;

    #[test]
    fn everything_but_plain_characters_is_encoded() {
        let url = socket("a b/ü?", Path::new("/tmp/s"), 5432);
        assert_eq!(url, "postgresql:///a%20b%2F%C3%BC%3F?host=%2Ftmp%2Fs&port=5432&user=postgres");
    }
}
