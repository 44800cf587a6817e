//! Connecting to Redis, and what is left when a handle goes.

use std::io;
use std::time::{Duration, Instant};

use larder_core::{ErrorKind, Result, Storage as _};
use larder_redis::{Redis, RedisOptions};
use larder_tests::redis_server::{Namespaces, RedisServer};

const CLIENTS: &str =
    "return tonumber(string.match(redis.call('INFO', 'clients'), 'connected_clients:(%d+)'))";

/// How many are connected, the one who asks included.
fn connected(server: &RedisServer) -> io::Result<u32> {
    let answer = server.command(&["EVAL", CLIENTS, "0"])?;
    answer[1..].parse().map_err(io::Error::other)
}

async fn settles_at(server: &RedisServer, expected: u32) -> io::Result<bool> {
    for _ in 0..200 {
        if connected(server)? == expected {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_shared_and_closed_with_the_last_handle() -> Result<()> {
    let server = RedisServer::start().expect("a server");
    let namespaces = Namespaces::of(server).expect("namespaces");
    let server = namespaces.server().expect("its own");
    let namespace = namespaces.fresh();
    let options = RedisOptions::new(&namespace.url())?.connections(3);
    let redis = Redis::connect_with(options.clone()).await?;
    assert!(settles_at(server, 4).await.expect("an answer"));
    let other = redis.clone();
    drop(redis);
    assert!(settles_at(server, 4).await.expect("an answer"));
    drop(other);
    assert!(settles_at(server, 1).await.expect("an answer"), "dropped");
    let redis = Redis::connect_with(options).await?;
    redis.close().await?;
    redis.close().await?; // twice is fine
    assert!(settles_at(server, 1).await.expect("an answer"), "closed");
    Ok(())
}

#[tokio::test]
async fn who_cannot_connect_is_told_so_in_time() -> Result<()> {
    let server = RedisServer::start().expect("a server");
    let wrong = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let error = Redis::connect(&wrong).await.expect_err("a wrong password");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
    server.pause().expect("paused");
    let options = RedisOptions::new(&server.url())?;
    let limit = Duration::from_millis(200);
    let started = Instant::now();
    let silent = Redis::connect_with(options.connect_timeout(limit)).await;
    let error = silent.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    server.kill().expect("killed");
    let error = Redis::connect(&server.url()).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    Ok(())
}
