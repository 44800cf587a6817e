//! [`Keeper`]: a shell that runs a cluster's commands and outlives its test process.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use super::account::Account;
use super::binaries::Binaries;

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

#[derive(Debug)]
struct Shell {
    child: Child,
    /// `None` once it is told to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Makes a directory that belongs to whoever will run the server.
    pub(super) fn start(binaries: Binaries) -> io::Result<Self> {
        let mut shell = Shell::start(&binaries)?;
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

impl Shell {
    fn start(binaries: &Binaries) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "sh"])
            .arg(env::temp_dir())
            .arg(binaries.directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .env("LC_ALL", "C")
            // a terminal's Ctrl-C is not for it
            .process_group(0);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Some(account) = Account::of_server()? {
            account.run(&mut command);
        }
        let mut child = command.spawn()?;
        let piped = "both ends were asked to be pipes";
        Ok(Self {
            commands: Some(child.stdin.take().expect(piped)),
            answers: BufReader::new(child.stdout.take().expect(piped)),
            child,
        })
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        let commands = self.commands.as_mut().ok_or_else(gone)?;
        writeln!(commands, "{line}")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(gone());
        }
        Ok(line.trim_end_matches('\n').to_owned())
    }
}

impl Drop for Shell {
    /// The end of its input tells the shell to clean up.
    fn drop(&mut self) {
        drop(self.commands.take());
        // it can only be that somebody else ended it
        let _ = self.child.wait();
    }
}

fn gone() -> io::Error {
    io::Error::other("the shell that keeps the server has ended, or found no directory to write in")
}

fn quoted(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}
