//! A database's address as libpq has it, where tokio-postgres knows less: the verifying TLS modes.

use super::tls::Verify;
use std::path::PathBuf;

/// What was taken out of an address before tokio-postgres reads the rest.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    pub(super) rest: String,
    pub(super) verify: Option<Verify>,
    pub(super) root_certificate: Option<PathBuf>,
}

/// Takes `sslmode=verify-…` and `sslrootcert=…` out of a URL or a list of `key=value` words.
pub(super) fn take_tls(address: &str) -> Taken {
    let mut taken = Taken::default();
    let url = address.starts_with("postgres://") || address.starts_with("postgresql://");
    let (head, options, separator) = match address.split_once('?') {
        Some((head, options)) if url => (Some(head), options, '&'),
        None if url => (Some(address), "", '&'),
        _ => (None, address, ' '),
    };
    let mut kept = Vec::new();
    // Blanks in a row may be part of a quoted word.
    for option in options.split(separator).filter(|option| !url || !option.is_empty()) {
        match option.split_once('=') {
            Some(("sslmode", mode @ ("verify-ca" | "verify-full"))) => {
                taken.verify = Some(if mode == "verify-ca" { Verify::Chain } else { Verify::Full });
                kept.push("sslmode=require".to_owned());
            }
            Some(("sslrootcert", path)) => taken.root_certificate = Some(PathBuf::from(decoded(path))),
            _ => kept.push(option.to_owned()),
        }
    }
    let kept = kept.join(&separator.to_string());
    taken.rest = match head {
        Some(head) if kept.is_empty() => head.to_owned(),
        Some(head) => format!("{head}?{kept}"),
        None => kept,
    };
    taken
}

/// Percent-decoding, enough for a path.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let pair = (byte == b'%').then(|| bytes.clone().take(2).collect::<Vec<u8>>());
        let value = pair.and_then(|pair| String::from_utf8(pair).ok()).and_then(|hex| u8::from_str_radix(&hex, 16).ok());
        out.push(value.unwrap_or(byte));
        if value.is_some() {
            bytes.nth(1);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifying_modes_of_libpq_are_understood_in_both_forms() {
        let url = take_tls("postgres://u:p@h/d?connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem");
        assert_eq!(url.rest, "postgres://u:p@h/d?connect_timeout=3&sslmode=require");
        assert_eq!((url.verify, url.root_certificate), (Some(Verify::Full), Some(PathBuf::from("/etc/ca.pem"))));
        let words = take_tls("host=h sslmode=verify-ca user=u");
        assert_eq!((words.rest.as_str(), words.verify), ("host=h sslmode=require user=u", Some(Verify::Chain)));
    }

    #[test]
    fn an_address_without_them_stays_as_it_is() {
        for address in ["postgres://u@h/d", "postgresql:///d?host=/tmp", "host=/tmp dbname=d", "dbname='two  blanks' user=u"] {
            assert_eq!(take_tls(address), Taken { rest: address.to_owned(), ..Taken::default() });
        }
    }
}
