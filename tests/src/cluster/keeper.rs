//! [`Keeper`]: runs a cluster's commands, in a shell that outlives its test process.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use super::account::Account;
use super::binaries::Binaries;
use crate::shell::{Shell, quoted};

/// The server's data within the directory.
pub(super) const DATA: &str = "data";
/// What the last command said, within the directory.
const OUTPUT: &str = "output";

/// `$1`: where to make the directory; `$2`: PostgreSQL's programs.
///
/// Writing an answer that nobody waits for must not end it: hence no PIPE signal. The other
/// signals are for the test process, whose end it notices.
const SCRIPT: &str = r#"
trap '' HUP INT PIPE TERM
directory=$(mktemp -d "$1/larder-postgres-XXXXXX" || mktemp -d /tmp/larder-postgres-XXXXXX) || exit
echo "$directory"
while read -r line; do
    eval "$line" >"$directory/output" 2>&1 </dev/null
    echo $?
done
"$2/pg_ctl" -D "$directory/data" -m immediate stop >/dev/null 2>&1
rm -rf "$directory" || { sleep 1; rm -rf "$directory"; }
"#;

/// Runs PostgreSQL's programs one after the other. When it is dropped, or its process ended, it
/// stops the server and removes its directory.
#[derive(Debug)]
pub(super) struct Keeper {
    shell: Mutex<Shell>,
    binaries: Binaries,
    directory: PathBuf,
}

impl Keeper {
    /// Makes a directory that belongs to whoever will run the server.
    pub(super) fn start(binaries: Binaries) -> io::Result<Self> {
        let arguments = [
            env::temp_dir().into_os_string(),
            binaries.directory().as_os_str().to_owned(),
        ];
        let mut shell = Shell::start(
            SCRIPT,
            &arguments.each_ref().map(AsRef::as_ref),
            |command| {
                forget_settings(command);
                if let Some(account) = Account::of_server()? {
                    account.run(command);
                }
                Ok(())
            },
        )?;
        let directory = shell.answer()?.into();
        Ok(Self {
            shell: Mutex::new(shell),
            binaries,
            directory,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a program to its end. What it printed is part of the error if it fails.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> io::Result<()> {
        let path = self.binaries.directory().join(program);
        let mut line = quoted(&path.to_string_lossy());
        for argument in arguments {
            line.push(' ');
            line.push_str(&quoted(argument));
        }
        // held until the answer is there, so that answers meet their questions
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let status = shell.ask(&line)?;
        if status == "0" {
            return Ok(());
        }
        let output = fs::read_to_string(self.directory.join(OUTPUT)).unwrap_or_default();
        Err(io::Error::other(format!(
            "{program} failed ({status}): {}",
            output.trim()
        )))
    }
}

/// A server of the tests must not take settings of the person who runs them.
fn forget_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}
