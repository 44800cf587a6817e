//! A migrating process is killed after each of its statements; what it left is gone on with.
//!
//! ```text
//!   child: migrates ──> a way that counts statements ──> server
//!                          └ passes the n-th on, and kills the child before the answer
//! ```

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use larder_postgres::introspect::Schema;

use super::*;

/// Where the child migrates. Only a child has it.
const URL: &str = "LARDER_MIGRATING_CHILD";
/// Whether the child goes back instead.
const BACK: &str = "LARDER_MIGRATING_BACK";

const FILES: &[(&str, &str)] = &[
    (
        "V1__create.sql",
        "CREATE TABLE rows (id bigint PRIMARY KEY, n int);
        INSERT INTO rows SELECT n, n FROM generate_series(1, 100) AS n;",
    ),
    ("V1__create.down.sql", "DROP TABLE rows;"),
    (
        "V2__index.sql",
        "-- no-transaction
        CREATE INDEX CONCURRENTLY rows_n_idx ON rows (n);
        INSERT INTO rows VALUES (101, 101);",
    ),
    (
        "V2__index.down.sql",
        "-- no-transaction
        DROP INDEX CONCURRENTLY rows_n_idx;",
    ),
    ("V3__alter.sql", "ALTER TABLE rows ADD COLUMN more text;"),
    ("V3__alter.down.sql", "ALTER TABLE rows DROP COLUMN more;"),
];

#[tokio::test]
async fn a_killed_up_is_gone_on_with() {
    if !migrate_if_asked().await {
        after_every_statement(false).await;
    }
}

#[tokio::test]
async fn a_killed_down_is_gone_on_with() {
    if !migrate_if_asked().await {
        after_every_statement(true).await;
    }
}

async fn migrate_if_asked() -> bool {
    let Ok(url) = std::env::var(URL) else {
        return false;
    };
    let client = open(&url).await;
    go(&client, std::env::var(BACK).is_ok()).await.unwrap();
    true
}

async fn go(client: &Client, back: bool) -> larder_core::Result<()> {
    let migrator = migrator(FILES);
    let done = if back {
        migrator.down_to(client, 0).await
    } else {
        migrator.up(client, None).await
    };
    done.map(drop)
}

async fn after_every_statement(back: bool) {
    let mut dirty = 0;
    for kill_after in 1.. {
        let (database, client) = fresh().await;
        if back {
            go(&client, false).await.unwrap();
        }
        let killed = migrate_and_kill(database.url(), back, kill_after).await;
        let settled = finish(&client, back).await;
        dirty += usize::from(settled);
        judge(&client, back).await;
        if !killed {
            println!("{} statements, {dirty} times dirty", kill_after - 1);
            assert!(kill_after > 20, "too few statements were seen");
            // Only the row that is inserted without a transaction cannot be looked at.
            assert_eq!(dirty > 0, !back);
            return;
        }
    }
}

/// Migrates on, and settles by hand what has to be. Whether something had to.
async fn finish(client: &Client, back: bool) -> bool {
    let Err(error) = go(client, back).await else {
        return false;
    };
    assert!(error.is_schema(), "{error:?}");
    let inserted = "SELECT count(*) = 1 FROM rows WHERE id = 101";
    let word = if one::<bool>(client, inserted).await {
        "UPDATE"
    } else {
        "DELETE"
    };
    let message = error.to_string();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let advice = quoted.find(|text| text.starts_with(word)).unwrap();
    client.batch_execute(advice).await.unwrap();
    go(client, back).await.unwrap();
    true
}

async fn judge(client: &Client, back: bool) {
    let schema = Schema::read(client).await.unwrap();
    let expected = if back {
        "up1 up2 up3 down3 down2 down1"
    } else {
        "up1 up2 up3"
    };
    assert_eq!(log(client).await, expected);
    let steps = "SELECT count(*) FROM larder_migration_steps";
    assert_eq!(one::<i64>(client, steps).await, 0);
    let history = "SELECT count(*) FROM refinery_schema_history";
    let applied: i64 = one(client, history).await;
    if back {
        assert!(applied == 0 && !schema.tables.contains_key("rows"));
        return;
    }
    assert_eq!(applied, 3);
    let table = &schema.tables["rows"];
    assert_eq!((table.columns.len(), table.indexes.len()), (3, 2));
    assert!(table.indexes.iter().all(|index| index.valid));
    assert_eq!(one::<i64>(client, "SELECT count(*) FROM rows").await, 101);
}

/// Whether the child lived long enough to be killed.
async fn migrate_and_kill(url: String, back: bool, after: usize) -> bool {
    let run = move || {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let server = config.get_ports()[0];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let child = start(
            &url.replace(&format!(":{server}/"), &format!(":{port}/")),
            back,
        );
        let child = Arc::new(Mutex::new(child));
        let victim = Arc::clone(&child);
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
        let way = thread::spawn(move || pass(client, server, after, &victim));
        let killed = way.join().unwrap();
        let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        assert_eq!(status.unwrap().success(), !killed);
        killed
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn start(url: &str, back: bool) -> Child {
    let test = if back {
        "killed::a_killed_down_is_gone_on_with"
    } else {
        "killed::a_killed_up_is_gone_on_with"
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(URL, url);
    if back {
        command.env(BACK, "");
    }
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Passes everything until so many statements were sent; then kills the child. Whether it did.
fn pass(client: TcpStream, server: TcpStream, after: usize, child: &Mutex<Child>) -> bool {
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answers = thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
    });
    let (mut client, mut server) = (client, server);
    let (mut sent, mut first) = (0, true);
    let mut killed = false;
    while let Some((kind, message)) = message(&mut client, first) {
        first = false;
        server.write_all(&message).unwrap();
        // A simple statement, or the end of one that was prepared, bound and run at once.
        sent += usize::from(kind == b'Q' || kind == b'S');
        if sent == after {
            child
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .kill()
                .unwrap();
            killed = true;
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    answers.join().unwrap();
    killed
}

/// The client's next message; the first has no letter before its length.
fn message(client: &mut TcpStream, first: bool) -> Option<(u8, Vec<u8>)> {
    let mut message = vec![0; if first { 4 } else { 5 }];
    client.read_exact(&mut message).ok()?;
    let length = message[message.len() - 4..].try_into().ok()?;
    let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut rest).ok()?;
    let kind = if first { 0 } else { message[0] };
    message.extend(rest);
    Some((kind, message))
}
