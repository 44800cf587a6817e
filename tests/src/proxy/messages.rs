//! [`Messages`]: reads along what a client says to PostgreSQL.

use std::collections::HashMap;

/// The bytes before a message's payload: its letter and its length.
const HEAD: usize = 5;
/// What a client says instead of a startup message when it asks for encryption.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// The statements that a client has asked for, as far as its bytes have come.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// What has come of a message that is not whole yet.
    rest: Vec<u8>,
    started: bool,
    /// The texts of the prepared statements, by name.
    prepared: HashMap<String, String>,
    /// The statement that was bound last.
    bound: String,
}

impl Messages {
    /// Reads on. Whether a statement that is to be run now was found by `wanted`, which is shown
    /// the text of each.
    pub(crate) fn read(&mut self, bytes: &[u8], wanted: impl Fn(&str) -> bool) -> bool {
        self.rest.extend_from_slice(bytes);
        let mut found = false;
        loop {
            if !self.started {
                let Some(message) = self.take(0) else { break };
                let code = number(&message, 4);
                self.started = !code.is_some_and(|code| ENCRYPTION_REQUESTS.contains(&code));
                continue;
            }
            let Some(message) = self.take(1) else { break };
            let mut texts = message[HEAD..]
                .split(|byte| *byte == 0)
                .map(|text| String::from_utf8_lossy(text).into_owned());
            let mut text = || texts.next().unwrap_or_default();
            match message[0] {
                b'Q' => found |= wanted(&text()),
                b'P' => {
                    let (name, sql) = (text(), text());
                    self.prepared.insert(name, sql);
                }
                b'B' => {
                    let (_portal, name) = (text(), text());
                    self.bound = self.prepared.get(&name).cloned().unwrap_or_default();
                }
                b'E' => found |= wanted(&self.bound),
                _ => {}
            }
        }
        found
    }

    /// The next message, if all of it has come; its length stands at this place.
    fn take(&mut self, place: usize) -> Option<Vec<u8>> {
        let length = place + number(&self.rest, place)? as usize;
        if self.rest.len() < length.max(HEAD) {
            return None;
        }
        let rest = self.rest.split_off(length);
        Some(std::mem::replace(&mut self.rest, rest))
    }
}

fn number(bytes: &[u8], place: usize) -> Option<u32> {
    let bytes = bytes.get(place..place + 4)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(letter: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() + 4) as u32;
        [letter, &length.to_be_bytes()[..], payload].concat()
    }

    #[test]
    fn a_statement_is_found_when_it_is_run_however_its_bytes_come() {
        let bytes = [
            message(b"", &ENCRYPTION_REQUESTS[0].to_be_bytes()),
            message(b"", b"\0\x03\0\0user\0me\0\0"),
            message(b"P", b"s1\0COMMIT\0\0\0"),
            message(b"S", b""),
            message(b"B", b"\0s1\0\0\0\0\0\0\0"),
            message(b"E", b"\0\0\0\0\0"),
        ]
        .concat();
        for size in 1..=bytes.len() {
            let mut messages = Messages::default();
            let mut found = bytes
                .chunks(size)
                .map(|chunk| messages.read(chunk, |text| text == "COMMIT"))
                .collect::<Vec<_>>();
            assert_eq!(found.pop(), Some(true), "chunks of {size}");
            assert!(!found.contains(&true));
            assert!(messages.read(&message(b"Q", b"COMMIT\0"), |text| text == "COMMIT"));
            assert!(!messages.read(&message(b"Q", b"SELECT 1\0"), |text| text == "COMMIT"));
        }
    }
}
