//! Optimistic locking by a `#[version]` column.

use larder_core::{ErrorKind, Id, Result};

use crate::fixtures::refused;
use crate::harness::{TestDb, tests};
use crate::schema::{Account, AccountPatch, NewAccount};

async fn a_new_row_has_version_one(db: TestDb) -> Result<()> {
    assert_eq!(db.insert(NewAccount::new("a", 1)).await?.version, 1);
    let rows = db
        .insert_all_returning([NewAccount::new("b", 1), NewAccount::new("c", 1)])
        .await?;
    assert!(rows.iter().all(|row| row.version == 1));
    Ok(())
}

async fn every_update_counts(db: TestDb) -> Result<()> {
    let account = db.insert(NewAccount::new("a", 1)).await?;
    let patch = AccountPatch {
        balance: Some(2),
        ..AccountPatch::default()
    };
    assert_eq!(db.update::<Account>(account.id, patch).await?.version, 2);
    assert_eq!(
        db.update::<Account>(account.id, Account::BALANCE.add(1))
            .await?
            .version,
        3
    );
    db.query::<Account>()
        .update(Account::BALANCE.add(1))
        .await?;
    let account = db.find::<Account>(account.id).await?;
    assert_eq!(account.version, 4);
    let account = db.save(account).await?;
    assert_eq!(account.version, 5);
    assert_eq!(db.update_all([account.clone()]).await?, 1);
    let upsert = db
        .upsert([NewAccount::new("a", 9)])
        .on(Account::OWNER)
        .update(Account::BALANCE);
    assert_eq!(upsert.returning().await?[0].version, 7);
    let account = db
        .update::<Account>(account.id, AccountPatch::default())
        .await?;
    assert_eq!(
        (account.version, account.balance),
        (7, 9),
        "nothing changed, nothing counted"
    );
    Ok(())
}

async fn saving_a_stale_row_is_refused(db: TestDb) -> Result<()> {
    let first = db.insert(NewAccount::new("a", 1)).await?;
    let second = first.clone();
    let saved = db
        .save(Account {
            balance: 10,
            ..first
        })
        .await?;
    let error = refused(
        db.save(Account {
            balance: 20,
            ..second.clone()
        })
        .await,
        ErrorKind::Stale,
    );
    assert!(error.is_stale() && !error.is_retryable());
    assert_eq!(error.table(), Some("accounts"));
    assert_eq!(db.find::<Account>(saved.id).await?, saved);
    db.delete::<Account>(saved.id).await?;
    refused(db.save(second).await, ErrorKind::NotFound);
    Ok(())
}

async fn update_all_is_refused_whole_if_one_row_is_stale(db: TestDb) -> Result<()> {
    let new = (0..50).map(|n| NewAccount::new(format!("owner {n}"), n));
    let rows = db.insert_all_returning(new).await?;
    db.update::<Account>(rows[25].id, Account::POINTS.set(1))
        .await?;
    let before = db.query::<Account>().order(Account::ID.asc()).all().await?;
    let changed = rows
        .iter()
        .cloned()
        .map(|row| Account { balance: -1, ..row });
    refused(db.update_all(changed).await, ErrorKind::Stale);
    let after = db.query::<Account>().order(Account::ID.asc()).all().await?;
    assert_eq!(after, before, "nothing was written");
    Ok(())
}

async fn update_all_is_refused_if_a_row_is_gone(db: TestDb) -> Result<()> {
    let rows = db
        .insert_all_returning([NewAccount::new("a", 1), NewAccount::new("b", 1)])
        .await?;
    db.delete::<Account>(rows[0].id).await?;
    let changed = rows.into_iter().map(|row| Account { balance: -1, ..row });
    refused(db.update_all(changed).await, ErrorKind::Stale);
    assert_eq!(db.query::<Account>().one().await?.balance, 1);
    Ok(())
}

async fn update_all_within_a_transaction_leaves_it_usable(db: TestDb) -> Result<()> {
    let row = db.insert(NewAccount::new("a", 1)).await?;
    let tx = db.begin(larder_core::TxOptions::new()).await?;
    tx.update::<Account>(row.id, Account::BALANCE.set(5))
        .await?;
    let stale = Account {
        balance: -1,
        ..row.clone()
    };
    refused(tx.update_all([stale]).await, ErrorKind::Stale);
    tx.insert(NewAccount::new("b", 2)).await?;
    tx.commit().await?;
    let balances = db
        .query::<Account>()
        .order(Account::ID.asc())
        .select(Account::BALANCE);
    assert_eq!(balances.all().await?, [5, 2]);
    Ok(())
}

async fn a_version_is_part_of_saving_not_of_patching(db: TestDb) -> Result<()> {
    let row = db.insert(NewAccount::new("a", 1)).await?;
    db.update::<Account>(row.id, Account::POINTS.set(1)).await?;
    let patch = AccountPatch {
        owner: Some("b".into()),
        ..AccountPatch::default()
    };
    assert_eq!(db.update::<Account>(row.id, patch).await?.version, 3);
    refused(
        db.save(Account {
            id: Id::new(99),
            ..row
        })
        .await,
        ErrorKind::NotFound,
    );
    Ok(())
}

tests![
    a_new_row_has_version_one,
    every_update_counts,
    saving_a_stale_row_is_refused,
    update_all_is_refused_whole_if_one_row_is_stale,
    update_all_is_refused_if_a_row_is_gone,
    update_all_within_a_transaction_leaves_it_usable,
    a_version_is_part_of_saving_not_of_patching,
];
