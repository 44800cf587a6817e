//! Looking for missing parents.

use larder_core::models::{Post, User};
use larder_core::{Entity, Value};
use rusqlite::Connection;

use crate::violation::lacks_parent;

#[test]
fn a_lookup_that_fails_is_not_taken_for_a_parent() {
    let connection = Connection::open_in_memory().expect("a database in memory");
    rusqlite::vtab::array::load_module(&connection).expect("the module of arrays");
    let author = &Post::TABLE.columns[Post::AUTHOR_ID.index()];
    let reference = author.references.as_ref().expect("it refers to users");
    let lacks = |values: &[Value]| lacks_parent(&connection, reference, values);
    assert!(lacks(&[Value::Int(1)]).is_err(), "there is no such table");
    let sql = format!("CREATE TABLE {} (id INTEGER PRIMARY KEY)", User::TABLE.name);
    connection.execute_batch(&sql).expect("a table");
    assert!(lacks(&[Value::Int(1)]).expect("the table is there"));
    connection
        .execute_batch("INSERT INTO users (id) VALUES (1)")
        .expect("a row");
    assert!(!lacks(&[Value::Int(1), Value::Int(1)]).expect("the table is there"));
    assert!(lacks(&[Value::Int(1), Value::Int(2)]).expect("the table is there"));
    assert!(!lacks(&[Value::Null]).expect("NULL refers to nothing"));
}
