//! Encrypted connections to PostgreSQL: which are, whom they are sure to talk to, and what is said
//! when they cannot be had.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use larder_core::models::{NewTag, Tag};
use larder_core::{Db, DbOptions, Entity, Error, ErrorKind, Result, Storage};
use larder_postgres::{Postgres, PostgresOptions};
use larder_tests::cluster::Cluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_postgres::{Client, NoTls};

/// The host that the server's certificate is for, besides the address 127.0.0.1.
const HOST: &str = "db.larder.test";
/// The user who is let in only without encryption; all others only with it.
const PLAIN_USER: &str = "plain";
const RULES: &str = "\
local all all scram-sha-256
hostnossl all plain 127.0.0.1/32 scram-sha-256
hostssl all plain 127.0.0.1/32 reject
hostssl all all 127.0.0.1/32 scram-sha-256";

/// One server for all of these tests; it goes with the process.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    cluster: Cluster,
    /// Who has signed the server's certificate.
    root: PathBuf,
    /// Somebody else.
    stranger: PathBuf,
}

impl Server {
    fn start() -> Self {
        let cluster = Cluster::start_with(&[]).expect("a server, or its programs");
        let root = authority("a root");
        let key = KeyPair::generate().unwrap();
        let names = vec![HOST.to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &root)
            .unwrap();
        let file = |name: &str, text: String| {
            let path = cluster.directory().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let server = Self {
            root: file("root.pem", root.pem()),
            stranger: file("stranger.pem", authority("a stranger").pem()),
            cluster,
        };
        // Not on this thread: a test's runtime is there.
        std::thread::scope(|scope| {
            let setting_up = || {
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.enable_all().build().unwrap();
                runtime.block_on(server.encrypt(&certificate.pem(), &key.serialize_pem()));
            };
            scope.spawn(setting_up).join().unwrap();
        });
        server
    }

    /// Has the server write the files itself: then they are its own, as PostgreSQL asks of a key.
    async fn encrypt(&self, certificate: &str, key: &str) {
        let client = self.beside().await;
        for (name, text) in [
            ("server.crt", certificate),
            ("server.key", key),
            ("pg_hba.conf", RULES),
        ] {
            let write = format!(
                "COPY (SELECT string_to_table('{}', E'\\n')) TO PROGRAM 'umask 077; cat > {name}'",
                text.trim()
            );
            client.batch_execute(&write).await.unwrap();
        }
        let password = self.cluster.password();
        for statement in [
            &format!("CREATE USER {PLAIN_USER} SUPERUSER PASSWORD '{password}'"),
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ] {
            client.batch_execute(statement).await.unwrap();
        }
        drop(client);
        let mut waits = 0;
        while tokio_postgres::connect(&self.cluster.url("postgres"), NoTls)
            .await
            .is_ok()
        {
            waits += 1;
            assert!(waits < 500, "the server does not heed its settings");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The URL with these parameters.
    fn url(&self, parameters: &str) -> String {
        format!("{}?{parameters}", self.cluster.url("postgres"))
    }

    /// The URL of the server by this host name.
    fn url_by(&self, host: &str, parameters: &str) -> String {
        let url = self.url(&format!("hostaddr=127.0.0.1&{parameters}"));
        url.replacen("@127.0.0.1:", &format!("@{host}:"), 1)
    }

    /// A connection beside Larder's, over the socket.
    async fn beside(&self) -> Client {
        let url = self.cluster.socket_url("postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// How many connections of this name are encrypted, and how many are not.
    async fn encrypted(&self, application: &str) -> (i64, i64) {
        let counts = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) \
                      FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                      WHERE application_name = $1";
        let client = self.beside().await;
        let row = client.query_one(counts, &[&application]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// Waits until so many connections of this name are left, while all of them are encrypted.
    async fn comes_to(&self, connections: i64, application: &str, which: &str) {
        let mut waits = 0;
        loop {
            let (with, without) = self.encrypted(application).await;
            assert_eq!(without, 0, "{which}");
            if with == connections {
                return;
            }
            waits += 1;
            assert!(waits < 100, "{which}: {with}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The error's own words and those below it.
fn told(error: &Error) -> String {
    let below = std::iter::successors(std::error::Error::source(error), |error| error.source());
    below.fold(error.to_string(), |told, error| format!("{told}: {error}"))
}

/// That nobody is let in, and that these words say why.
#[track_caller]
fn assert_refused(outcome: Result<Postgres>, words: &str) {
    let error = outcome.expect_err(words);
    let told = told(&error);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{told}");
    assert!(!error.is_retryable(), "{told}");
    assert!(told.contains(words), "{told}");
}

#[tokio::test]
async fn every_connection_is_encrypted() -> Result<()> {
    let store = Postgres::connect(&SERVER.url("sslmode=require&application_name=all")).await?;
    assert_eq!(SERVER.encrypted("all").await, (1, 0), "pooled");
    store.create_tables(&[Tag::TABLE]).await?;
    let db = Db::new(store.clone());
    let tag = db.insert(NewTag { name: "a".into() }).await?;
    assert!(db.get::<Tag>(tag.id).await?.is_some());
    SERVER.comes_to(2, "all", "and shared").await;

    stop_a_sleep(&store).await;
    SERVER.comes_to(3, "all", "and cancelling").await;
    store.close().await
}

#[tokio::test]
async fn a_request_to_cancel_is_encrypted() -> Result<()> {
    let url = SERVER.url("sslmode=verify-full&application_name=request");
    let options = PostgresOptions::new(&with_root(&url))?.prepared_statements(false);
    let store = Postgres::connect_with(options).await?;
    stop_a_sleep(&store).await;
    let asleep = "SELECT count(*) FROM pg_stat_activity \
                  WHERE application_name = 'request' AND state = 'active'";
    let client = SERVER.beside().await;
    let mut waits = 0;
    while client
        .query_one(asleep, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        > 0
    {
        waits += 1;
        assert!(waits < 100, "the statement goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.close().await
}

/// Runs a statement past its deadline.
async fn stop_a_sleep(store: &Postgres) {
    let short = DbOptions::default().timeout(Duration::from_millis(300));
    let db = Db::with_options(store.clone(), short);
    let slept = db.sql("SELECT 1 FROM pg_sleep(30)").rows::<(i32,)>().await;
    assert_eq!(slept.unwrap_err().kind(), ErrorKind::Timeout);
}

fn with_root(url: &str) -> String {
    format!("{url}&sslrootcert={}", SERVER.root.display())
}

fn with_stranger(url: &str) -> String {
    format!("{url}&sslrootcert={}", SERVER.stranger.display())
}

#[tokio::test]
async fn who_proves_to_be_the_host_is_talked_to() -> Result<()> {
    for url in [
        SERVER.url("sslmode=verify-full"),
        SERVER.url_by(HOST, "sslmode=verify-full"),
        SERVER.url_by("wrong.larder.test", "sslmode=verify-ca"),
        SERVER.url_by("wrong.larder.test", "sslmode=require"),
    ] {
        Postgres::connect(&with_root(&url)).await?.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_does_not_is_refused() {
    let wrong = SERVER.url_by("wrong.larder.test", "sslmode=verify-full");
    let refused = Postgres::connect(&with_root(&wrong)).await;
    assert_refused(refused, "use the host name that it is for");
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = SERVER.url(&format!("sslmode={mode}"));
        let refused = Postgres::connect(&with_stranger(&url)).await;
        assert_refused(refused, "sslrootcert=PATH");
    }
    let system = Postgres::connect(&SERVER.url("sslrootcert=system")).await;
    assert_refused(system, "certificate");
}

#[tokio::test]
async fn a_root_that_cannot_be_read_is_named() {
    for path in [
        "/nowhere/root.pem".into(),
        SERVER.cluster.directory().join("settings.conf"),
    ] {
        let url = SERVER.url(&format!("sslmode=verify-ca&sslrootcert={}", path.display()));
        let error = Postgres::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn passwords_are_bound_to_the_channel() -> Result<()> {
    let bound = SERVER.url("sslmode=verify-full&channel_binding=require");
    Postgres::connect(&with_root(&bound)).await?.close().await
}

#[tokio::test]
async fn encryption_is_preferred_and_can_be_done_without() -> Result<()> {
    let store = Postgres::connect(&SERVER.url("application_name=preferring")).await?;
    assert_eq!(SERVER.encrypted("preferring").await, (1, 0));
    store.close().await?;

    let plain = |parameters: &str| {
        let url = SERVER.url(parameters);
        url.replacen(SERVER.cluster.user(), PLAIN_USER, 1)
    };
    let store = Postgres::connect(&plain("application_name=without")).await?;
    assert_eq!(SERVER.encrypted("without").await, (0, 1));
    store.close().await?;
    assert_refused(Postgres::connect(&plain("sslmode=require")).await, "28000");
    Ok(())
}

#[tokio::test]
async fn a_server_that_insists_on_encryption_says_so() {
    let refused = Postgres::connect(&SERVER.url("sslmode=disable")).await;
    assert_refused(refused, "asks for encryption, with sslmode=require");
}

#[tokio::test]
async fn a_server_without_encryption_is_refused_by_who_insists() -> Result<()> {
    let start = || Cluster::start_with(&[]).expect("a server");
    let cluster = tokio::task::spawn_blocking(start).await.expect("no panic");
    let url = cluster.url("postgres");
    let refused = Postgres::connect(&format!("{url}?sslmode=require")).await;
    assert_refused(refused, "server does not support TLS");
    Postgres::connect(&url).await?.close().await?;
    // A socket is never encrypted, whatever is asked for.
    let socket = format!("{}?sslmode=require", cluster.socket_url("postgres"));
    Postgres::connect(&socket).await?.close().await
}

/// As `openssl req -x509` makes it: a root that is the server's own certificate as well.
#[tokio::test]
async fn a_self_signed_certificate_is_trusted_when_given() -> Result<()> {
    let start = || Cluster::start_with(&[]).expect("a server");
    let cluster = tokio::task::spawn_blocking(start).await.expect("no panic");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let root = cluster.directory().join("own.pem");
    fs::write(&root, own.pem()).unwrap();
    let server = Server {
        stranger: root.clone(),
        root,
        cluster,
    };
    server.encrypt(&own.pem(), &own.key().serialize_pem()).await;
    for mode in ["verify-ca", "verify-full"] {
        let url = server.url(&format!(
            "sslmode={mode}&sslrootcert={}",
            server.root.display()
        ));
        Postgres::connect(&url).await?.close().await?;
        assert_refused(
            Postgres::connect(&with_stranger(&server.url(&format!("sslmode={mode}")))).await,
            "sslrootcert=PATH",
        );
    }
    Ok(())
}
