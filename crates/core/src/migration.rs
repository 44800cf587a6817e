//! Migrations as data: the files, what has been applied, and what follows from the two.
//!
//! Nothing here talks to a database. An engine reads its history table into
//! [`AppliedMigration`]s, asks a [`Migrations`] set what to run, and runs it.
//!
//! | file | holds |
//! |---|---|
//! | `V3__add_slug.sql` | the step forward |
//! | `V3__add_slug.down.sql` | the way back, if there is one |
//!
//! A first line may say more: `-- rebuild`, `-- no-transaction` or `-- irreversible: why`
//! (see [`Directives`]). Texts are kept with `\n` line ends whatever the file had, so that a
//! checkout on another system has the same checksum. History and checksums are those of refinery:
//! its command line reads the same files and agrees on what is applied.

mod facts;
mod plan;
mod script;

use std::collections::BTreeMap;
use std::path::Path;

pub use facts::Facts;
pub use plan::{
    AppliedMigration, MigrationRun, MigrationState, MigrationStatus, Rollback, StoredDown,
};
pub use script::{Directives, Script};

use crate::error::{Error, ErrorKind, Result};
use script::FileName;

/// One numbered step of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    version: i32,
    name: String,
    up: Script,
    down: Option<Script>,
}

impl Migration {
    /// Its number, from 1.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The words of its file name: `add_slug` of `V3__add_slug.sql`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number and name as in the file name: `V3__add_slug`.
    pub fn label(&self) -> String {
        label(self.version, &self.name)
    }

    /// The step forward.
    pub fn up(&self) -> &Script {
        &self.up
    }

    /// The way back, if a file gives one.
    pub fn down(&self) -> Option<&Script> {
        self.down.as_ref()
    }

    /// The checksum that refinery records for it.
    pub fn checksum(&self) -> u64 {
        script::checksum(self.version, &self.name, self.up.text())
    }
}

/// A set of migrations in order, each number once.
///
/// ```
/// use larder_core::migration::Migrations;
///
/// let set = Migrations::from_files(&[
///     ("V1__create_notes.sql", "CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT;"),
///     ("V1__create_notes.down.sql", "DROP TABLE notes;"),
/// ])?;
/// assert_eq!(set.iter().map(|one| one.label()).collect::<Vec<_>>(), ["V1__create_notes"]);
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrations {
    list: Vec<Migration>,
}

impl Migrations {
    /// The set of these files, given as name and text; the way to embed them with
    /// `include_str!`. The order does not matter.
    ///
    /// `Misuse` for a name that is not `V<number>__<words>.sql` or `.down.sql`, a number used
    /// twice, a down script without its migration, and a directive that makes no sense.
    pub fn from_files(files: &[(&str, &str)]) -> Result<Self> {
        let mut list = BTreeMap::new();
        let mut downs = BTreeMap::new();
        for &(file, text) in files {
            let FileName {
                version,
                name,
                down,
            } = FileName::parse(file)?;
            let script = Script::parse(file, text)?;
            if down {
                script.refuse_irreversible(file)?;
                downs.insert((version, name), script);
            } else if let Some(Migration { name: other, .. }) = list.insert(
                version,
                Migration {
                    version,
                    name: name.clone(),
                    up: script,
                    down: None,
                },
            ) {
                return Err(Error::misuse(format!(
                    "`{}` and `{}` have the same number; renumber one",
                    label(version, &other),
                    label(version, &name)
                )));
            }
        }
        for ((version, name), script) in downs {
            let migration = list.get_mut(&version).filter(|found| found.name == name);
            attach_down(migration, script, &label(version, &name))?;
        }
        Ok(Self {
            list: list.into_values().collect(),
        })
    }

    /// The set of the `.sql` files in a directory; subdirectories are not read. Blocks on the
    /// disk.
    ///
    /// `Unavailable` if the directory or a file cannot be read, else as
    /// [`from_files`](Self::from_files): a `.sql` file with another name is refused, not ignored.
    pub fn from_dir(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let mut files = Vec::new();
        let unreadable = |path: &Path, error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("`{}` cannot be read", path.display()),
            )
            .retryable(false)
            .with_source(error)
        };
        for entry in directory
            .read_dir()
            .map_err(|error| unreadable(directory, error))?
        {
            let path = entry.map_err(|error| unreadable(directory, error))?.path();
            if path.extension().is_some_and(|extension| extension == "sql") && path.is_file() {
                let text =
                    std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                files.push((name, text));
            }
        }
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        Self::from_files(&files)
    }

    /// The migrations, lowest number first.
    pub fn iter(&self) -> std::slice::Iter<'_, Migration> {
        self.list.iter()
    }

    /// The migration with this number.
    pub fn get(&self, version: i32) -> Option<&Migration> {
        let at = self
            .list
            .binary_search_by_key(&version, |one| one.version)
            .ok()?;
        Some(&self.list[at])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<'a> IntoIterator for &'a Migrations {
    type Item = &'a Migration;
    type IntoIter = std::slice::Iter<'a, Migration>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn attach_down(migration: Option<&mut Migration>, down: Script, label: &str) -> Result<()> {
    let Some(migration) = migration else {
        return Err(Error::misuse(format!(
            "`{label}.down.sql` has no `{label}.sql` beside it; rename it or delete it"
        )));
    };
    if migration.up.directives().irreversible.is_some() {
        return Err(Error::misuse(format!(
            "`{label}.sql` says that it is irreversible, yet `{label}.down.sql` exists; \
             keep one of the two"
        )));
    }
    migration.down = Some(down);
    Ok(())
}

fn label(version: i32, name: &str) -> String {
    format!("V{version}__{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(files: &[(&str, &str)]) -> String {
        let error = Migrations::from_files(files).expect_err("the files make no sense");
        assert_eq!(error.kind(), ErrorKind::Misuse);
        error.to_string()
    }

    #[test]
    fn sets_are_ordered_by_number() {
        let set = Migrations::from_files(&[
            ("V10__ten.sql", "SELECT 10"),
            ("V2__two.down.sql", "SELECT -2"),
            ("V2__two.sql", "SELECT 2"),
        ])
        .expect("the files make sense");
        assert_eq!(
            set.iter().map(Migration::label).collect::<Vec<_>>(),
            ["V2__two", "V10__ten"]
        );
        assert_eq!(
            set.get(2).and_then(Migration::down).map(Script::text),
            Some("SELECT -2")
        );
        assert!(set.get(3).is_none());
    }

    #[test]
    fn files_that_do_not_fit_together_are_refused() {
        assert!(refusal(&[("V1__a.sql", ""), ("V01__b.sql", "")]).contains("the same number"));
        assert!(refusal(&[("V1__a.down.sql", "")]).contains("no `V1__a.sql` beside it"));
        assert!(refusal(&[("V1__a.sql", ""), ("V1__b.down.sql", "")]).contains("beside it"));
        let both = [
            ("V1__a.sql", "-- irreversible: drops data"),
            ("V1__a.down.sql", ""),
        ];
        assert!(refusal(&both).contains("keep one of the two"));
    }

    #[test]
    fn line_ends_do_not_change_a_checksum() {
        let read = |text| Migrations::from_files(&[("V1__a.sql", text)]).expect("valid");
        let (unix, windows) = (
            read("SELECT 1;\nSELECT 2;\n"),
            read("SELECT 1;\r\nSELECT 2;\r\n"),
        );
        assert_eq!(unix, windows);
        assert_eq!(unix.list[0].checksum(), windows.list[0].checksum());
    }
}
