//! The tables that a feed of changes lives in, as models.

use super::change::{Change, Operation, Position};
use crate::error::Result;
use crate::schema::Table;
use crate::types::Timestamp;
use crate::{Entity, Id, Insert};

/// A change as it is kept; inserted by the transaction whose change it is.
#[derive(Entity, Clone, Debug)]
#[entity(table = "larder_changes", index(tx, id))]
pub struct ChangeRow {
    /// Drawn when it is inserted.
    #[key(auto)]
    pub id: Id<ChangeRow>,
    /// The number of the transaction, where several write at a time: the column's default sets it.
    pub tx: Option<i64>,
    /// See [`Change::table`].
    pub table_name: String,
    /// See [`Change::key`].
    pub row_key: String,
    /// See [`Change::operation`].
    pub operation: Operation,
    /// See [`Change::row`].
    pub row_json: Option<String>,
    /// See [`Change::at`].
    pub changed_at: Timestamp,
}

/// How far the oldest changes have been removed: one row, named `purged`.
#[derive(Entity, Clone, Debug)]
#[entity(table = "larder_change_marks")]
pub struct MarkRow {
    /// What the mark says.
    #[key]
    pub name: String,
    /// The position's transaction.
    pub tx: i64,
    /// The position's number.
    pub change_id: i64,
}

/// A group of consumers, and how far it has taken changes.
#[derive(Entity, Clone, Debug)]
#[entity(table = "larder_change_groups")]
pub struct GroupRow {
    /// The group's name.
    #[key]
    pub name: String,
    /// The position's transaction.
    pub tx: i64,
    /// The position's number.
    pub change_id: i64,
}

/// A change that a group has taken and not acknowledged.
#[derive(Entity, Clone, Debug)]
#[entity(
    table = "larder_change_deliveries",
    index(group_name, dead, visible_at)
)]
pub struct DeliveryRow {
    /// Drawn when it is taken.
    #[key(auto)]
    pub id: Id<DeliveryRow>,
    /// The group.
    pub group_name: String,
    /// Whether it is given up, after too many attempts.
    pub dead: bool,
    /// When it may be taken once more; of a dead one, when it was given up.
    pub visible_at: Timestamp,
    /// How often it was handed out.
    pub attempts: i32,
    /// To whom it was handed out last.
    pub consumer: String,
    /// The [`Change`] as JSON, so that it outlives the feed's retention.
    pub change_json: String,
}

/// A new [`DeliveryRow`].
#[derive(Insert, Clone, Debug)]
#[insert(DeliveryRow)]
pub(super) struct NewDelivery {
    pub(super) group_name: String,
    pub(super) dead: bool,
    pub(super) visible_at: Timestamp,
    pub(super) attempts: i32,
    pub(super) consumer: String,
    pub(super) change_json: String,
}

/// The tables of a feed of changes. An engine makes them when it is asked to; a service whose role
/// may not, in a migration.
pub fn tables() -> Vec<&'static Table> {
    vec![
        ChangeRow::TABLE,
        MarkRow::TABLE,
        GroupRow::TABLE,
        DeliveryRow::TABLE,
    ]
}

impl ChangeRow {
    pub(super) fn position(&self) -> Position {
        Position::new(self.tx.unwrap_or(0), self.id.get())
    }

    pub(super) fn into_change(self) -> Change {
        Change {
            position: self.position(),
            table: self.table_name,
            key: self.row_key,
            operation: self.operation,
            row: self.row_json,
            at: self.changed_at,
        }
    }
}

impl MarkRow {
    pub(super) fn position(&self) -> Position {
        Position::new(self.tx, self.change_id)
    }
}

impl GroupRow {
    pub(super) fn position(&self) -> Position {
        Position::new(self.tx, self.change_id)
    }
}

impl DeliveryRow {
    pub(super) fn change(&self) -> Result<Change> {
        serde_json::from_str(&self.change_json).map_err(|source| {
            crate::Error::decode("the change that was handed out cannot be read")
                .or_column(Self::TABLE.name, "change_json")
                .with_source(source)
        })
    }
}
