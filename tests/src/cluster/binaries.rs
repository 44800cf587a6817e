//! [`Binaries`]: where PostgreSQL's programs are.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Where Debian and Ubuntu keep them, outside of `PATH`: one directory per version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// A client's package has `pg_config` and `pg_basebackup` alone.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// The directory of a PostgreSQL server's programs.
#[derive(Debug)]
pub(super) struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// Those of `pg_config`, else the newest that Debian's packages brought.
    pub(super) fn find() -> io::Result<Self> {
        Self::find_in(bindir("pg_config"), Path::new(DEBIAN))
    }

    fn find_in(configured: Option<PathBuf>, versions: &Path) -> io::Result<Self> {
        configured
            .into_iter()
            .chain(newest_first(versions))
            .find(|directory| NEEDED.iter().all(|name| directory.join(name).is_file()))
            .map(|directory| Self { directory })
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "no PostgreSQL server is installed: neither `pg_config --bindir` nor \
                     /usr/lib/postgresql/*/bin has initdb, pg_ctl and postgres. \
                     Run `sh scripts/setup.sh`, which installs them or says how, \
                     or name a running server in LARDER_TEST_POSTGRES_URL",
                )
            })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

fn bindir(pg_config: &str) -> Option<PathBuf> {
    let output = Command::new(pg_config).arg("--bindir").output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| directory.trim().into())
}

fn newest_first(versions: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(versions).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(directory: &Path, programs: &[&str]) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for name in programs {
            fs::write(directory.join(name), "")?;
        }
        Ok(())
    }

    #[test]
    fn a_machine_without_a_server_is_told_what_to_install() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let client = directory.path().join("15/bin");
        install(&client, &["pg_config", "psql"])?;
        let error =
            Binaries::find_in(Some(client), directory.path()).expect_err("a client is no server");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("sh scripts/setup.sh"), "{error}");
        assert_eq!(bindir("no-such-pg-config"), None);
        Ok(())
    }

    #[test]
    fn what_is_configured_comes_first_then_the_newest_version() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        for version in ["9", "15", "17"] {
            install(&directory.path().join(version).join("bin"), &NEEDED)?;
        }
        install(&directory.path().join("18/bin"), &["psql"])?;
        let nine = directory.path().join("9/bin");
        let found = Binaries::find_in(Some(nine.clone()), directory.path())?;
        assert_eq!(found.directory(), nine);
        let found = Binaries::find_in(None, directory.path())?;
        assert_eq!(found.directory(), directory.path().join("17/bin"));
        Ok(())
    }
}
