//! The server's messages, told apart where the bytes pass: a kind, a length that counts itself, a body.

/// Puts messages together that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The begin of a message that has not come whole.
    begun: Vec<u8>,
}

impl Pieces {
    /// Takes what came, and calls `each` with every message that is whole now.
    pub(super) fn join(&mut self, came: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = came;
        while !self.begun.is_empty() {
            let missing = length(&self.begun).unwrap_or(HEADER).saturating_sub(self.begun.len());
            if missing == 0 {
                each(&self.begun);
                self.begun.clear();
                break;
            }
            let Some((piece, after)) = rest.split_at_checked(missing) else {
                self.begun.extend_from_slice(rest);
                return;
            };
            self.begun.extend_from_slice(piece);
            rest = after;
        }
        while let Some((message, after)) = length(rest).and_then(|length| rest.split_at_checked(length)) {
            each(message);
            rest = after;
        }
        self.begun.extend_from_slice(rest);
    }
}

const HEADER: usize = 5;

/// The length of the message that some bytes begin with, if they say it already.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(bytes.get(1..HEADER)?.try_into().ok()?);
    Some(usize::try_from(length).ok()?.saturating_add(1).max(HEADER))
}
