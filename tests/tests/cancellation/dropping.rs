//! Drops a call after each of its polls, and looks at what the next users find.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use larder_core::models::{self, NewTag, Post, User};
use larder_core::rows::BoxFuture;
use larder_core::{Db, DbOptions, Result, Storage, Tx, TxOptions};
use tokio::sync::Notify;

use crate::Subject;
use crate::calls::{Call, USERS, new_post, new_user};

/// How soon the next user must be through.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// Who is not through after so long waits for whoever is in the way.
const STUCK: Duration = Duration::from_millis(3);
/// The most polls a call may need.
const POLLS_MAX: usize = 2_000;

/// When a call is dropped, after the last of its polls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// So long after it: what it asked for has not begun, or is under way.
    After(Duration),
    /// Once it was woken: its answer is there, and nobody takes it.
    Woken,
}

/// Every moment a call is dropped at.
pub(crate) const MOMENTS: [Moment; 5] = [
    Moment::After(Duration::ZERO),
    Moment::Woken,
    Moment::After(Duration::from_micros(50)),
    Moment::After(Duration::from_micros(400)),
    Moment::After(Duration::from_millis(2)),
];

/// Who is in the way, until the call is found waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rival {
    Nobody,
    /// Transactions that have all there is to write with.
    Writers,
    /// Transactions that have all there is to read with.
    Readers,
}

impl Rival {
    /// Work that has to wait for a rival first is dropped right there, and when it was let go.
    fn moments(self) -> &'static [Moment] {
        match self {
            Self::Nobody => &MOMENTS,
            Self::Writers | Self::Readers => &MOMENTS[..2],
        }
    }
}

/// Drops the call after 0, 1, 2, .. polls until it comes to its end, at every moment and beside
/// every rival.
pub(crate) async fn drop_everywhere(subject: &Subject, call: Call) -> Result<()> {
    let fresh = subject.engine.fresh(&models::tables()).await?;
    let options = DbOptions::default().timeout(DEADLINE);
    let db = Db::from_shared(Arc::clone(&fresh.storage), options);
    let users = fill(&db).await?;
    let mut number = 0;
    for rival in [Rival::Nobody, Rival::Writers, Rival::Readers] {
        for moment in rival.moments() {
            for polls in 0..POLLS_MAX {
                number += 1;
                let what = format!("dropped after {polls} polls, {moment:?}, beside {rival:?}");
                (call.prepare)(db.clone(), number).await?;
                let mut rivals = subject.rivals(&db, rival).await?;
                let run = (call.run)(db.clone(), number);
                let ended = poll_times(run, polls, *moment, &mut rivals).await?;
                let in_line = rival == Rival::Writers && !rivals.is_empty();
                drop(rivals);
                let next = next_users(subject, &db, &users, number);
                match tokio::time::timeout(DEADLINE, next).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => panic!("{what}: the next user got {error:?}"),
                    Err(late) => panic!("{what}: the next user waits in vain: {late}"),
                }
                let (done, whole) = (call.done)(db.clone(), number).await?;
                let right = match (ended, in_line) {
                    (true, _) => done == whole,
                    (false, true) => done == 0,
                    (false, false) => done == 0 || done == whole,
                };
                assert!(right, "{what}: {done} of {whole} done");
                if ended {
                    break;
                }
                assert!(polls + 1 < POLLS_MAX, "{what}: it does not come to its end");
            }
        }
    }
    close(&*fresh.storage).await
}

/// Closes a store, which must not wait for anybody.
pub(crate) async fn close(store: &dyn Storage) -> Result<()> {
    tokio::time::timeout(DEADLINE, store.close())
        .await
        .expect("nobody is left to wait for")
}

async fn fill(db: &Db) -> Result<Vec<User>> {
    let mut users = Vec::new();
    for number in 0..USERS {
        let user = db.insert(new_user(number, "nobody")?).await?;
        db.insert(new_post(&user, &format!("post-{number}")))
            .await?;
        users.push(user);
    }
    Ok(users)
}

/// The next users: each gets what it asked for, every connection is free, and writing goes on.
async fn next_users(subject: &Subject, db: &Db, users: &[User], number: usize) -> Result<()> {
    let points = users.iter().take(6).map(|user| db.find::<User>(user.id));
    for (found, user) in try_join_all(points).await?.iter().zip(users) {
        assert_eq!(found.email, user.email, "somebody else's answer");
    }
    let readers = begin_all(db, subject.readers, TxOptions::new().read_only()).await?;
    for (tx, user) in readers.into_iter().zip(users.iter().cycle()) {
        let posts = tx.query::<Post>().filter(Post::AUTHOR_ID.eq(user.id));
        let author = posts.select(Post::AUTHOR_ID).first().await?;
        assert_eq!(author, Some(user.id), "somebody else's answer");
        tx.commit().await?;
    }
    for (at, tx) in begin_all(db, subject.writers, TxOptions::new())
        .await?
        .into_iter()
        .enumerate()
    {
        tx.insert(NewTag::new(format!("next-{number}-{at}")))
            .await?;
        tx.commit().await?;
    }
    db.insert(NewTag::new(format!("after-{number}")))
        .await
        .map(drop)
}

impl Subject {
    async fn rivals(&self, db: &Db, rival: Rival) -> Result<Vec<Tx>> {
        match rival {
            Rival::Nobody => Ok(Vec::new()),
            Rival::Writers => begin_all(db, self.writers, TxOptions::new()).await,
            Rival::Readers => begin_all(db, self.readers, TxOptions::new().read_only()).await,
        }
    }
}

/// Begins so many transactions that are open at once, each of which has read something.
async fn begin_all(db: &Db, count: usize, options: TxOptions) -> Result<Vec<Tx>> {
    let mut begun = Vec::new();
    for _ in 0..count {
        let tx = db.begin(options).await?;
        assert!(tx.query::<User>().exists().await?);
        begun.push(tx);
    }
    Ok(begun)
}

/// Polls a call so many times, each time once it was woken, and drops it at this moment. Rivals
/// end when it is found waiting for them. Answers whether it came to its end.
pub(crate) async fn poll_times<R>(
    mut call: BoxFuture<'static, Result<()>>,
    polls: usize,
    moment: Moment,
    rivals: &mut Vec<R>,
) -> Result<bool> {
    let alarm = Arc::new(Alarm(Notify::new()));
    let waker = Waker::from(Arc::clone(&alarm));
    let late = Instant::now() + STUCK;
    for left in (0..polls).rev() {
        let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(outcome) = polled {
            return outcome.map(|()| true);
        }
        match moment {
            Moment::After(pause) if left == 0 => {
                let since = Instant::now();
                while since.elapsed() < pause {
                    tokio::task::yield_now().await;
                }
            }
            Moment::After(_) | Moment::Woken => alarm.wait(rivals, late).await,
        }
    }
    Ok(false)
}

/// Rings when a call is woken.
struct Alarm(Notify);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Alarm {
    /// Waits for it. Rivals end when it is this late.
    async fn wait<R>(&self, rivals: &mut Vec<R>, late: Instant) {
        if !rivals.is_empty() {
            let in_time = tokio::time::timeout_at(late.into(), self.0.notified()).await;
            if in_time.is_ok() {
                return;
            }
            rivals.clear();
        }
        tokio::time::timeout(DEADLINE, self.0.notified())
            .await
            .expect("nobody is in the way, and the call is never woken");
    }
}
