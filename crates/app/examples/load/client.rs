//! [`Connection`]: HTTP/1.1 over one connection, as little of it as the service needs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection, kept open between requests.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// To this address.
    pub(crate) fn to(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request; an answer that is no success is an error.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value> {
        let token = token.map_or_else(String::new, |token| {
            format!("authorization: Token {token}\r\n")
        });
        let body = body.map_or_else(String::new, Value::to_string);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\n{token}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let (status, answer) = self.read()?;
        if (200..300).contains(&status) {
            return Ok(serde_json::from_slice(&answer)?);
        }
        let answer = String::from_utf8_lossy(&answer);
        Err(format!("{method} {path} was answered {status}: {answer}").into())
    }

    /// The text at a path.
    pub(crate) fn text(&mut self, path: &str) -> Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        Ok(String::from_utf8(self.read()?.1)?)
    }

    fn read(&mut self) -> Result<(u16, Vec<u8>)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err("the service hung up".into());
            }
        }
        let status = head.get(9..12).ok_or("the answer has no status")?.parse()?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![
            0;
            length
                .ok_or("the answer does not tell its length")?
                .parse()?
        ];
        self.0.read_exact(&mut body)?;
        Ok((status, body))
    }
}
