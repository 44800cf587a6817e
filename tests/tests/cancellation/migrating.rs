//! Migrations up and down, dropped: repeated, they come to the same end.

use larder_core::Result;
use larder_core::migration::{MigrationState, MigrationStatus};
use larder_core::rows::BoxFuture;

use crate::dropping::{MOMENTS, Moment, poll_times};

/// A database to be migrated, over and over.
pub(crate) trait Migrated: Send + Sync {
    /// Applies every migration.
    fn up(&self) -> BoxFuture<'static, Result<()>>;

    /// Undoes every migration.
    fn down(&self) -> BoxFuture<'static, Result<()>>;

    /// How they stand.
    fn status(&self) -> BoxFuture<'_, Result<Vec<MigrationStatus>>>;
}

/// Drops both ways after 0, 1, 2, .. polls.
pub(crate) async fn drop_both_ways(database: Box<dyn Migrated>) -> Result<()> {
    for moment in MOMENTS {
        let mut polls = 0;
        while !dropped(&*database, polls, moment).await? {
            polls += 1;
        }
    }
    Ok(())
}

/// Whether both ways came to their ends.
async fn dropped(database: &dyn Migrated, polls: usize, moment: Moment) -> Result<bool> {
    let nobody = &mut Vec::<()>::new();
    let is_up = poll_times(database.up(), polls, moment, nobody).await?;
    database.up().await?;
    assert_all(database, MigrationState::Applied).await?;
    let is_down = poll_times(database.down(), polls, moment, nobody).await?;
    database.down().await?;
    assert_all(database, MigrationState::Pending).await?;
    Ok(is_up && is_down)
}

async fn assert_all(database: &dyn Migrated, state: MigrationState) -> Result<()> {
    let found = database.status().await?;
    assert!(
        !found.is_empty() && found.iter().all(|one| one.state == state),
        "{found:?}"
    );
    Ok(())
}
