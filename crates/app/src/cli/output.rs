//! [`Output`]: standard output and the notes beside it.

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// Where results go. Writing never panics: when the reader has gone (`| head`) it is an error
/// that ends the program quietly.
#[derive(Debug)]
pub(crate) struct Output {
    results: BufWriter<Stdout>,
    quiet: bool,
}

impl Output {
    /// On standard output; notes are left out if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            results: BufWriter::new(io::stdout()),
            quiet,
        }
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.results, "{line}")
    }

    /// A line that explains the result; `--quiet` leaves it out. Seen at once.
    pub(crate) fn note(&mut self, line: impl Display) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        writeln!(self.results, "{line}")?;
        self.results.flush()
    }

    /// A note beside a result that other programs read: on standard error.
    pub(crate) fn aside(&mut self, line: impl Display) -> io::Result<()> {
        self.results.flush()?;
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{line}");
        }
        Ok(())
    }

    /// A warning, on standard error, `--quiet` or not.
    pub(crate) fn warn(&mut self, line: impl Display) -> io::Result<()> {
        self.results.flush()?;
        let _ = writeln!(io::stderr(), "{line}");
        Ok(())
    }

    /// For bytes of a result.
    pub(crate) fn results(&mut self) -> &mut impl Write {
        &mut self.results
    }

    /// A progress bar of length 0, by a template of indicatif's; hidden where nobody would see it.
    pub(crate) fn bar(&self, message: impl Into<String>, template: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(0)
            .with_style(style)
            .with_message(message.into())
    }

    /// Writes what is still buffered.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.results.flush()
    }
}

/// A number with commas: `3,461`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 row`, `3,461 rows`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        thousands(count),
        if count == 1 { "" } else { "s" }
    )
}

/// Text for one line of a terminal: no line ends, no control characters that could change it.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let blank = c.is_whitespace() || c.is_control() || is_bidi(c);
        if !blank {
            line.push(c);
        } else if !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line
}

/// Whether the character turns the direction of the text around it.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        let all = [0, 12, 999, 1_000, 20_000, 1_234_567].map(thousands);
        assert_eq!(all, ["0", "12", "999", "1,000", "20,000", "1,234,567"]);
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("a\r\n\tb\u{1b}[31mc"), "a b [31mc");
    }
}
