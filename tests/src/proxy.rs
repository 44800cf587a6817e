//! [`Proxy`]: a way to a PostgreSQL server that can be broken.
//!
//! ```text
//!   client ── messages() ──> server      reads along: which statements, is one to be swallowed?
//!          <── answers() ───             stalled, swallowed, or byte by byte
//! ```

mod messages;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use messages::Messages;

/// Who has said nothing for so long has answered everything.
const SILENCE: Duration = Duration::from_millis(150);

/// A proxy on 127.0.0.1 in front of a server. Passes everything until it is told otherwise; ends
/// with its connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

/// What happens to the connections, those that are open and those that come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Everything passes.
    #[default]
    None,
    /// New connections are reset; open ones go on.
    Refuse,
    /// Connections are taken, and nothing passes in either direction.
    BlackHole,
    /// What the client says arrives; no answer comes back.
    Stall,
    /// Everything passes, a byte in each packet.
    ByteByByte,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: watch::Sender<State>,
    /// Words of the next statement whose answer is to be lost.
    swallow: std::sync::Mutex<Option<String>>,
    swallowed: AtomicUsize,
    accepted: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    fault: Fault,
    /// Connections of an earlier one are reset.
    generation: usize,
    /// Of an earlier one nothing passes any more.
    stranded: usize,
}

impl Proxy {
    /// Starts a proxy in front of the server at this port of 127.0.0.1.
    pub async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server: (Ipv4Addr::LOCALHOST, port).into(),
            state: watch::Sender::new(State::default()),
            swallow: std::sync::Mutex::default(),
            swallowed: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let listening = tokio::spawn(accept_all(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            listening,
        })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of the server, by way of the proxy.
    pub fn url(&self, url: &str) -> String {
        let server = format!("127.0.0.1:{}/", self.shared.server.port());
        url.replace(&server, &format!("127.0.0.1:{}/", self.port()))
    }

    /// Breaks the way, or repairs it with [`Fault::None`].
    pub fn set(&self, fault: Fault) {
        self.shared.state.send_modify(|state| state.fault = fault);
    }

    /// Resets every open connection, towards both ends.
    pub fn reset_all(&self) {
        self.shared.state.send_modify(|state| state.generation += 1);
    }

    /// Lets nothing pass any more on the connections that are open, which nobody is told. New ones
    /// are whole.
    pub fn strand_all(&self) {
        self.shared.state.send_modify(|state| state.stranded += 1);
    }

    /// Lets the answer to the next statement that has these words be lost: the server runs
    /// it, and then the connection is reset. The words are compared as they are, with the text of
    /// a simple or of a prepared statement.
    pub fn swallow_answer_to(&self, words: &str) {
        *self.shared.swallow() = Some(words.to_owned());
    }

    /// How many answers were lost so far.
    pub fn swallowed(&self) -> usize {
        self.shared.swallowed.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.reset_all();
    }
}

impl Shared {
    fn swallow(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.swallow
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the answer to this statement is to be lost; the next one's is not.
    fn takes(&self, statement: &str) -> bool {
        let mut swallow = self.swallow();
        let found = (swallow.as_deref()).is_some_and(|words| has_words(statement, words));
        if found {
            *swallow = None;
        }
        found
    }
}

/// Whether the words stand in the statement: `COMMIT` does not in `READ COMMITTED`.
fn has_words(statement: &str, words: &str) -> bool {
    statement.match_indices(words).any(|(at, _)| {
        let next = statement[at + words.len()..].chars().next();
        !next.is_some_and(char::is_alphanumeric)
    })
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(pass(client, Arc::clone(&shared)));
    }
}

/// Passes what comes on one connection, until one end closes it or a fault does.
async fn pass(mut client: TcpStream, shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let State {
        fault,
        generation,
        stranded,
    } = *state.borrow();
    if fault == Fault::Refuse {
        reset(client);
        return;
    }
    let Ok(mut server) = TcpStream::connect(shared.server).await else {
        reset(client);
        return;
    };
    // Both fail only for a connection that is gone, which shows soon enough.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let swallowing = AtomicBool::new(false);
    let orderly = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        tokio::select! {
            ended = messages(client_reads, server_writes, &shared, &swallowing, stranded) => ended.is_ok(),
            ended = answers(server_reads, client_writes, &shared, &swallowing, stranded) => ended.is_ok(),
            _ = state.wait_for(|state| state.generation != generation) => false,
        }
    };
    if !orderly {
        reset(client);
        reset(server);
    }
}

/// Closes a connection so that the other end is told that it broke.
fn reset(stream: TcpStream) {
    // It fails only for a connection that is gone.
    let _ = stream.set_zero_linger();
}

/// Passes what the client says, until it says no more.
async fn messages(
    mut client: ReadHalf<'_>,
    mut server: WriteHalf<'_>,
    shared: &Shared,
    swallowing: &AtomicBool,
    stranded: usize,
) -> io::Result<()> {
    let mut state = shared.state.subscribe();
    let mut messages = Messages::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let passes = |fault| fault != Fault::BlackHole;
        let fault = wait_until(&mut state, stranded, passes).await?;
        let bytes = &buffer[..length];
        if messages.read(bytes, |statement| shared.takes(statement)) {
            swallowing.store(true, Ordering::SeqCst);
        }
        write(&mut server, bytes, fault).await?;
    }
}

/// Passes what the server answers, until it answers no more.
async fn answers(
    mut server: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    shared: &Shared,
    swallowing: &AtomicBool,
    stranded: usize,
) -> io::Result<()> {
    let mut state = shared.state.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if swallowing.load(Ordering::SeqCst) {
            // Answers to what was said before may come first.
            while let Ok(length) = timeout(SILENCE, server.read(&mut buffer)).await {
                if length? == 0 {
                    break;
                }
            }
            shared.swallowed.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("the answer is to be lost"));
        }
        let passes = |fault| !matches!(fault, Fault::BlackHole | Fault::Stall);
        let fault = wait_until(&mut state, stranded, passes).await?;
        write(&mut client, &buffer[..length], fault).await?;
    }
}

async fn wait_until(
    state: &mut watch::Receiver<State>,
    stranded: usize,
    passes: impl Fn(Fault) -> bool,
) -> io::Result<Fault> {
    let whole = |state: &State| state.stranded == stranded && passes(state.fault);
    let state = state.wait_for(whole).await;
    state
        .map(|state| state.fault)
        .map_err(|_| io::Error::other("the proxy has ended"))
}

async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], fault: Fault) -> io::Result<()> {
    if fault != Fault::ByteByByte {
        return to.write_all(bytes).await;
    }
    for byte in bytes {
        to.write_all(std::slice::from_ref(byte)).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}
