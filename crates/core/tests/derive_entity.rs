//! What `#[derive(Entity)]`, `#[derive(Insert)]` and `#[derive(Patch)]` write.

use larder_core::models::{Comment, Post, PostPatch, PostStatus, PostTag, User};
use larder_core::rows::OwnedRow;
use larder_core::{
    Changes, DefaultValue, Entity, Id, Insert, Kind, OnDelete, Patch, Result, Table, Timestamp,
    Value,
};

/// Everything that the seed models do not use.
#[derive(Entity, Clone, Debug, PartialEq)]
#[entity(
    table = "odds",
    unique(r#type, label),
    index[name = "by_label", label, r#type]
)]
struct Odd {
    #[key]
    id: i64,
    r#type: String,
    #[column(name = "the label", default = "none", max_len = 10)]
    label: Option<String>,
    #[unique(name = "odd_codes")]
    code: i16,
    #[column(default = -5)]
    level: i32,
    #[column(default = -0.5)]
    weight: f64,
    #[references(Self, on_delete = set_null)]
    parent_id: Option<i64>,
    #[version]
    version: i64,
}

fn names(table: &Table, columns: &[usize]) -> Vec<&'static str> {
    columns.iter().map(|&at| table.columns[at].name).collect()
}

#[test]
fn the_table_says_what_the_struct_says() {
    let table = Post::TABLE;
    assert_eq!(
        (table.name, names(table, table.key), table.auto_key),
        ("posts", vec!["id"], true)
    );
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|c| (c.name, c.kind, c.nullable, c.max_len))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", Kind::I64, false, None),
            ("author_id", Kind::I64, false, None),
            ("slug", Kind::Text, false, Some(200)),
            ("title", Kind::Text, false, Some(200)),
            ("summary", Kind::Text, false, Some(1000)),
            ("content", Kind::Text, false, None),
            ("status", Kind::Text, false, None),
            ("created_at", Kind::Timestamp, false, None),
            ("updated_at", Kind::Timestamp, true, None),
        ]
    );
    assert_eq!(
        (table.created_at, table.updated_at, table.version),
        (Some(7), Some(8), None)
    );
    assert_eq!(table.columns[6].default, Some(DefaultValue::Text("draft")));
    let author = table.columns[1].references.as_ref().expect("a reference");
    assert!(std::ptr::eq((author.table)(), User::TABLE));
    assert_eq!(author.on_delete, OnDelete::Cascade);
}

#[test]
fn indexes_and_constraints_have_names() {
    let named = |indexes: &'static [larder_core::Index], table| -> Vec<_> {
        indexes
            .iter()
            .map(|index| (index.name, names(table, index.columns)))
            .collect()
    };
    assert_eq!(
        named(Post::TABLE.uniques, Post::TABLE),
        [("posts_slug_key", vec!["slug"])]
    );
    assert_eq!(
        named(Post::TABLE.indexes, Post::TABLE),
        [
            ("posts_author_id_status_idx", vec!["author_id", "status"]),
            ("posts_status_created_at_idx", vec!["status", "created_at"]),
        ]
    );
    assert_eq!(
        named(Odd::TABLE.uniques, Odd::TABLE),
        [
            ("odd_codes", vec!["code"]),
            ("odds_type_the label_key", vec!["type", "the label"])
        ]
    );
    assert_eq!(
        named(Odd::TABLE.indexes, Odd::TABLE),
        [("by_label", vec!["the label", "type"])]
    );
    let search = Post::TABLE.search.as_ref().expect("posts are searched");
    assert_eq!(search.name, "posts_search");
    assert_eq!(names(Post::TABLE, search.columns), ["title", "content"]);
    assert!(Odd::TABLE.search.is_none());
    let unique = Odd::UNIQUE_TYPE_LABEL.def().expect("a constraint");
    assert_eq!(unique.name, "odds_type_the label_key");
    assert!(Odd::KEY.def().is_none());
}

#[test]
fn defaults_and_the_rest_are_as_written() {
    let defaults: Vec<_> = Odd::TABLE
        .columns
        .iter()
        .filter_map(|column| column.default)
        .collect();
    assert_eq!(
        defaults,
        [
            DefaultValue::Text("none"),
            DefaultValue::Int(-5),
            DefaultValue::Float(-0.5)
        ]
    );
    assert_eq!(Odd::TABLE.version, Some(7));
    assert!(!Odd::TABLE.auto_key);
    let parent = Odd::TABLE.columns[6]
        .references
        .as_ref()
        .expect("a reference");
    assert!((parent.table)().is(Odd::TABLE));
    assert_eq!(parent.on_delete, OnDelete::SetNull);
    assert_eq!(Odd::TYPE.name(), "type");
}

#[test]
fn a_row_becomes_the_struct_and_back() -> Result<()> {
    let odd = Odd {
        id: 1,
        r#type: "cup".into(),
        label: None,
        code: 7,
        level: 3,
        weight: 0.25,
        parent_id: Some(2),
        version: 4,
    };
    let values = Entity::into_values(odd.clone())?;
    assert_eq!(values.len(), Odd::TABLE.columns.len());
    assert_eq!(Odd::from_row(&OwnedRow::new(&values))?, odd);
    assert_eq!(odd.key(), 1);

    let tag = PostTag {
        post_id: Id::new(1),
        tag_id: Id::new(2),
        position: 0,
    };
    assert_eq!(tag.key(), (Id::new(1), Id::new(2)));
    assert_eq!(
        names(PostTag::TABLE, PostTag::TABLE.key),
        ["post_id", "tag_id"]
    );
    Ok(())
}

#[test]
fn a_value_that_cannot_be_stored_is_blamed_on_its_column() {
    let odd = Odd {
        id: 1,
        r#type: "a\0b".into(),
        label: None,
        code: 0,
        level: 0,
        weight: 0.0,
        parent_id: None,
        version: 1,
    };
    let error = Entity::into_values(odd).expect_err("a NUL");
    assert_eq!(
        (error.table(), error.column()),
        (Some("odds"), Some("type"))
    );
}

#[test]
fn a_model_is_inserted_as_it_is() {
    assert_eq!(<Comment as Insert>::COLUMNS, [0, 1, 2, 3, 4]);
}

#[derive(Insert)]
#[insert(Post)]
struct ShortPost {
    #[insert(into)]
    title: &'static str,
    #[insert(column = Post::CONTENT, into)]
    text: &'static str,
    slug: String,
    author_id: Id<User>,
}

#[test]
fn an_insert_struct_brings_its_columns_in_its_own_order() -> Result<()> {
    assert_eq!(<ShortPost as Insert>::COLUMNS, [3, 5, 2, 1]);
    let mut values = Vec::new();
    let post = ShortPost {
        title: "On",
        text: "..",
        slug: "on".into(),
        author_id: Id::new(9),
    };
    post.into_values(&mut values)?;
    let text = |text: &'static str| Value::Text(text.into());
    assert_eq!(values, [text("On"), text(".."), text("on"), Value::Int(9)]);
    Ok(())
}

#[test]
fn a_patch_holds_only_what_changes() -> Result<()> {
    let mut changes = Changes::default();
    PostPatch::default().into_changes(&mut changes)?;
    assert!(changes.is_empty());
    let patch = PostPatch {
        status: Some(PostStatus::Archived),
        ..PostPatch::default()
    };
    patch.into_changes(&mut changes)?;
    let shown = format!("{changes:?}");
    assert!(
        shown.contains("archived") && !shown.contains("title"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn models_can_live_in_a_function() {
    mod inner {
        use larder_core::{Entity, Id, Insert};

        #[derive(Entity)]
        #[entity(table = "locals")]
        pub(super) struct Local {
            #[key(auto)]
            id: Id<Local>,
            name: String,
        }

        #[derive(Insert)]
        #[insert(Local)]
        pub(super) struct NewLocal {
            pub(super) name: String,
        }
    }

    #[derive(Entity)]
    #[entity(table = "homes")]
    struct Home {
        #[key]
        id: uuid::Uuid,
        #[references(inner::Local)]
        local_id: Id<inner::Local>,
        at: Option<Timestamp>,
    }

    assert_eq!(inner::Local::NAME.index(), 1);
    assert_eq!(<inner::NewLocal as Insert>::COLUMNS, [1]);
    let _ = inner::NewLocal {
        name: String::new(),
    };
    assert_eq!(Home::TABLE.columns[0].kind, Kind::Uuid);
    let home = Home {
        id: uuid::Uuid::nil(),
        local_id: Id::new(1),
        at: None,
    };
    assert_eq!(home.key(), uuid::Uuid::nil());
    assert!(
        (Home::TABLE.columns[1]
            .references
            .as_ref()
            .expect("a reference")
            .table)()
        .is(inner::Local::TABLE)
    );
}
