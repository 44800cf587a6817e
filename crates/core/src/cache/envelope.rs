//! What stands around a cached value: how it was written, and a checksum.
//!
//! ```text
//!   0    2  "LC"            4    4  microseconds that loading took, little-endian
//!   2    1  version, 1      8    4  CRC-32 of all the rest
//!   3    1  flags           12   .. the value by its codec, compressed or not
//! ```

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before the value.
const HEAD: usize = 12;
const MAGIC: [u8; 3] = [b'L', b'C', 1];
const COMPRESSED: u8 = 1;
const ABSENT: u8 = 2;
const JSON: u8 = 4;
const KNOWN: u8 = COMPRESSED | ABSENT | JSON;

/// How values become bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// [postcard](https://docs.rs/postcard): small and quick. It cannot read types that ask what comes
    /// next: `#[serde(untagged)]`, `#[serde(flatten)]`, `#[serde(skip_serializing_if)]`, JSON values.
    #[default]
    Compact,
    /// JSON: takes every type that serde_json takes, and can be looked at.
    Json,
}

/// What is known of bytes before the value in them is read.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    flags: u8,
    /// How long it took to load.
    pub(super) cost: Duration,
    body: Bytes,
}

/// What a cached value turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    Value(T),
    /// That there is none.
    Absent,
}

/// Writes a value, or that there is none. `None` if it cannot be written, or takes more than
/// `bytes_max`.
pub(super) fn seal<T: Serialize>(
    value: Option<&T>,
    codec: Codec,
    cost: Duration,
    compress_from: usize,
    bytes_max: usize,
) -> Option<Bytes> {
    let mut flags = if codec == Codec::Json { JSON } else { 0 };
    let mut body = match (value, codec) {
        (None, _) => {
            flags |= ABSENT;
            Vec::new()
        }
        (Some(value), Codec::Compact) => postcard::to_stdvec(value).ok()?,
        (Some(value), Codec::Json) => serde_json::to_vec(value).ok()?,
    };
    if body.len() > bytes_max {
        return None;
    }
    if body.len() >= compress_from {
        let smaller = lz4_flex::compress_prepend_size(&body);
        if smaller.len() < body.len() {
            body = smaller;
            flags |= COMPRESSED;
        }
    }
    let cost = u32::try_from(cost.as_micros()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.push(flags);
    bytes.extend_from_slice(&cost.to_le_bytes());
    bytes.extend_from_slice(&checksum(flags, cost, &body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Some(bytes.into())
}

/// Checks bytes that were kept; `None` if they are not what was written.
pub(super) fn open(bytes: &Bytes, bytes_max: usize) -> Option<Opened> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let (magic, flags) = (&head[..3], head[3]);
    let cost = u32::from_le_bytes(head[4..8].try_into().ok()?);
    let crc = u32::from_le_bytes(head[8..].try_into().ok()?);
    if magic != MAGIC || flags & !KNOWN != 0 || checksum(flags, cost, body) != crc {
        return None;
    }
    let body = match flags & COMPRESSED {
        0 => bytes.slice(HEAD..),
        _ => expand(body, bytes_max)?.into(),
    };
    Some(Opened {
        flags,
        cost: Duration::from_micros(u64::from(cost)),
        body,
    })
}

impl Opened {
    /// Reads the value; `None` if the bytes are not one of this type.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Option<Read<T>> {
        if self.flags & ABSENT != 0 {
            return Some(Read::Absent);
        }
        let value = match self.flags & JSON {
            0 => {
                let (value, rest) = postcard::take_from_bytes(&self.body).ok()?;
                rest.is_empty().then_some(value)?
            }
            _ => serde_json::from_slice(&self.body).ok()?,
        };
        Some(Read::Value(value))
    }

    /// What it takes in memory.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }
}

/// Undoes the compression. The length that it claims is looked at before room is made for it.
fn expand(body: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let (size, body) = lz4_flex::block::uncompressed_size(body).ok()?;
    if size > bytes_max {
        return None;
    }
    lz4_flex::block::decompress(body, size).ok()
}

fn checksum(flags: u8, cost: u32, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[flags]);
    crc.update(&cost.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;
    const COST: Duration = Duration::from_micros(1234);

    fn sealed(text: &str, codec: Codec) -> Bytes {
        seal(Some(&text.to_owned()), codec, COST, 1024, MAX).expect("fits")
    }

    fn read(bytes: &Bytes) -> Option<Read<String>> {
        open(bytes, MAX)?.read()
    }

    #[test]
    fn what_was_written_is_read() {
        for text in ["", "short", &"long ".repeat(1000)] {
            for codec in [Codec::Compact, Codec::Json] {
                let bytes = sealed(text, codec);
                assert_eq!(read(&bytes), Some(Read::Value(text.to_owned())));
                assert_eq!(open(&bytes, MAX).map(|opened| opened.cost), Some(COST));
            }
        }
        let none = seal::<String>(None, Codec::Compact, COST, 1024, MAX).expect("fits");
        assert_eq!(read(&none), Some(Read::Absent));
    }

    #[test]
    fn long_values_are_compressed_and_too_long_ones_refused() {
        let text = "again ".repeat(1000);
        assert!(sealed(&text, Codec::Compact).len() < text.len() / 10);
        assert_eq!(
            seal(Some(&text), Codec::Compact, COST, 1024, text.len()),
            None
        );
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        for text in ["short", &"long ".repeat(300)] {
            let bytes = sealed(text, Codec::Compact);
            for at in 0..bytes.len() * 8 {
                let mut flipped = bytes.to_vec();
                flipped[at / 8] ^= 1 << (at % 8);
                assert_eq!(read(&flipped.into()), None, "bit {at}");
            }
            for length in 0..bytes.len() {
                assert_eq!(read(&bytes.slice(..length)), None, "cut at {length}");
            }
        }
    }

    #[test]
    fn a_claimed_length_makes_no_room() {
        let body = [&u32::MAX.to_le_bytes()[..], b"x"].concat();
        assert_eq!(expand(&body, MAX), None);
    }

    #[test]
    fn another_type_is_not_read() {
        let bytes = sealed("text", Codec::Compact);
        assert!(open(&bytes, MAX).is_some_and(|opened| opened.read::<(u8, u8)>().is_none()));
    }
}
