//! What to run, from the files and the history.

use std::time::Duration;

use super::{Migration, Migrations, Script, label, script};
use crate::error::{Error, ErrorKind, Result};
use crate::types::Timestamp;

/// One row of the history: a migration that the database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    version: i32,
    name: String,
    applied_at: Timestamp,
    checksum: u64,
}

/// How a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationState {
    /// Not applied yet.
    Pending,
    /// Applied, and the file is the one that was applied.
    Applied,
    /// Applied, but the file has changed since.
    Changed,
    /// Applied, but there is no such file.
    Missing,
    /// Not applied, though one with a higher number is.
    OutOfOrder,
    /// A file without a transaction was begun, forward or back, and is not finished. Running the
    /// same command again goes on with it, or says what has to be settled by hand.
    Dirty,
}

/// One line of a status report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The number.
    pub version: i32,
    /// The words of the file name.
    pub name: String,
    /// How it stands.
    pub state: MigrationState,
    /// When it was applied, if it was.
    pub applied_at: Option<Timestamp>,
}

/// A migration that was just applied, or undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationRun {
    /// The number.
    pub version: i32,
    /// The words of the file name.
    pub name: String,
    /// How long it took.
    pub took: Duration,
}

/// A way back as it was stored when the migration was applied, so that a program that does not
/// know the migration can undo it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDown {
    /// The migration's number.
    pub version: i32,
    /// The down script's text, if there was one.
    pub text: Option<String>,
    /// The [checksum](Rollback::checksum) of the text.
    pub checksum: Option<u64>,
    /// Why there is no way back, if the migration said so.
    pub irreversible: Option<String>,
}

/// One step back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    version: i32,
    name: String,
    script: Script,
}

impl AppliedMigration {
    /// Reads a row of refinery's history table.
    ///
    /// `Corrupt` if the time is not RFC 3339 or the checksum not a number: someone else wrote it.
    pub fn parse(version: i32, name: String, applied_on: &str, checksum: &str) -> Result<Self> {
        let damaged = |what: &str| {
            let label = label(version, &name);
            Error::new(
                ErrorKind::Corrupt,
                format!("the history row of `{label}` has {what}; repair the row by hand"),
            )
            .with_table("refinery_schema_history")
        };
        let applied_at = applied_on
            .parse()
            .map(Timestamp::truncated)
            .map_err(|_| damaged("a time that is not RFC 3339"))?;
        let checksum = checksum
            .parse()
            .map_err(|_| damaged("a checksum that is not a number"))?;
        Ok(Self {
            version,
            name,
            applied_at,
            checksum,
        })
    }

    /// The number.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The words of the file name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Rollback {
    /// The number of the migration to undo.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The words of its file name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number and name: `V3__add_slug`.
    pub fn label(&self) -> String {
        label(self.version, &self.name)
    }

    /// What to run.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The checksum to store with a migration's down script.
    pub fn checksum(migration: &Migration) -> Option<u64> {
        migration
            .down
            .as_ref()
            .map(|down| script::checksum(migration.version, &migration.name, down.text()))
    }
}

impl Migrations {
    /// How every migration stands, those of the set and those of the history, lowest number
    /// first. `applied` is in any order.
    pub fn status(&self, applied: &[AppliedMigration]) -> Vec<MigrationStatus> {
        let newest = applied.iter().map(|row| row.version).max();
        let known = self.iter().map(|one| {
            let row = applied.iter().find(|row| row.version == one.version);
            let state = match row {
                Some(row) if row.is_of(one) => MigrationState::Applied,
                Some(_) => MigrationState::Changed,
                None if newest > Some(one.version) => MigrationState::OutOfOrder,
                None => MigrationState::Pending,
            };
            let applied_at = row.map(|row| row.applied_at);
            MigrationStatus {
                version: one.version,
                name: one.name.clone(),
                state,
                applied_at,
            }
        });
        let missing = applied
            .iter()
            .filter(|row| self.get(row.version).is_none())
            .map(|row| MigrationStatus {
                version: row.version,
                name: row.name.clone(),
                state: MigrationState::Missing,
                applied_at: Some(row.applied_at),
            });
        let mut all: Vec<_> = known.chain(missing).collect();
        all.sort_by_key(|status| status.version);
        all
    }

    /// What to apply, in order, to reach `target` (the newest if `None`).
    ///
    /// `Schema` if the history and the files disagree anywhere, naming the file and what to do;
    /// `Misuse` if the target is not in the set.
    pub fn pending(
        &self,
        applied: &[AppliedMigration],
        target: Option<i32>,
    ) -> Result<Vec<&Migration>> {
        if let Some(target) = target
            && self.get(target).is_none()
        {
            return Err(Error::misuse(format!("there is no migration V{target}")));
        }
        let mut pending = Vec::new();
        for status in self.status(applied) {
            status.refuse_divergence()?;
            let wanted = target.is_none_or(|target| status.version <= target);
            if status.state == MigrationState::Pending && wanted {
                pending.extend(self.get(status.version));
            }
        }
        Ok(pending)
    }

    /// What to undo, newest first, so that nothing above `keep` stays applied; 0 undoes all.
    ///
    /// The way back is the set's own where its file is the one that was applied (so a faulty down
    /// script can be corrected), else the stored one. The whole range is checked: `Misuse` if one
    /// step has no way back, `Corrupt` if a stored script does not match its checksum.
    pub fn rollback(
        &self,
        applied: &[AppliedMigration],
        stored: &[StoredDown],
        keep: i32,
    ) -> Result<Vec<Rollback>> {
        let mut range: Vec<_> = applied.iter().filter(|row| row.version > keep).collect();
        range.sort_by_key(|row| std::cmp::Reverse(row.version));
        range
            .into_iter()
            .map(|row| {
                let script = self.way_back(row, stored)?;
                Ok(Rollback {
                    version: row.version,
                    name: row.name.clone(),
                    script,
                })
            })
            .collect()
    }

    fn way_back(&self, row: &AppliedMigration, stored: &[StoredDown]) -> Result<Script> {
        let label = label(row.version, &row.name);
        let file = self.get(row.version).filter(|one| row.is_of(one));
        let stored = stored.iter().find(|down| down.version == row.version);
        if let Some(down) = file.and_then(Migration::down) {
            return Ok(down.clone());
        }
        let reason = file
            .and_then(|one| one.up.directives().irreversible.as_ref())
            .or_else(|| stored.and_then(|down| down.irreversible.as_ref()));
        if let Some(reason) = reason {
            return Err(Error::misuse(format!(
                "`{label}` cannot be undone: {reason}. Nothing was undone"
            )));
        }
        if let Some(text) = stored.and_then(|down| down.text.as_deref()) {
            if stored.and_then(|down| down.checksum)
                != Some(script::checksum(row.version, &row.name, text))
            {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("the stored down script of `{label}` was altered. Nothing was undone"),
                ));
            }
            return Script::parse(&format!("{label}.down.sql"), text);
        }
        Err(Error::misuse(format!(
            "`{label}` has no down script; write `{label}.down.sql`. Nothing was undone"
        )))
    }
}

impl AppliedMigration {
    fn is_of(&self, migration: &Migration) -> bool {
        self.name == migration.name && self.checksum == migration.checksum()
    }
}

impl MigrationRun {
    /// The number and name: `V3__add_slug`.
    pub fn label(&self) -> String {
        label(self.version, &self.name)
    }
}

impl MigrationStatus {
    /// The number and name: `V3__add_slug`.
    pub fn label(&self) -> String {
        label(self.version, &self.name)
    }

    fn refuse_divergence(&self) -> Result<()> {
        let label = self.label();
        let message = match self.state {
            MigrationState::Pending | MigrationState::Applied => return Ok(()),
            MigrationState::Changed => format!(
                "`{label}.sql` has changed since it was applied; restore the file and put the \
                 change into a new migration, or undo the migration and apply it again"
            ),
            MigrationState::Missing => format!(
                "the database has `{label}`, but there is no such file; restore it, or undo it \
                 with `migrate down` if this program is older than the database"
            ),
            MigrationState::OutOfOrder => format!(
                "`{label}.sql` is not applied, though a higher number is; give it the next free \
                 number"
            ),
            MigrationState::Dirty => format!(
                "`{label}` was begun and is not finished; run the same command again, which goes \
                 on with it or says what has to be settled by hand"
            ),
        };
        Err(Error::new(ErrorKind::Schema, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> Migrations {
        Migrations::from_files(files).expect("valid files")
    }

    fn applied(set: &Migrations, versions: &[i32]) -> Vec<AppliedMigration> {
        let row = |version: &i32| {
            let one = set.get(*version).expect("the version is in the set");
            let checksum = one.checksum().to_string();
            AppliedMigration::parse(
                *version,
                one.name.clone(),
                "2024-05-06T07:08:09.123456789Z",
                &checksum,
            )
            .expect("a valid row")
        };
        versions.iter().map(row).collect()
    }

    fn states(set: &Migrations, applied: &[AppliedMigration]) -> Vec<(i32, MigrationState)> {
        set.status(applied)
            .iter()
            .map(|line| (line.version, line.state))
            .collect()
    }

    #[test]
    fn every_disagreement_has_its_state_and_its_sentence() {
        use MigrationState::*;
        let old = set(&[("V1__a.sql", "1"), ("V3__c.sql", "3"), ("V4__d.sql", "4")]);
        let history = applied(&old, &[1, 3, 4]);
        let new = set(&[
            ("V1__a.sql", "1"),
            ("V2__b.sql", "2"),
            ("V3__c.sql", "!"),
            ("V5__e.sql", "5"),
        ]);
        assert_eq!(
            states(&new, &history),
            [
                (1, Applied),
                (2, OutOfOrder),
                (3, Changed),
                (4, Missing),
                (5, Pending)
            ]
        );
        let error = new.pending(&history, None).expect_err("they disagree");
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.to_string().contains("`V2__b.sql`"));
        assert!(
            new.pending(&[], Some(9))
                .expect_err("no such target")
                .is_misuse()
        );
    }

    #[test]
    fn a_target_limits_what_is_pending() {
        let set = set(&[("V1__a.sql", "1"), ("V2__b.sql", "2"), ("V3__c.sql", "3")]);
        let labels = |target| -> Vec<_> {
            let pending = set
                .pending(&applied(&set, &[1]), target)
                .expect("they agree");
            pending.into_iter().map(Migration::version).collect()
        };
        assert_eq!(labels(None), [2, 3]);
        assert_eq!(labels(Some(2)), [2]);
        assert!(labels(Some(1)).is_empty());
    }

    #[test]
    fn the_way_back_is_the_files_own_or_the_stored_one() {
        let old = set(&[
            ("V1__a.sql", "1"),
            ("V2__b.sql", "2"),
            ("V2__b.down.sql", "old"),
        ]);
        let history = applied(&old, &[2]);
        let two = old.get(2).expect("it is in the set");
        let mut stored = StoredDown {
            version: 2,
            text: Some("old".to_owned()),
            checksum: Rollback::checksum(two),
            irreversible: None,
        };
        let back = |set: &Migrations, stored: &StoredDown| {
            let plan = set.rollback(&history, std::slice::from_ref(stored), 1)?;
            Ok::<_, Error>(plan[0].script.text().to_owned())
        };
        let corrected = set(&[("V2__b.sql", "2"), ("V2__b.down.sql", "new")]);
        let changed = set(&[("V2__b.sql", "!"), ("V2__b.down.sql", "new")]);
        assert_eq!(back(&corrected, &stored).expect("a way back"), "new");
        assert_eq!(back(&changed, &stored).expect("a way back"), "old");
        assert_eq!(
            back(&Migrations::default(), &stored).expect("a way back"),
            "old"
        );
        stored.text = Some("altered".to_owned());
        let error = back(&Migrations::default(), &stored).expect_err("it was altered");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
