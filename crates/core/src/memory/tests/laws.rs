//! What holds after any writes: maps agree with rows, keys and references are whole, and a write
//! that was refused has left no trace.

use proptest::prelude::*;

use super::*;
use crate::eval::Stored;
use crate::eval::fixture::NOTES;
use crate::work::{State, TableData, Target, apply, pick};
use crate::write::{ConflictAction, OnConflict};

static TABLES: [&Table; 3] = [&USERS, &POSTS, &NOTES];
const EMAILS: [&str; 4] = ["a", "b", "c", "d"];

fn id() -> impl Strategy<Value = Value> {
    (1..6_i64).prop_map(int)
}

fn maybe_id() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), id()]
}

fn email() -> impl Strategy<Value = Value> {
    prop::sample::select(&EMAILS[..]).prop_map(text)
}

fn which() -> impl Strategy<Value = Filter> {
    prop_oneof![Just(Filter::All), id().prop_map(|id| eq(0, id))]
}

fn on_email() -> impl Strategy<Value = Option<OnConflict>> {
    let on = |action| {
        Some(OnConflict {
            target: vec![1],
            action,
        })
    };
    let update = ConflictAction::Update {
        columns: vec![6],
        set: vec![],
        filter: Filter::All,
    };
    prop_oneof![
        Just(None),
        Just(on(ConflictAction::Ignore)),
        Just(on(update))
    ]
}

fn op() -> impl Strategy<Value = WriteOp> {
    let users = prop::collection::vec((maybe_id(), email(), maybe_id()), 1..4);
    let table = prop::sample::select(&TABLES[..]);
    prop_oneof![
        (users, on_email()).prop_map(|(rows, on)| {
            let values = rows
                .into_iter()
                .flat_map(|(id, email, boss)| [id, email, boss]);
            insert_or(&USERS, &[0, 1, 6], values.collect(), on)
        }),
        (maybe_id(), id(), email()).prop_map(|(id, author, title)| insert(
            &POSTS,
            &[0, 1, 2],
            vec![id, author, title]
        )),
        (id(), maybe_id()).prop_map(|(reader, post)| insert(&NOTES, &[1, 2], vec![reader, post])),
        (id(), which()).prop_map(|(id, filter)| update(&USERS, vec![(0, Assign::Set(id))], filter)),
        (email(), maybe_id(), which()).prop_map(|(email, boss, filter)| {
            update(
                &USERS,
                vec![(1, Assign::Set(email)), (6, Assign::Set(boss))],
                filter,
            )
        }),
        (table, which()).prop_map(|(table, filter)| WriteOp::Delete(DeleteWhere { table, filter })),
    ]
}

fn rows(state: &State, table: &'static Table) -> Vec<Stored> {
    state
        .table(table)
        .into_iter()
        .flat_map(TableData::rows)
        .cloned()
        .collect()
}

fn snapshot(state: &State) -> Vec<(Vec<Stored>, i64)> {
    let last_key = |table| state.table(table).map_or(0, TableData::last_key);
    TABLES
        .iter()
        .map(|table| (rows(state, table), last_key(table)))
        .collect()
}

/// The table as it would be, had its rows just been put into it.
fn rebuilt(state: &State, data: &TableData) -> TableData {
    let mut fresh = TableData::new(data.table());
    for row in rows(state, data.table()) {
        fresh.put(&pick(data.table().key, &row), Some(row));
    }
    fresh.set_last_key(data.last_key());
    fresh
}

fn orphans(state: &State, table: &'static Table) -> usize {
    let refers = |row: &Stored, at: usize| match &table.columns[at].references {
        Some(reference) if !row[at].is_null() => state
            .row((reference.table)(), std::slice::from_ref(&row[at]))
            .is_none(),
        _ => false,
    };
    rows(state, table)
        .iter()
        .filter(|row| (0..row.len()).any(|at| refers(row, at)))
        .count()
}

proptest! {
    #[test]
    fn any_writes_keep_the_state_whole(ops in prop::collection::vec(op(), 1..25)) {
        let mut state = State::default();
        for op in ops {
            let before = snapshot(&state);
            let shared = state.clone(); // as a transaction's or a reader's snapshot would
            let done = apply(&mut state, Write::new(op.clone()));
            if done.is_err() {
                prop_assert_eq!(&snapshot(&state), &before, "left a trace: {:?}", op);
            }
            prop_assert_eq!(&snapshot(&shared), &before, "changed a snapshot: {:?}", op);
            for table in TABLES {
                prop_assert_eq!(orphans(&state, table), 0, "after {:?}", op);
                if let Some(data) = state.table(table) {
                    prop_assert_eq!(data, &rebuilt(&state, data), "after {:?}", op);
                }
            }
        }
    }
}
