//! What a URL says of encryption: `sslmode` and `sslrootcert`, with libpq's meaning.
//!
//! The driver knows neither `verify-ca`, `verify-full` nor `sslrootcert`, and refuses a URL that has
//! them. So these two parameters are taken out of the URL before the driver reads it.

use std::borrow::Cow;
use std::path::PathBuf;

use larder_core::{Error, Result};
use percent_encoding::percent_decode_str;
use tokio_postgres::config::SslMode;

/// Whether a connection is encrypted, and what its server has to prove.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Encryption {
    pub(crate) mode: SslMode,
    pub(crate) proof: Proof,
}

/// What a server's certificate has to prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing: who listens is kept out, who stands in between is not.
    Nothing,
    /// That somebody whom we trust has signed it.
    Signer(Roots),
    /// That, and that it is for the host that was asked for.
    SignerAndHost(Roots),
}

/// Who is trusted to sign certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those whom the operating system trusts.
    System,
    /// Those of a file in PEM form.
    File(PathBuf),
}

impl Encryption {
    /// Takes what is said of encryption out of a URL, in either form, and gives back the rest.
    pub(crate) fn take(url: &str) -> Result<(String, Self)> {
        let mut asked = Asked::default();
        let rest = match url_start(url) {
            Some(start) => take_of_url(url, start, &mut asked)?,
            None => take_of_pairs(url, &mut asked)?,
        };
        Ok((rest, asked.encryption()?))
    }
}

/// The parameters as they were given; of several with one name, the last counts.
#[derive(Debug, Default)]
struct Asked {
    mode: Option<String>,
    roots: Option<String>,
}

impl Asked {
    /// Whether it takes the parameter.
    fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "sslmode" => self.mode = Some(value.to_owned()),
            "sslrootcert" => self.roots = Some(value.to_owned()),
            "sslcert" | "sslkey" | "sslpassword" | "sslcrl" | "sslcrldir" => {
                let what = format!("the URL's parameter `{name}`");
                return Err(Error::unsupported("postgres", &what));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn encryption(self) -> Result<Encryption> {
        let roots = self.roots.filter(|path| !path.is_empty());
        let system = roots.as_deref() == Some("system");
        let mode = match self.mode.as_deref() {
            None if system => "verify-full",
            None => "prefer",
            Some(mode) => mode,
        };
        let given = roots.is_some();
        let roots = match roots {
            Some(path) if !system => Roots::File(path.into()),
            _ => Roots::System,
        };
        let (mode, proof) = match mode {
            "disable" => (SslMode::Disable, Proof::Nothing),
            "prefer" if given => return Err(root_without_need()),
            "prefer" => (SslMode::Prefer, Proof::Nothing),
            "verify-full" => (SslMode::Require, Proof::SignerAndHost(roots)),
            // Anybody gets a certificate from somebody whom the system trusts, for a host of theirs.
            "require" | "verify-ca" if system => return Err(system_needs_the_host()),
            "require" if !given => (SslMode::Require, Proof::Nothing),
            "require" | "verify-ca" => (SslMode::Require, Proof::Signer(roots)),
            _ => return Err(unknown_mode()),
        };
        Ok(Encryption { mode, proof })
    }
}

fn unknown_mode() -> Error {
    Error::misuse(
        "the URL's sslmode is none that Larder knows: write disable, prefer, require, verify-ca or \
         verify-full",
    )
}

fn root_without_need() -> Error {
    Error::misuse(
        "the URL has sslrootcert, but its sslmode does not insist on encryption: add \
         sslmode=verify-full, or verify-ca if the certificate is for another host name",
    )
}

fn system_needs_the_host() -> Error {
    Error::misuse("sslrootcert=system proves something only together with sslmode=verify-full")
}

/// Where a URL goes on after its scheme; `None` if it is in the form `host=.. user=..`.
fn url_start(url: &str) -> Option<usize> {
    ["postgres://", "postgresql://"]
        .into_iter()
        .find(|scheme| url.starts_with(scheme))
        .map(str::len)
}

/// Reads a URL as the driver does: a password may hold a `?`.
fn take_of_url(url: &str, start: usize, asked: &mut Asked) -> Result<String> {
    let host = url[start..].find('@').map_or(start, |at| start + at + 1);
    let Some(question) = url[host..].find('?').map(|at| host + at) else {
        return Ok(url.to_owned());
    };
    let (head, parameters) = (&url[..question], &url[question + 1..]);
    let mut kept = Vec::new();
    for parameter in parameters.split('&') {
        let taken = match parameter.split_once('=') {
            Some((name, value)) => asked.take(&decoded(name)?, &decoded(value)?)?,
            None => false,
        };
        if !taken {
            kept.push(parameter);
        }
    }
    if kept.is_empty() {
        return Ok(head.to_owned());
    }
    Ok(format!("{head}?{}", kept.join("&")))
}

fn decoded(text: &str) -> Result<Cow<'_, str>> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Error::misuse("a parameter of the PostgreSQL URL is not UTF-8"))
}

/// Reads `name = value` pairs as the driver does. What cannot be read is left to it to refuse.
fn take_of_pairs(text: &str, asked: &mut Asked) -> Result<String> {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((name, value, after)) = pair(rest) {
        if !asked.take(name, &value)? {
            kept.push_str(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    kept.push_str(rest);
    Ok(kept)
}

/// The first pair, and the text after it.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start();
    let end = text.find(|c: char| c == '=' || c.is_whitespace())?;
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (rest, quoted) = match rest.strip_prefix('\'') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let mut value = String::new();
    let mut letters = rest.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((name, value, &rest[at + 1..])),
            letter if !quoted && letter.is_whitespace() => {
                return Some((name, value, &rest[at..]));
            }
            letter => value.push(letter),
        }
    }
    (!quoted && !value.is_empty()).then_some((name, value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::ErrorKind;

    fn file(path: &str) -> Roots {
        Roots::File(path.into())
    }

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        for (parameters, mode, proof) in [
            ("", SslMode::Prefer, Proof::Nothing),
            ("sslmode=disable", SslMode::Disable, Proof::Nothing),
            ("sslmode=prefer", SslMode::Prefer, Proof::Nothing),
            ("sslmode=require", SslMode::Require, Proof::Nothing),
            (
                "sslmode=require&sslrootcert=ca.pem",
                SslMode::Require,
                Proof::Signer(file("ca.pem")),
            ),
            (
                "sslmode=verify-ca",
                SslMode::Require,
                Proof::Signer(Roots::System),
            ),
            (
                "%73slmode=verify-full&sslrootcert=%2Fetc%2Fmy%20ca.pem",
                SslMode::Require,
                Proof::SignerAndHost(file("/etc/my ca.pem")),
            ),
            (
                "sslrootcert=system",
                SslMode::Require,
                Proof::SignerAndHost(Roots::System),
            ),
            (
                "sslmode=disable&sslmode=verify-full",
                SslMode::Require,
                Proof::SignerAndHost(Roots::System),
            ),
        ] {
            let url = format!("postgres://u:p@h/d?{parameters}");
            let (_, encryption) = Encryption::take(&url).unwrap();
            assert_eq!(encryption, Encryption { mode, proof }, "{parameters}");
        }
    }

    #[test]
    fn what_proves_less_than_it_seems_is_refused() {
        for (parameters, kind) in [
            ("sslmode=allow", ErrorKind::Misuse),
            ("sslmode=", ErrorKind::Misuse),
            ("sslrootcert=ca.pem", ErrorKind::Misuse),
            ("sslmode=prefer&sslrootcert=ca.pem", ErrorKind::Misuse),
            ("sslmode=require&sslrootcert=system", ErrorKind::Misuse),
            ("sslmode=%FF", ErrorKind::Misuse),
            ("sslcert=me.pem", ErrorKind::Unsupported),
        ] {
            let error = Encryption::take(&format!("postgres://h/d?{parameters}")).unwrap_err();
            assert_eq!(error.kind(), kind, "{parameters}: {error}");
        }
    }

    #[test]
    fn the_rest_of_the_url_is_left_as_it_is() {
        for (url, left) in [
            ("postgres://u:p@h:1/d", "postgres://u:p@h:1/d"),
            ("postgres://h/d?sslmode=require", "postgres://h/d"),
            (
                "postgresql://u:s?sslmode=x@h/d?user=%26&sslmode=require&host=%2Ftmp",
                "postgresql://u:s?sslmode=x@h/d?user=%26&host=%2Ftmp",
            ),
            (
                r"host=h sslmode = 'verify-full' password='it\'s sslmode=disable' port=1",
                r"host=h password='it\'s sslmode=disable' port=1",
            ),
            (r"password=a\ b sslmode=require", r"password=a\ b"),
            ("host=h sslmode=", "host=h sslmode="),
            ("host='h sslmode=require", "host='h sslmode=require"),
            ("", ""),
        ] {
            assert_eq!(Encryption::take(url).unwrap().0, left, "{url}");
        }
    }
}
