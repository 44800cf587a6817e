//! [`Shell`]: a shell that runs a server's commands and outlives its test process.
//!
//! It reads commands from a pipe whose other end is held by the test process alone. So what its
//! script cleans up at the end of its input also goes when that process is killed, and a drop is no
//! other way.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Answers one line for each line it is asked. Its end cleans up, and is waited for by a drop.
#[derive(Debug)]
pub(crate) struct Shell {
    child: Child,
    /// `None` once it is told to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    /// Starts a script with these arguments. `prepare` says whose it is to be, and what of the
    /// environment it must not see.
    pub(crate) fn start(
        script: &str,
        arguments: &[&OsStr],
        prepare: impl FnOnce(&mut Command) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .env("LC_ALL", "C")
            // a terminal's Ctrl-C is not for it
            .process_group(0);
        prepare(&mut command)?;
        let mut child = command.spawn()?;
        let piped = "both ends were asked to be pipes";
        Ok(Self {
            commands: Some(child.stdin.take().expect(piped)),
            answers: BufReader::new(child.stdout.take().expect(piped)),
            child,
        })
    }

    /// Has it read a line, and waits for its answer.
    pub(crate) fn ask(&mut self, line: &str) -> io::Result<String> {
        let commands = self.commands.as_mut().ok_or_else(gone)?;
        writeln!(commands, "{line}")?;
        self.answer()
    }

    /// The next line that it says.
    pub(crate) fn answer(&mut self) -> io::Result<String> {
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

/// The argument as one word of a command.
pub(crate) fn quoted(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}
