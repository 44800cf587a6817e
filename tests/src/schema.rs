//! Models that the shared ones have no case for: every column type, keys of all shapes, every
//! rule on deletion, names that need quoting.

use larder_core::{
    Date, Decimal, Entity, Id, Insert, Json, Newtype, Patch, Table, TextEnum, Timestamp, Uuid,
};
use serde_json::Value as Document;

/// Every column type, required and optional.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "all_types")]
pub struct AllTypes {
    /// The key.
    #[key(auto)]
    pub id: Id<AllTypes>,
    /// A bool.
    pub flag: bool,
    /// 16 bits.
    pub small: i16,
    /// 32 bits.
    pub medium: i32,
    /// 64 bits.
    pub large: i64,
    /// Single precision.
    pub single: f32,
    /// Double precision.
    pub double: f64,
    /// Text.
    pub text: String,
    /// Bytes.
    pub bytes: Vec<u8>,
    /// An instant.
    pub at: Timestamp,
    /// A day.
    pub day: Date,
    /// A UUID.
    pub uuid: Uuid,
    /// An exact number.
    pub decimal: Decimal,
    /// A document.
    pub json: Json<Document>,
    /// An enum.
    pub mood: Mood,
    /// A newtype.
    pub label: Label,
    /// Maybe a bool.
    pub maybe_flag: Option<bool>,
    /// Maybe 16 bits.
    pub maybe_small: Option<i16>,
    /// Maybe 32 bits.
    pub maybe_medium: Option<i32>,
    /// Maybe 64 bits.
    pub maybe_large: Option<i64>,
    /// Maybe single precision.
    pub maybe_single: Option<f32>,
    /// Maybe double precision.
    pub maybe_double: Option<f64>,
    /// Maybe text.
    pub maybe_text: Option<String>,
    /// Maybe bytes.
    pub maybe_bytes: Option<Vec<u8>>,
    /// Maybe an instant.
    pub maybe_at: Option<Timestamp>,
    /// Maybe a day.
    pub maybe_day: Option<Date>,
    /// Maybe a UUID.
    pub maybe_uuid: Option<Uuid>,
    /// Maybe an exact number.
    pub maybe_decimal: Option<Decimal>,
    /// Maybe a document.
    pub maybe_json: Option<Json<Document>>,
    /// Maybe an enum.
    pub maybe_mood: Option<Mood>,
    /// Maybe a newtype.
    pub maybe_label: Option<Label>,
}

/// An enum stored as text.
#[derive(TextEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Stored as `calm`.
    Calm,
    /// Stored as `very_happy`.
    VeryHappy,
    /// Stored under another word.
    #[text("así así")]
    Middling,
}

/// A text by another name.
#[derive(Newtype, Clone, Debug, PartialEq, Eq)]
pub struct Label(pub String);

/// Columns with defaults.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "defaulted")]
pub struct Defaulted {
    /// The key.
    #[key(auto)]
    pub id: Id<Defaulted>,
    /// What a new row must bring.
    pub name: String,
    /// True by default.
    #[column(default = true)]
    pub flag: bool,
    /// Negative by default.
    #[column(default = -7)]
    pub number: i32,
    /// A fraction by default.
    #[column(default = 0.5)]
    pub ratio: f64,
    /// Text with a quote by default.
    #[column(default = "it's \"so\"")]
    pub text: String,
    /// A variant by default.
    #[column(default = Mood::VeryHappy)]
    pub mood: Mood,
    /// Nothing by default.
    pub note: Option<String>,
}

/// Leaves all the defaults to the model.
#[derive(Insert, Clone, Debug)]
#[insert(Defaulted)]
pub struct NewDefaulted {
    /// See [`Defaulted::name`].
    pub name: String,
}

/// Leaves nothing to the model but the key.
#[derive(Insert, Clone, Debug)]
#[insert(Defaulted)]
pub struct NewExplicit {
    /// See [`Defaulted::name`].
    pub name: String,
    /// See [`Defaulted::flag`].
    pub flag: bool,
    /// See [`Defaulted::number`].
    pub number: i32,
    /// See [`Defaulted::note`].
    pub note: Option<String>,
}

/// Kept by optimistic locking and by the clock.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "accounts")]
pub struct Account {
    /// The key.
    #[key(auto)]
    pub id: Id<Account>,
    /// Whose it is.
    #[unique]
    #[column(max_len = 20)]
    pub owner: String,
    /// How much is on it.
    pub balance: i64,
    /// A smaller number.
    pub points: i32,
    /// Counted up by every update.
    #[version]
    pub version: i64,
    /// When it was opened.
    #[created_at]
    pub created_at: Timestamp,
    /// When it was last changed; set from the start.
    #[updated_at]
    pub updated_at: Timestamp,
}

/// What a new account needs.
#[derive(Insert, Clone, Debug)]
#[insert(Account)]
pub struct NewAccount {
    /// See [`Account::owner`].
    pub owner: String,
    /// See [`Account::balance`].
    pub balance: i64,
    /// See [`Account::points`].
    pub points: i32,
}

impl NewAccount {
    /// An account with this balance and no points.
    pub fn new(owner: impl Into<String>, balance: i64) -> Self {
        Self {
            owner: owner.into(),
            balance,
            points: 0,
        }
    }
}

/// What can be changed about an account.
#[derive(Patch, Clone, Debug, Default)]
#[patch(Account)]
pub struct AccountPatch {
    /// See [`Account::owner`].
    pub owner: Option<String>,
    /// See [`Account::balance`].
    pub balance: Option<i64>,
}

/// Has a key that the application makes.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "documents")]
pub struct Paper {
    /// The key.
    #[key]
    pub id: Uuid,
    /// A line of text.
    pub title: String,
}

/// A tree: each node refers to its parent.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "nodes")]
pub struct Node {
    /// The key.
    #[key(auto)]
    pub id: Id<Node>,
    /// The node above; children go with it.
    #[index]
    #[references(Node, on_delete = cascade)]
    pub parent_id: Option<Id<Node>>,
    /// Its name.
    pub name: String,
}

/// What a new node needs.
#[derive(Insert, Clone, Debug)]
#[insert(Node)]
pub struct NewNode {
    /// See [`Node::parent_id`].
    pub parent_id: Option<Id<Node>>,
    /// See [`Node::name`].
    pub name: String,
}

/// A building that rooms and keys refer to.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "houses")]
pub struct House {
    /// The key.
    #[key(auto)]
    pub id: Id<House>,
    /// Its name.
    pub name: String,
}

/// What a new house needs.
#[derive(Insert, Clone, Debug)]
#[insert(House)]
pub struct NewHouse {
    /// See [`House::name`].
    pub name: String,
}

/// Keeps its house from being deleted; unique by two columns, one of which may be NULL.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(
    table = "rooms",
    unique(house_id, number),
    unique(name = "one_door_per_wall", wall, door)
)]
pub struct Room {
    /// The key.
    #[key(auto)]
    pub id: Id<Room>,
    /// The house, which stays while it has rooms.
    #[references(House)]
    pub house_id: Id<House>,
    /// Its number within the house.
    pub number: i32,
    /// Half of a unique key.
    pub wall: Option<String>,
    /// The other half.
    pub door: Option<i32>,
}

/// What a new room needs.
#[derive(Insert, Clone, Debug)]
#[insert(Room)]
pub struct NewRoom {
    /// See [`Room::house_id`].
    pub house_id: Id<House>,
    /// See [`Room::number`].
    pub number: i32,
    /// See [`Room::wall`].
    pub wall: Option<String>,
    /// See [`Room::door`].
    pub door: Option<i32>,
}

impl NewRoom {
    /// A room without a wall or a door.
    pub fn new(house_id: Id<House>, number: i32) -> Self {
        Self {
            house_id,
            number,
            wall: None,
            door: None,
        }
    }
}

/// Forgets its house when that is deleted.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "door_keys")]
pub struct DoorKey {
    /// The key.
    #[key(auto)]
    pub id: Id<DoorKey>,
    /// The house it opens, if that still stands.
    #[index]
    #[references(House, on_delete = set_null)]
    pub house_id: Option<Id<House>>,
    /// What is written on it.
    pub label: String,
}

/// What a new key needs.
#[derive(Insert, Clone, Debug)]
#[insert(DoorKey)]
pub struct NewDoorKey {
    /// See [`DoorKey::house_id`].
    pub house_id: Option<Id<House>>,
    /// See [`DoorKey::label`].
    pub label: String,
}

/// One row for each house at most: a has-one.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "roofs")]
pub struct Roof {
    /// The house, which is the key too.
    #[key]
    #[references(House, on_delete = cascade)]
    pub house_id: Id<House>,
    /// What it is made of.
    pub material: String,
}

/// What a roof, which would go with its house, stays for.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "tiles")]
pub struct Tile {
    /// The key.
    #[key]
    pub number: i64,
    /// The roof, by its house.
    #[references(Roof)]
    pub roof_id: Id<House>,
}

/// Numbers to filter, order and add up; all of them may be NULL.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "measures", index(series, number))]
pub struct Measure {
    /// The key.
    #[key(auto)]
    pub id: Id<Measure>,
    /// A word to group by.
    pub series: Option<String>,
    /// An integer.
    pub number: Option<i64>,
    /// Another one, for comparisons within the row.
    pub other: Option<i64>,
    /// A float.
    pub float: Option<f64>,
    /// An exact number.
    pub exact: Option<Decimal>,
}

/// What a new measure needs: anything.
#[derive(Insert, Clone, Debug, Default)]
#[insert(Measure)]
pub struct NewMeasure {
    /// See [`Measure::series`].
    pub series: Option<String>,
    /// See [`Measure::number`].
    pub number: Option<i64>,
    /// See [`Measure::other`].
    pub other: Option<i64>,
    /// See [`Measure::float`].
    pub float: Option<f64>,
    /// See [`Measure::exact`].
    pub exact: Option<Decimal>,
}

/// Names that mean something in SQL.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "order", index(name = "by", from, r#where))]
pub struct Awkward {
    /// The key, in no lower case.
    #[key(auto)]
    #[column(name = "Select")]
    pub id: Id<Awkward>,
    /// A keyword.
    #[unique]
    pub from: String,
    /// A keyword in Rust too.
    pub r#where: i32,
    /// Holds a space.
    #[column(name = "group by")]
    pub group: Option<String>,
}

/// What a new awkward row needs.
#[derive(Insert, Clone, Debug)]
#[insert(Awkward)]
pub struct NewAwkward {
    /// See [`Awkward::from`].
    pub from: String,
    /// See [`Awkward::where`].
    pub r#where: i32,
    /// See [`Awkward::group`].
    pub group: Option<String>,
}

/// Holds any document.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "pages")]
pub struct Page {
    /// The key.
    #[key]
    pub id: i64,
    /// What is said of it.
    pub meta: Option<Json<serde_json::Value>>,
}

/// Texts to be searched.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(table = "notes", search(title, text))]
pub struct Note {
    /// The key.
    #[key]
    pub id: i64,
    /// One line.
    pub title: String,
    /// Perhaps more.
    pub text: Option<String>,
    /// What it goes with.
    #[references(Note, on_delete = cascade)]
    pub parent: Option<i64>,
}

/// The tables of these models, parents before their children.
pub fn tables() -> [&'static Table; 14] {
    [
        AllTypes::TABLE,
        Defaulted::TABLE,
        Account::TABLE,
        Paper::TABLE,
        Node::TABLE,
        House::TABLE,
        Room::TABLE,
        DoorKey::TABLE,
        Roof::TABLE,
        Tile::TABLE,
        Measure::TABLE,
        Awkward::TABLE,
        Page::TABLE,
        Note::TABLE,
    ]
}
