//! [`Unpack`]: answers of scripts that come as one string in MessagePack.
//!
//! A script's nested lists would travel as thousands of small frames, which the driver reads anew
//! with every piece that arrives. One string is one frame. What is read here is what Redis's
//! `cmsgpack.pack` writes of strings, whole numbers, false and lists; see
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use bytes::Bytes;
use larder_core::Result;

use crate::error::unreadable;

/// Reads one thing after the other.
#[derive(Debug)]
pub(crate) struct Unpack {
    rest: Bytes,
}

impl Unpack {
    pub(crate) fn new(answer: Bytes) -> Self {
        Self { rest: answer }
    }

    /// A list's length; its elements follow.
    pub(crate) fn list(&mut self) -> Result<usize> {
        match self.byte()? {
            tag @ 0x90..=0x9f => Ok(usize::from(tag & 0x0f)),
            0x80 => Ok(0), // an empty table is neither list nor map
            0xdc => self.number(2),
            0xdd => self.number(4),
            _ => Err(unreadable()),
        }
    }

    /// A string; `None` for false.
    pub(crate) fn text(&mut self) -> Result<Option<Bytes>> {
        let len = match self.byte()? {
            0xc0 | 0xc2 => return Ok(None),
            tag @ 0xa0..=0xbf => usize::from(tag & 0x1f),
            0xd9 | 0xc4 => self.number(1)?,
            0xda | 0xc5 => self.number(2)?,
            0xdb | 0xc6 => self.number(4)?,
            _ => return Err(unreadable()),
        };
        if len > self.rest.len() {
            return Err(unreadable());
        }
        Ok(Some(self.rest.split_to(len)))
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&mut self) -> Result<usize> {
        match self.byte()? {
            tag @ 0..=0x7f => Ok(usize::from(tag)),
            0xcc | 0xd0 => self.number(1),
            0xcd | 0xd1 => self.number(2),
            0xce | 0xd2 => self.number(4),
            0xcf | 0xd3 => self.number(8),
            _ => Err(unreadable()),
        }
    }

    fn number(&mut self, bytes: usize) -> Result<usize> {
        (0..bytes).try_fold(0, |number, _| Ok((number << 8) | usize::from(self.byte()?)))
    }

    fn byte(&mut self) -> Result<u8> {
        if self.rest.is_empty() {
            return Err(unreadable());
        }
        Ok(self.rest.split_to(1)[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_texts_and_counts_are_read() -> Result<()> {
        // { "ab", false, 300, {}, ("x" 40 times) }
        let mut bytes = vec![
            0x95, 0xa2, b'a', b'b', 0xc2, 0xcd, 0x01, 0x2c, 0x90, 0xd9, 40,
        ];
        bytes.extend([b'x'; 40]);
        let mut answer = Unpack::new(bytes.clone().into());
        assert_eq!(answer.list()?, 5);
        assert_eq!(answer.text()?.as_deref(), Some(&b"ab"[..]));
        assert_eq!(answer.text()?, None);
        assert_eq!(answer.count()?, 300);
        assert_eq!(answer.list()?, 0);
        assert_eq!(answer.text()?.map(|text| text.len()), Some(40));
        assert!(answer.rest.is_empty());
        for cut in 0..bytes.len() {
            let mut answer = Unpack::new(bytes[..cut].to_vec().into());
            let whole = (answer.list(), answer.text(), answer.text(), answer.count());
            let more = (answer.list(), answer.text());
            assert!(more.1.is_err(), "{whole:?} {more:?}");
        }
        Ok(())
    }
}
