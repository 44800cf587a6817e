//! Sessions behind tower-sessions: what its middleware does with them, on every engine.

use std::sync::Arc;
use std::time::Duration;

use larder_core::session::{SessionId, SessionOptions, StoredSessions, TowerSessions};
use larder_core::{Clock, Db, DbOptions, ManualClock, Result};
use tower_sessions_core::session::{Expiry, Id, Session};
use tower_sessions_core::{ExpiredDeletion, session_store};

use super::{Place, tests};

const HOUR: Duration = Duration::from_hours(1);

/// A service that has tower-sessions, by a clock that the test moves.
struct Service {
    sessions: Arc<TowerSessions>,
    clock: Arc<ManualClock>,
}

impl Service {
    async fn open(place: &Arc<dyn Place>) -> Result<Self> {
        let clock = Arc::new(ManualClock::at("2024-05-06T07:08:09Z".parse()?));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let options = DbOptions::default().shared_clock(shared);
        let store = StoredSessions::new(Db::from_shared(place.store().await?, options));
        let options = SessionOptions::default().lifetime(24 * HOUR);
        let sessions = TowerSessions::with_options(store, options).user_from("user");
        Ok(Self {
            sessions: Arc::new(sessions),
            clock,
        })
    }

    /// A request with this cookie, or without one.
    fn request(&self, id: Option<Id>) -> Session {
        let idle = Expiry::OnInactivity(HOUR.try_into().expect("an hour"));
        Session::new(id, Arc::clone(&self.sessions), Some(idle))
    }

    /// A visit that has put something into its cart.
    async fn visit(&self) -> Id {
        let session = self.request(None);
        insert(&session, "cart", "pears").await;
        session.save().await.expect("it is saved");
        session.id().expect("it was saved")
    }

    async fn cart(&self, id: Id) -> Option<String> {
        let request = self.request(Some(id));
        request.get("cart").await.expect("the store works")
    }
}

async fn insert(session: &Session, name: &str, value: &str) {
    let inserted = session.insert(name, value).await;
    inserted.expect("the store works");
}

async fn what_one_process_saves_another_one_loads(place: Arc<dyn Place>) -> Result<()> {
    let (here, there) = (Service::open(&place).await?, Service::open(&place).await?);
    let id = here.visit().await;
    assert_eq!(there.cart(id).await.as_deref(), Some("pears"));
    let request = there.request(Some(id));
    insert(&request, "cart", "plums").await;
    request.save().await.expect("it is saved");
    assert_eq!(here.cart(id).await.as_deref(), Some("plums"));
    Ok(())
}

async fn ids_are_kept_as_hashes(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    let id = service.visit().await;
    let ours: SessionId = id.to_string().parse()?; // the text of the cookie
    let store = service.sessions.store();
    let kept = store.load(&ours.hash(), None).await?.expect("it is there");
    assert_eq!(kept.hash, ours.hash());
    assert_ne!(kept.hash.as_bytes()[..16], id.0.to_le_bytes());
    Ok(())
}

async fn a_save_that_loses_against_a_logout_brings_nothing_back(
    place: Arc<dyn Place>,
) -> Result<()> {
    let service = Service::open(&place).await?;
    let id = service.visit().await;
    let (slow, logout) = (service.request(Some(id)), service.request(Some(id)));
    insert(&slow, "cart", "plums").await;
    logout.flush().await.expect("it is revoked");
    let saved = slow.save().await;
    assert!(saved.is_err(), "and the middleware answers 500");
    assert_eq!(service.cart(id).await, None);
    Ok(())
}

async fn emptying_a_session_that_is_gone_is_no_error(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    let request = service.request(Some(Id::default()));
    request.clear().await;
    request.save().await.expect("there is nothing to lose");
    let sessions: &dyn session_store::SessionStore = &*service.sessions;
    let id = request.id().expect("the cookie's");
    assert!(sessions.load(&id).await.expect("it works").is_none());
    Ok(())
}

async fn a_new_id_keeps_the_data_and_kills_the_old_one(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    let old = service.visit().await;
    let login = service.request(Some(old));
    login.cycle_id().await.expect("the store works");
    login.save().await.expect("it is saved");
    let new = login.id().expect("it was saved");
    assert_ne!(new, old);
    assert_eq!(service.cart(new).await.as_deref(), Some("pears"));
    assert_eq!(service.cart(old).await, None);
    Ok(())
}

async fn signing_out_everywhere_finds_the_user(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    let ids = [service.visit().await, service.visit().await];
    for id in ids {
        let login = service.request(Some(id));
        let inserted = login.insert("user", 42).await;
        inserted.expect("the store works");
        login.save().await.expect("it is saved");
    }
    let other = service.visit().await;
    let store = service.sessions.store();
    assert_eq!(store.list("42", 10).await?.len(), 2);
    assert_eq!(store.revoke_all("42", None).await?, 2);
    for id in ids {
        assert_eq!(service.cart(id).await, None);
    }
    assert!(service.cart(other).await.is_some());
    Ok(())
}

async fn the_stores_clock_ends_sessions(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    let (idle, used) = (service.visit().await, service.visit().await);
    service.clock.advance(HOUR / 2);
    let request = service.request(Some(used));
    insert(&request, "cart", "plums").await;
    request.save().await.expect("it is saved");
    service.clock.advance(HOUR / 2);
    assert_eq!(service.cart(idle).await, None);
    assert!(service.cart(used).await.is_some());
    Ok(())
}

async fn no_use_goes_beyond_the_lifetime(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    let id = service.visit().await;
    for use_ in 1..48 {
        service.clock.advance(HOUR / 2);
        let request = service.request(Some(id));
        let inserted = request.insert("use", use_).await;
        inserted.expect("the store works");
        request.save().await.expect("it is saved");
    }
    service.clock.advance(HOUR / 2);
    assert_eq!(service.cart(id).await, None);
    Ok(())
}

async fn what_has_expired_is_deleted(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    for _ in 0..3 {
        service.visit().await;
    }
    service.clock.advance(HOUR * 3 / 4);
    let living = service.visit().await;
    service.clock.advance(HOUR / 2);
    let deleted = service.sessions.delete_expired().await;
    deleted.expect("the store works");
    assert_eq!(service.sessions.store().purge(10).await?, 0);
    assert!(service.cart(living).await.is_some());
    Ok(())
}

async fn data_that_is_too_large_is_refused(place: Arc<dyn Place>) -> Result<()> {
    let service = Service::open(&place).await?;
    let request = service.request(None);
    insert(&request, "cart", &"x".repeat(65 * 1024)).await;
    let saved = request.save().await;
    assert!(saved.is_err() && request.id().is_none());
    Ok(())
}

tests![
    what_one_process_saves_another_one_loads,
    ids_are_kept_as_hashes,
    a_save_that_loses_against_a_logout_brings_nothing_back,
    emptying_a_session_that_is_gone_is_no_error,
    a_new_id_keeps_the_data_and_kills_the_old_one,
    signing_out_everywhere_finds_the_user,
    the_stores_clock_ends_sessions,
    no_use_goes_beyond_the_lifetime,
    what_has_expired_is_deleted,
    data_that_is_too_large_is_refused,
];
