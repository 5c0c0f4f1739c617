//! Who made a component: an ed25519 signature beside it, `FILE.sig`, checked before anything of the component is read.
//!
//! A bundle may be signed as a whole, by a key for bundles. The keys file says which team a key belongs to. A key signs its own team's blocks and no others', so that a team that was broken
//! into changes nothing but its own.

use super::{Bundle, Digest, Problem, bundle};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

/// What is signed begins with this, so that a signature means a block and nothing else.
const PURPOSE: &[u8] = b"plinth block 1\0";

/// What is signed of a bundle begins with this.
const BUNDLE: &[u8] = b"plinth bundle 1\0";

/// The keys that blocks may be signed with, by team, and those of whoever may sign bundles.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    teams: Vec<(String, Vec<u8>)>,
    bundles: Vec<Vec<u8>>,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("keys, {place}: {reason}")]
pub struct KeyError {
    place: String,
    reason: String,
}

impl KeyError {
    fn new(place: impl Into<String>, reason: impl ToString) -> KeyError {
        KeyError { place: place.into(), reason: reason.to_string() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    bundles: Vec<String>,
    #[serde(default)]
    teams: BTreeMap<String, Vec<String>>,
}

impl Keys {
    /// Reads a keys file: `[teams]`, and in it `team = ["key", …]`, as `plinth key` prints keys; before it, `bundles = ["key", …]` for who may
    /// sign whole bundles, whatever the teams of their blocks are.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is none, or holds no key.
    pub fn from_file(path: &Path) -> Result<Keys, KeyError> {
        let place = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| KeyError::new(&place, error))?;
        Keys::parse(&text).map_err(|reason| KeyError::new(place, reason))
    }

    /// The same from the text of a keys file, such as one that the program carries: `include_str!("keys.toml")`.
    ///
    /// # Errors
    ///
    /// If it is none, or holds no key.
    pub fn from_text(text: &str) -> Result<Keys, KeyError> {
        Keys::parse(text).map_err(|reason| KeyError::new("what the program carries", reason))
    }

    fn parse(text: &str) -> Result<Keys, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.message().trim().to_owned())?;
        let key = |whose: &str, text: &str| {
            let key = from_hex(text).filter(|key| key.len() == 32);
            key.ok_or_else(|| format!("the key of {whose} is none: 64 hexadecimal digits"))
        };
        let mut keys = Keys::default();
        for text in &written.bundles {
            keys.bundles.push(key("bundles", text)?);
        }
        for (team, texts) in &written.teams {
            for text in texts {
                keys.teams.push((team.clone(), key(team, text)?));
            }
        }
        if keys.teams.is_empty() && keys.bundles.is_empty() { Err("it holds no key".into()) } else { Ok(keys) }
    }

    /// Whether somebody who may sign bundles signed this one.
    pub(super) fn vouch(&self, bundle: &Bundle) -> bool {
        let signature = fs::read_to_string(beside(Path::new(bundle.name()))).ok().and_then(|text| from_hex(text.trim()));
        let message = [BUNDLE, bundle.digest().as_bytes()].concat();
        let signed = |signature: &Vec<u8>| self.bundles.iter().any(|key| verified(key, &message, signature));
        signature.is_some_and(|signature| signed(&signature))
    }

    /// The teams whose key signed a component of this digest, by the text of its signature; an error if nobody's did.
    pub(super) fn signers(&self, digest: &Digest, signature: Option<&str>) -> Result<Vec<&str>, Problem> {
        let text = signature.ok_or(Problem::Unsigned)?;
        let signature = from_hex(text.trim()).ok_or(Problem::WrongSignature)?;
        let message = message(digest);
        let good = |key: &[u8]| verified(key, &message, &signature);
        let teams: Vec<&str> = self.teams.iter().filter(|(_, key)| good(key)).map(|(team, _)| team.as_str()).collect();
        if teams.is_empty() { Err(Problem::WrongSignature) } else { Ok(teams) }
    }

    /// Whether a block of a team may be signed by these.
    pub(super) fn of_team(team: Option<&str>, signers: &[&str]) -> Result<(), Problem> {
        if team.is_some_and(|team| signers.contains(&team)) {
            return Ok(());
        }
        let team = team.map_or_else(|| "no team".to_owned(), |team| format!("team {team}"));
        Err(Problem::OtherTeam { team, signers: signers.join(", ") })
    }
}

fn verified(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

fn message(digest: &Digest) -> Vec<u8> {
    [PURPOSE, digest.as_bytes()].concat()
}

/// The text of a file's signature; none if there is no such file.
pub(super) fn signature_of(file: &Path) -> Option<String> {
    fs::read_to_string(beside(file)).ok()
}

/// The signature's file.
fn beside(file: &Path) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// Makes a key: the secret half in a file that nobody else can read, the public half as the keys file takes it.
///
/// # Errors
///
/// If the file is there or cannot be written.
pub fn make_key(path: &Path) -> Result<String, KeyError> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let failed = |reason: &dyn ToString| KeyError::new(path.display().to_string(), reason.to_string());
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| failed(&"the system has no randomness"))?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| failed(&error))?;
    writeln!(file, "{}", hex(made.as_ref())).map_err(|error| failed(&error))?;
    let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).map_err(|error| failed(&error))?;
    Ok(hex(pair.public_key().as_ref()))
}

/// Signs a component, or a bundle as a whole: writes `FILE.sig`.
///
/// # Errors
///
/// If key or component cannot be read, or the signature cannot be written.
pub fn sign(key: &Path, component: &Path) -> Result<(), KeyError> {
    let failed = |path: &Path, reason: &dyn ToString| KeyError::new(path.display().to_string(), reason.to_string());
    let text = fs::read_to_string(key).map_err(|error| failed(key, &error))?;
    let secret = from_hex(text.trim()).and_then(|secret| Ed25519KeyPair::from_pkcs8(&secret).ok());
    let pair = secret.ok_or_else(|| failed(key, &"it is no key that `plinth key` made"))?;
    let message = if bundle::is_bundle(component).map_err(|error| failed(component, &error))? {
        let bundle = Bundle::open(component).map_err(|error| failed(component, &error))?;
        [BUNDLE, bundle.digest().as_bytes()].concat()
    } else {
        message(&Digest::of(&fs::read(component).map_err(|error| failed(component, &error))?))
    };
    let signature = pair.sign(&message);
    let beside = beside(component);
    fs::write(&beside, format!("{}\n", hex(signature.as_ref()))).map_err(|error| failed(&beside, &error))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair.filter(|pair| !pair.starts_with('+'))?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_file_and_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("a.wasm"), folder.path().join("key"));
        fs::write(&file, "one").unwrap();
        let public = make_key(&key).unwrap();
        assert!(make_key(&key).is_err(), "a key is not written over");
        let keys = Keys::parse(&format!("[teams]\na = [\"{public}\"]\n")).unwrap();
        assert_eq!(signature_of(&file), None);
        assert!(matches!(keys.signers(&Digest::of(b"one"), None), Err(Problem::Unsigned)));
        sign(&key, &file).unwrap();
        let signature = signature_of(&file);
        assert_eq!(keys.signers(&Digest::of(b"one"), signature.as_deref()).unwrap(), ["a"]);
        assert!(matches!(keys.signers(&Digest::of(b"two"), signature.as_deref()), Err(Problem::WrongSignature)));
        let other = make_key(&folder.path().join("other")).unwrap();
        let others = Keys::parse(&format!("[teams]\nb = [\"{other}\"]\n")).unwrap();
        assert!(matches!(others.signers(&Digest::of(b"one"), signature.as_deref()), Err(Problem::WrongSignature)));
        assert!(Keys::of_team(Some("a"), &["a"]).is_ok());
        for team in [Some("b"), None] {
            assert!(matches!(Keys::of_team(team, &["a"]), Err(Problem::OtherTeam { .. })));
        }
    }

    #[test]
    fn what_is_no_keys_file_is_refused() {
        for text in ["", "[teams]\n", "[teams]\na = []\n", "[teams]\na = [\"00\"]\n", "[teams]\na = [\"zz\"]\n", "[team]\n"] {
            assert!(Keys::parse(text).is_err(), "{text}");
        }
        assert_eq!(from_hex("+f"), None);
        assert_eq!(from_hex("0aFF"), Some(vec![10, 255]));
    }
}
