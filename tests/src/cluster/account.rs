//! [`Account`]: who runs a server, which refuses to be run by root.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Tried in this order.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// A user and a group.
#[derive(Debug)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// Whose the server is to be; `None` if it can be run by who runs this.
    pub(super) fn of_server() -> io::Result<Option<Self>> {
        if id(&["-u"]) != Some(0) {
            return Ok(None);
        }
        let account = |name| {
            Some(Self {
                user: id(&["-u", name])?,
                group: id(&["-g", name])?,
            })
        };
        match NAMES.into_iter().find_map(account) {
            Some(account) => Ok(Some(account)),
            None => Err(io::Error::other(
                "root cannot run PostgreSQL, and there is no user `postgres` or `nobody` to run it",
            )),
        }
    }

    /// Lets this account run a command; only root may ask for it.
    pub(super) fn run(&self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    let number = String::from_utf8(output.stdout).ok()?;
    number.trim().parse().ok()
}
