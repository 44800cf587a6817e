//! [`Failure`]: why a command did not do what it was asked, and the exit code that says so.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use larder::ErrorKind;

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// One sentence, its causes, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    causes: Vec<String>,
    /// What the sentence is about, on lines of its own.
    detail: Option<String>,
    advice: Option<String>,
}

/// How the process ends. Documented in `larder --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// The reader of standard output has gone: nothing is wrong.
    Unheard = 0,
    Operation = 1,
    Usage = 2,
    Input = 3,
    Interrupted = 130,
}

impl Failure {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            causes: Vec::new(),
            detail: None,
            advice: None,
        }
    }

    /// The operation failed.
    pub(crate) fn operation(message: impl Into<String>) -> Self {
        Self::new(Code::Operation, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// The command line makes no sense, says an error of the library.
    pub(crate) fn usage_of(error: larder::Error) -> Self {
        Self {
            code: Code::Usage,
            ..Self::from(error)
        }
    }

    /// Input data was refused.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(Code::Input, message)
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(
            Code::Interrupted,
            "interrupted; what was under way has been undone",
        )
    }

    /// Says what it is about: the message then begins with it.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds the cause, and its causes.
    pub(crate) fn because(mut self, cause: impl StdError) -> Self {
        self.causes.push(cause.to_string());
        self.add_sources(cause.source());
        self
    }

    /// Adds lines that show what the sentence is about.
    pub(crate) fn detail(mut self, lines: impl Into<String>) -> Self {
        self.detail = Some(lines.into());
        self
    }

    /// Adds what to do.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn add_sources(&mut self, mut source: Option<&(dyn StdError + 'static)>) {
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some errors repeat their source in their own text.
            if !self.message.contains(&text) && !self.causes.iter().any(|one| one.contains(&text)) {
                self.causes.push(text);
            }
            source = cause.source();
        }
    }

    /// Tells the person on standard error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.code != Code::Unheard {
            let mut text = format!("error: {}\n", self.message);
            for line in self.detail.iter().flat_map(|detail| detail.lines()) {
                let _ = writeln!(text, "    {line}");
            }
            for cause in &self.causes {
                let _ = writeln!(text, "  because: {cause}");
            }
            if let Some(advice) = &self.advice {
                let _ = writeln!(text, "  what to do: {advice}");
            }
            let _ = io::stderr().write_all(text.as_bytes());
        }
        ExitCode::from(self.code as u8)
    }
}

impl From<larder::Error> for Failure {
    fn from(error: larder::Error) -> Self {
        let mut failure = Self::operation(error.to_string());
        if let Some(constraint) = error.constraint() {
            let _ = write!(failure.message, " (constraint `{constraint}`)");
        }
        failure.add_sources(error.source());
        failure.advice = advice(error.kind()).map(ToOwned::to_owned);
        failure
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Code::Unheard, "");
        }
        Self::operation("the output cannot be written").because(error)
    }
}

fn advice(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Schema => Some(
            "see how things stand with `larder migrate status`, and bring the database up to date with `larder migrate up`",
        ),
        ErrorKind::Busy | ErrorKind::Conflict | ErrorKind::Timeout => {
            Some("another program works on the database: try again")
        }
        ErrorKind::Full => Some("make room on the disk and try again"),
        ErrorKind::ReadOnly => Some(
            "check what this user may do: with the database file and its directory, or on the server",
        ),
        ErrorKind::Unavailable => Some(
            "check the path and its permissions, or the server's address, the user and the password",
        ),
        ErrorKind::Unknown => Some("look whether the write is there before doing it again"),
        _ => None,
    }
}
