//! One file: what its name and its first line say.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use crate::error::{Error, Result};

/// The text of one file and what its first line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    text: String,
    directives: Directives,
}

/// What the first line of a file asks for. One directive per file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Directives {
    /// `-- no-transaction`: each statement on its own, for what cannot run in a transaction.
    pub no_transaction: bool,
    /// `-- rebuild`: the file makes a table anew and puts it in the place of the old one, which
    /// on SQLite needs foreign keys switched off so that the children are kept.
    pub rebuild: bool,
    /// `-- irreversible: why`: there is no way back, for this reason.
    pub irreversible: Option<String>,
}

impl Script {
    /// Reads a file's text; `file` is its name, for errors.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self> {
        let text = text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .replace("\r\n", "\n");
        let directives = Directives::parse(file, text.lines().next().unwrap_or_default())?;
        Ok(Self { text, directives })
    }

    /// The whole text, with `\n` line ends.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the first line asks for.
    pub fn directives(&self) -> &Directives {
        &self.directives
    }

    pub(super) fn refuse_irreversible(&self, file: &str) -> Result<()> {
        match self.directives.irreversible {
            None => Ok(()),
            Some(_) => Err(Error::misuse(format!(
                "`{file}` is a way back, so `-- irreversible` has no place in it; \
                 delete the file and put the line into the migration itself"
            ))),
        }
    }
}

impl Directives {
    fn parse(file: &str, line: &str) -> Result<Self> {
        let mut directives = Self::default();
        let Some(comment) = line.strip_prefix("--").map(str::trim) else {
            return Ok(directives);
        };
        match comment
            .split_once(':')
            .map_or((comment, None), |(word, why)| (word, Some(why)))
        {
            ("no-transaction", None) => directives.no_transaction = true,
            ("rebuild", None) => directives.rebuild = true,
            ("irreversible", why) => {
                let why = why.unwrap_or_default().trim();
                if why.is_empty() {
                    return Err(Error::misuse(format!(
                        "`{file}` has to say why there is no way back: `-- irreversible: why`"
                    )));
                }
                directives.irreversible = Some(why.to_owned());
            }
            _ => {}
        }
        Ok(directives)
    }
}

/// `V<version>__<name>.sql` or `V<version>__<name>.down.sql`.
pub(super) struct FileName {
    pub(super) version: i32,
    pub(super) name: String,
    pub(super) down: bool,
}

impl FileName {
    pub(super) fn parse(file: &str) -> Result<Self> {
        Self::read(file).ok_or_else(|| {
            Error::misuse(format!(
                "`{file}` is not named like a migration; name it `V<number>__<words>.sql`, or \
                 `V<number>__<words>.down.sql` for the way back, with a number from 1 to {} and \
                 letters, digits and `_` in the words",
                i32::MAX
            ))
        })
    }

    fn read(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".sql")?;
        let (stem, down) = match stem.strip_suffix(".down") {
            Some(stem) => (stem, true),
            None => (stem, false),
        };
        let (digits, name) = stem.strip_prefix('V')?.split_once("__")?;
        let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let worded = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let version = digits.parse().ok().filter(|&version| version > 0)?;
        (numeric && worded).then(|| Self {
            version,
            name: name.to_owned(),
            down,
        })
    }
}

/// Refinery's checksum of a migration: SipHash-1-3 of name, version and text.
pub(super) fn checksum(version: i32, name: &str, text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    name.hash(&mut hasher);
    version.hash(&mut hasher);
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let read = |file| FileName::read(file).map(|name| (name.version, name.name, name.down));
        assert_eq!(
            read("V3__add_slug.sql"),
            Some((3, "add_slug".to_owned(), false))
        );
        assert_eq!(
            read("V3__add_slug.down.sql"),
            Some((3, "add_slug".to_owned(), true))
        );
        let wrong = [
            "V3_add.sql",
            "V__add.sql",
            "V0__add.sql",
            "V+1__add.sql",
            "V1.5__add.sql",
            "V3__.sql",
            "V3__a-b.sql",
            "U3__add.sql",
            "V2147483648__add.sql",
            "v3__add.sql",
            "V3__add.up.sql",
        ];
        for file in wrong {
            assert!(FileName::parse(file).is_err(), "{file}");
        }
    }

    #[test]
    fn the_first_line_may_hold_a_directive() {
        let read = |text| Script::parse("V1__a.sql", text).expect("valid").directives;
        assert!(read("-- rebuild\nDROP TABLE a;").rebuild);
        assert!(read("--no-transaction\r\nVACUUM;").no_transaction);
        let why = read("-- irreversible: the old prices are gone\n").irreversible;
        assert_eq!(why.as_deref(), Some("the old prices are gone"));
        assert_eq!(read("-- rebuild the index\n"), Directives::default());
        assert_eq!(read("SELECT 1;\n-- rebuild"), Directives::default());
        assert!(Script::parse("V1__a.sql", "-- irreversible").is_err());
    }
}
