//! Sessions: what is kept of them, when they end, and who wins a race for one.

use std::sync::Arc;
use std::time::Duration;

use larder_core::rows;
use larder_core::session::{NewSession, SessionId, SessionOptions, SessionStore, Touch};
use larder_core::{
    Clock, Db, DbOptions, ErrorKind, ManualClock, Result, Rows, Select, Session, Sessions,
    StoredSessions, Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

use super::{Place, tests};
use crate::fixtures::refused;

/// What the sessions of these tests hold.
#[derive(Serialize, Deserialize, Debug, Default, PartialEq, Clone)]
struct Cart {
    items: Vec<u32>,
}

const MINUTE: Duration = Duration::from_mins(1);
/// As many requests at a time.
const RIVALS: u32 = 16;

/// A microsecond less.
fn almost(duration: Duration) -> Duration {
    duration.saturating_sub(Duration::from_micros(1))
}

fn holding(item: u32) -> Cart {
    Cart { items: vec![item] }
}

/// Sessions in a place, by a clock that the test moves.
struct Shop {
    db: Db,
    clock: Arc<ManualClock>,
    store: StoredSessions,
    sessions: Sessions<Cart>,
}

impl Shop {
    async fn open(place: &Arc<dyn Place>) -> Result<Self> {
        let clock = Arc::new(ManualClock::at("2024-05-06T07:08:09Z".parse()?));
        Self::with_clock(place, clock).await
    }

    /// As another process that has the same time.
    async fn with_clock(place: &Arc<dyn Place>, clock: Arc<ManualClock>) -> Result<Self> {
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let options = DbOptions::default().shared_clock(shared);
        let db = Db::from_shared(place.store().await?, options);
        let store = StoredSessions::new(db.clone());
        Ok(Self {
            sessions: Sessions::new(store.clone()),
            db,
            clock,
            store,
        })
    }

    async fn load(&self, session: &Session<Cart>) -> Result<Option<Session<Cart>>> {
        self.sessions.load(&session.id().expose()).await
    }

    async fn is_alive(&self, session: &Session<Cart>) -> Result<bool> {
        Ok(self.load(session).await?.is_some())
    }

    /// The session as every one of some requests has loaded it.
    async fn loaded_by_rivals(&self, session: &Session<Cart>) -> Result<Vec<Session<Cart>>> {
        let mut copies = Vec::new();
        for _ in 0..RIVALS {
            copies.push(self.load(session).await?.expect("it is alive"));
        }
        Ok(copies)
    }
}

async fn a_session_holds_its_data_for_every_process(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let other = Shop::with_clock(&place, Arc::clone(&shop.clock)).await?;
    let made = shop.sessions.create(holding(1)).await?;
    assert_eq!(made.user(), None);

    let mut there = other.load(&made).await?.expect("it was made");
    assert_eq!(there.data, holding(1));
    there.data.items.push(2);
    other.sessions.save(&mut there).await?;
    other.sessions.save(&mut there).await?; // its own save does not make it stale

    let here = shop.load(&made).await?.expect("it was saved");
    assert_eq!(here.data.items, [1, 2]);
    assert_eq!(here.created_at(), made.created_at());
    assert!(other.sessions.revoke(made.id()).await?);
    assert!(!shop.sessions.revoke(made.id()).await?);
    assert!(!shop.is_alive(&made).await?);
    Ok(())
}

async fn what_is_no_id_is_nobodys(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let made = shop.sessions.create(Cart::default()).await?;
    let id = made.id().expose();
    let stranger = SessionId::random()?.expose();
    let hash = made.id().hash().to_string(); // what a thief of the table has
    let cut = &id[1..];
    let with_nul = format!("{}\0", &id[1..]);
    for text in [
        "",
        " ",
        "null",
        cut,
        &with_nul,
        &stranger,
        &hash,
        "' OR 1=1 --ab",
    ] {
        assert!(shop.sessions.load(text).await?.is_none(), "{text}");
    }
    assert!(shop.sessions.load(&id).await?.is_some());
    Ok(())
}

async fn only_the_hash_of_an_id_is_kept(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let made = shop.sessions.create_for("ada", holding(1)).await?;
    let read = Rows::collect(|row| {
        let text: Option<String> = rows::get(row, 2)?;
        Ok([
            rows::get::<Vec<u8>>(row, 1)?,
            text.unwrap_or_default().into_bytes(),
            rows::get::<Vec<u8>>(row, 3)?,
        ])
    });
    let select = Select::new(StoredSessions::TABLE);
    let kept = shop
        .db
        .storage()
        .read(select, read)
        .await?
        .into_vec::<[Vec<u8>; 3]>()?;
    let [[hash, user, data]] = kept.as_slice() else {
        panic!("{} rows", kept.len());
    };
    assert_eq!(hash, made.id().hash().as_bytes());
    assert_eq!(user, b"ada");
    assert_eq!(data, br#"{"items":[1]}"#);
    let names: Vec<_> = StoredSessions::TABLE
        .columns
        .iter()
        .map(|column| column.name)
        .collect();
    let known = [
        "id",
        "hash",
        "user_key",
        "data",
        "revision",
        "created_at",
        "idle_until",
        "ends_at",
    ];
    assert_eq!(names, known, "a new column: does it tell an id?");
    Ok(())
}

async fn a_save_after_a_revocation_brings_nothing_back(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let mut working = shop.sessions.create(holding(1)).await?;
    shop.sessions.revoke(working.id()).await?;
    working.data.items.push(2);
    refused(shop.sessions.save(&mut working).await, ErrorKind::NotFound);
    refused(
        shop.sessions.rotate(&mut working).await,
        ErrorKind::NotFound,
    );
    refused(
        shop.sessions.log_in(&mut working, 7).await,
        ErrorKind::NotFound,
    );
    assert!(!shop.is_alive(&working).await?);
    assert!(shop.sessions.list(7).await?.is_empty());
    Ok(())
}

async fn saves_that_race_a_revocation_bring_nothing_back(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    for round in 0..10 {
        let made = shop.sessions.create_for("ada", holding(round)).await?;
        let copies = shop.loaded_by_rivals(&made).await?;
        let barrier = Arc::new(Barrier::new(RIVALS as usize + 1));
        let saves = copies.into_iter().enumerate().map(|(at, mut copy)| {
            let (sessions, barrier) = (shop.sessions.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                match at % 2 {
                    0 => sessions.save(&mut copy).await,
                    _ => sessions.rotate(&mut copy).await,
                }
            })
        });
        let saves: Vec<_> = saves.collect();
        barrier.wait().await;
        shop.sessions.revoke_all("ada").await?;
        for save in saves {
            if let Err(error) = save.await.expect("the save does not panic") {
                assert!(error.is_not_found() || error.is_stale(), "{error:?}");
            }
        }
        assert!(!shop.is_alive(&made).await?);
        assert!(shop.sessions.list("ada").await?.is_empty(), "round {round}");
    }
    Ok(())
}

async fn of_saves_of_one_version_one_wins(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let made = shop.sessions.create(Cart::default()).await?;
    let copies = shop.loaded_by_rivals(&made).await?;
    let barrier = Arc::new(Barrier::new(copies.len()));
    let saves = (0..).zip(copies).map(|(item, mut copy)| {
        let (sessions, barrier) = (shop.sessions.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            copy.data = holding(item);
            barrier.wait().await;
            sessions.save(&mut copy).await.map(|()| item)
        })
    });
    let saves: Vec<_> = saves.collect();
    let mut winners = Vec::new();
    for save in saves {
        match save.await.expect("the save does not panic") {
            Ok(item) => winners.push(item),
            Err(error) => assert!(error.is_stale(), "{error:?}"),
        }
    }
    let [winner] = winners[..] else {
        panic!("{winners:?} all won");
    };
    let after = shop.load(&made).await?.expect("it is alive");
    assert_eq!(after.data, holding(winner));
    Ok(())
}

async fn a_rotated_id_is_dead_at_once(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let planted = shop.sessions.create(holding(1)).await?;
    let mut signed_in = shop.load(&planted).await?.expect("it is alive");
    shop.sessions.log_in(&mut signed_in, 42).await?;
    assert_ne!(signed_in.id().hash(), planted.id().hash());
    assert!(!shop.is_alive(&planted).await?);

    let mut signed_in = shop.load(&signed_in).await?.expect("under its new id");
    assert_eq!(
        (signed_in.user(), &signed_in.data),
        (Some("42"), &holding(1))
    );
    let before = signed_in.id().expose();
    shop.sessions.rotate(&mut signed_in).await?;
    shop.sessions.save(&mut signed_in).await?;
    assert_eq!(signed_in.user(), Some("42"));
    assert!(shop.sessions.load(&before).await?.is_none());

    // a request that still has the old id cannot save under it
    let mut late = planted;
    refused(shop.sessions.save(&mut late).await, ErrorKind::NotFound);
    assert_eq!(shop.sessions.list(42).await?.len(), 1);
    Ok(())
}

async fn of_rotations_at_a_time_one_wins(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let made = shop.sessions.create_for("ada", Cart::default()).await?;
    let copies = shop.loaded_by_rivals(&made).await?;
    let barrier = Arc::new(Barrier::new(copies.len()));
    let rotations = copies.into_iter().map(|mut copy| {
        let (sessions, barrier) = (shop.sessions.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            sessions.rotate(&mut copy).await.map(|()| copy)
        })
    });
    let rotations: Vec<_> = rotations.collect();
    let mut winners = Vec::new();
    for rotation in rotations {
        match rotation.await.expect("the rotation does not panic") {
            Ok(session) => winners.push(session),
            Err(error) => assert!(error.is_not_found(), "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert!(shop.is_alive(&winners[0]).await?);
    assert_eq!(shop.sessions.list("ada").await?.len(), 1);
    Ok(())
}

async fn it_expires_when_it_is_not_used(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let idle = SessionOptions::default().idle;
    let mut used = shop.sessions.create(Cart::default()).await?;
    let mut left = shop.sessions.create(Cart::default()).await?;
    shop.clock.advance(idle.saturating_sub(MINUTE));
    assert!(shop.is_alive(&used).await?);
    shop.clock.advance(almost(MINUTE));
    assert!(shop.is_alive(&used).await?);
    assert!(shop.store.load(&left.id().hash(), None).await?.is_some());
    shop.clock.advance(Duration::from_micros(1));
    assert!(!shop.is_alive(&left).await?);
    refused(shop.sessions.save(&mut left).await, ErrorKind::NotFound);
    assert!(!shop.sessions.revoke(left.id()).await?);
    shop.sessions.save(&mut used).await?;
    shop.clock.advance(almost(idle));
    assert!(shop.is_alive(&used).await?, "a save is a use");
    Ok(())
}

async fn it_ends_however_much_it_is_used(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let mut session = shop.sessions.create(Cart::default()).await?;
    let ends_at = session.ends_at();
    while shop.clock.now() < ends_at {
        assert!(shop.is_alive(&session).await?);
        shop.sessions.save(&mut session).await?;
        shop.clock.advance(20 * MINUTE);
    }
    assert!(!shop.is_alive(&session).await?);
    refused(shop.sessions.save(&mut session).await, ErrorKind::NotFound);
    Ok(())
}

async fn a_use_is_written_once_in_a_while(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let session = shop.sessions.create(Cart::default()).await?;
    let statements = async |after: Duration| {
        shop.clock.advance(after);
        let (alive, report) = shop.db.observe(shop.is_alive(&session)).await;
        alive.map(|alive| (alive, report.count()))
    };
    assert_eq!(statements(Duration::ZERO).await?, (true, 1));
    assert_eq!(
        statements(almost(MINUTE)).await?,
        (true, 1)
    );
    assert_eq!(statements(Duration::from_micros(1)).await?, (true, 2));
    assert_eq!(statements(Duration::ZERO).await?, (true, 1));
    assert_eq!(statements(MINUTE / 2).await?, (true, 1));
    Ok(())
}

async fn a_use_does_not_make_a_save_stale(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let mut working = shop.sessions.create(Cart::default()).await?;
    shop.clock.advance(5 * MINUTE);
    assert!(shop.is_alive(&working).await?); // another request, which puts the expiry off
    shop.sessions.save(&mut working).await
}

async fn a_use_never_shortens_it(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let made = shop.sessions.create(Cart::default()).await?;
    let hash = made.id().hash();
    let touch = |idle| Touch {
        idle,
        every: Duration::ZERO,
    };
    let long = shop.store.load(&hash, Some(touch(60 * MINUTE))).await?;
    let short = shop.store.load(&hash, Some(touch(MINUTE))).await?;
    let expiry = |record: Option<larder_core::session::SessionRecord>| {
        record.map(|record| record.expires_at)
    };
    assert_eq!(expiry(short), expiry(long));
    Ok(())
}

async fn signing_out_everywhere_ends_one_users_sessions(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let sessions = &shop.sessions;
    let mut adas = Vec::new();
    for _ in 0..3 {
        adas.push(sessions.create_for("ada", Cart::default()).await?);
    }
    let grace = sessions.create_for("grace", Cart::default()).await?;
    let nobody = sessions.create(Cart::default()).await?;

    assert_eq!(sessions.revoke_others("ada", adas[0].id()).await?, 2);
    assert!(shop.is_alive(&adas[0]).await?);
    assert!(!shop.is_alive(&adas[1]).await?);
    assert_eq!(sessions.revoke_all("ada").await?, 1);
    assert_eq!(sessions.revoke_all("ada").await?, 0);
    assert!(!shop.is_alive(&adas[0]).await?);
    assert!(shop.is_alive(&grace).await?);
    assert!(shop.is_alive(&nobody).await?);
    Ok(())
}

async fn a_users_living_sessions_are_listed_newest_first(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let sessions = &shop.sessions;
    let old = sessions.create_for("ada", Cart::default()).await?;
    shop.clock.advance(20 * MINUTE);
    sessions.create_for("grace", Cart::default()).await?;
    let middle = sessions.create_for("ada", Cart::default()).await?;
    shop.clock.advance(5 * MINUTE);
    let new = sessions.create_for("ada", Cart::default()).await?;

    let listed = sessions.list("ada").await?;
    let hashes: Vec<_> = listed.iter().map(|info| info.hash).collect();
    assert_eq!(
        hashes,
        [new.id().hash(), middle.id().hash(), old.id().hash()]
    );
    assert_eq!(listed[0].created_at, shop.clock.now());
    assert_eq!(shop.store.list("ada", 2).await?.len(), 2);

    shop.clock.advance(5 * MINUTE); // the oldest has not been used for half an hour
    assert_eq!(sessions.list("ada").await?.len(), 2);
    assert!(sessions.revoke_hash(&middle.id().hash()).await?);
    assert_eq!(sessions.list("ada").await?.len(), 1);
    Ok(())
}

async fn expired_ones_are_purged_in_batches(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    for _ in 0..5 {
        shop.sessions.create(Cart::default()).await?;
    }
    shop.clock.advance(20 * MINUTE);
    let living = shop.sessions.create(Cart::default()).await?;
    assert_eq!(shop.store.purge(10).await?, 0);
    shop.clock.advance(10 * MINUTE);
    assert_eq!(shop.store.purge(2).await?, 2);
    assert_eq!(shop.sessions.purge().await?, 3);
    assert_eq!(shop.sessions.purge().await?, 0);
    assert!(shop.is_alive(&living).await?);
    Ok(())
}

async fn what_is_too_large_is_refused_and_changes_nothing(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let options = SessionOptions::default().data_bytes_max(15);
    let sessions = Sessions::<Cart>::with_options(shop.store.clone(), options);
    let large = Cart {
        items: vec![12, 34],
    };
    refused(sessions.create(large.clone()).await, ErrorKind::Invalid);
    let mut session = sessions.create(holding(123)).await?; // 15 bytes
    session.data = large;
    refused(sessions.save(&mut session).await, ErrorKind::Invalid);
    assert_eq!(
        shop.load(&session).await?.map(|it| it.data),
        Some(holding(123))
    );
    let user = "u".repeat(201);
    refused(
        sessions.create_for(&user, Cart::default()).await,
        ErrorKind::TooLong,
    );
    Ok(())
}

async fn data_of_another_type_is_an_error_that_does_not_show_it(
    place: Arc<dyn Place>,
) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let secrets = Sessions::<String>::new(shop.store.clone());
    let session = secrets.create("hunter2".into()).await?;
    let error = refused(
        shop.sessions.load(&session.id().expose()).await,
        ErrorKind::Decode,
    );
    assert!(!format!("{error} {error:?} {session:?}").contains("hunter2"));
    Ok(())
}

async fn an_id_is_taken_once(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let new = NewSession {
        hash: SessionId::random()?.hash(),
        user: None,
        data: Vec::new(),
        idle: MINUTE,
        lifetime: MINUTE,
    };
    shop.store.create(new.clone()).await?;
    refused(shop.store.create(new).await, ErrorKind::Unique);
    Ok(())
}

async fn the_longest_lifetimes_are_kept(place: Arc<dyn Place>) -> Result<()> {
    let shop = Shop::open(&place).await?;
    let options = SessionOptions::default()
        .idle(Duration::MAX)
        .lifetime(Duration::MAX);
    let sessions = Sessions::<()>::with_options(shop.store.clone(), options);
    let mut session = sessions.create(()).await?;
    sessions.save(&mut session).await?;
    assert!(sessions.load(&session.id().expose()).await?.is_some());
    assert!(session.ends_at() > Timestamp::UNIX_EPOCH);
    Ok(())
}

tests![
    a_session_holds_its_data_for_every_process,
    what_is_no_id_is_nobodys,
    only_the_hash_of_an_id_is_kept,
    a_save_after_a_revocation_brings_nothing_back,
    saves_that_race_a_revocation_bring_nothing_back,
    of_saves_of_one_version_one_wins,
    a_rotated_id_is_dead_at_once,
    of_rotations_at_a_time_one_wins,
    it_expires_when_it_is_not_used,
    it_ends_however_much_it_is_used,
    a_use_is_written_once_in_a_while,
    a_use_does_not_make_a_save_stale,
    a_use_never_shortens_it,
    signing_out_everywhere_ends_one_users_sessions,
    a_users_living_sessions_are_listed_newest_first,
    expired_ones_are_purged_in_batches,
    what_is_too_large_is_refused_and_changes_nothing,
    data_of_another_type_is_an_error_that_does_not_show_it,
    an_id_is_taken_once,
    the_longest_lifetimes_are_kept,
];
