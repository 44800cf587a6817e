//! [`Server`]: `larder serve` as a child process, and [`Connection`], one connection to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running service. Killed when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// What it has said before it listened.
    pub(crate) greeting: String,
}

impl Server {
    /// Starts it in a directory, with these arguments.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = command(directory);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        Self::of(command.args(arguments))
    }

    /// Starts this command.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut server = Self {
            child: command.spawn().expect("it runs"),
            address: String::new(),
            greeting: String::new(),
        };
        let mut output = BufReader::new(server.child.stdout.take().expect("a pipe"));
        while server.address.is_empty() {
            let mut line = String::new();
            let read = output.read_line(&mut line).expect("UTF-8");
            assert!(read > 0, "it ended: {}", server.greeting);
            if let Some(rest) = line.strip_prefix("listening on http://") {
                let address = rest.split_whitespace().next().expect("an address");
                address.clone_into(&mut server.address);
            }
            server.greeting += &line;
        }
        // what it says later is not to block it
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        server
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Connection {
        Connection::to(&self.address).expect("it listens")
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> i32 {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status.code().unwrap_or(-1);
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program in a directory, with no settings from outside.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.current_dir(directory).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    for (name, _) in std::env::vars() {
        if name == "DATABASE_URL" || name == "RUST_LOG" || name.starts_with("LARDER_") {
            command.env_remove(name);
        }
    }
    command
}

/// One connection, kept open between requests.
pub(crate) struct Connection(BufReader<TcpStream>);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }
}

impl Connection {
    /// To this address.
    pub(crate) fn to(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Sends a request and reads the answer; an error if the connection breaks.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> std::io::Result<Answer> {
        let token = token.map_or_else(String::new, |token| {
            format!("authorization: Token {token}\r\n")
        });
        let body = body.map_or_else(String::new, Value::to_string);
        let about_body = match body.len() {
            0 => String::new(),
            length => format!("content-type: application/json\r\ncontent-length: {length}\r\n"),
        };
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{token}{about_body}\r\n{body}");
        self.write(request.as_bytes())?;
        self.read()
    }

    /// Reads an answer.
    pub(crate) fn read(&mut self) -> std::io::Result<Answer> {
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(broken());
            }
        }
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(broken)?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let text = String::from_utf8(body).map_err(|_| broken())?;
        Ok(Answer { status, head, text })
    }

    /// Registers a user and answers their token.
    pub(crate) fn register(&mut self, name: &str) -> String {
        let user = serde_json::json!({"user": {
            "username": name, "email": format!("{name}@example.com"), "password": "correct horse"
        }});
        let answer = self
            .send("POST", "/api/users", None, Some(&user))
            .expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text);
        let token = answer.json()["user"]["token"].as_str().map(str::to_owned);
        token.expect("a token")
    }
}
