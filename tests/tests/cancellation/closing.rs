//! Closing, dropped: it can be repeated, and what was acknowledged is there.

use std::sync::Arc;

use larder_core::models::{self, NewTag, Tag};
use larder_core::{Db, DbOptions, ErrorKind, Result, TxOptions};

use crate::Subject;
use crate::dropping::{DEADLINE, MOMENTS, Moment, close, poll_times};

/// Drops a close after 0, 1, 2, .. polls, alone and beside an open transaction.
pub(crate) async fn drop_close(subject: &Subject) -> Result<()> {
    for beside_transaction in [false, true] {
        for moment in MOMENTS {
            let mut polls = 0;
            while !close_dropped(subject, polls, moment, beside_transaction).await? {
                polls += 1;
            }
        }
    }
    Ok(())
}

/// Whether the close came to its end.
async fn close_dropped(
    subject: &Subject,
    polls: usize,
    moment: Moment,
    beside_transaction: bool,
) -> Result<bool> {
    let fresh = subject.engine.fresh(&models::tables()).await?;
    let options = DbOptions::default().timeout(DEADLINE);
    let db = Db::from_shared(Arc::clone(&fresh.storage), options.clone());
    db.insert(NewTag::new("before")).await?;
    let mut open = Vec::new();
    if beside_transaction {
        let tx = db.begin(TxOptions::new()).await?;
        tx.insert(NewTag::new("never")).await?;
        open.push(tx);
    }
    let closing = db.clone();
    let closing = Box::pin(async move { closing.close().await });
    let ended = poll_times(closing, polls, moment, &mut open).await?;
    drop(open);
    let late = db.insert(NewTag::new("late")).await;
    match &late {
        Ok(_) => assert!(!ended, "closed, and yet it writes"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}"),
    }
    close(&*fresh.storage).await?;
    let refused = db.insert(NewTag::new("later")).await;
    assert_eq!(
        refused.map_err(|error| error.kind()),
        Err(ErrorKind::Closed)
    );
    if let Some(again) = &fresh.again {
        let storage = again().await?;
        let db = Db::from_shared(Arc::clone(&storage), options);
        let found = db.query::<Tag>().count().await?;
        assert_eq!(found, 1 + u64::from(late.is_ok()));
        close(&*storage).await?;
    }
    Ok(ended)
}
