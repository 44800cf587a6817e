use std::cmp::Ordering;

use rusqlite::Connection;
use rust_decimal::Decimal;

use crate::decimal::{compare, register};

/// A small generator of numbers, so that each run sees the same texts.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn text(seed: &mut u64) -> String {
    let alphabet = b"0012359.-+a";
    let length = 1 + next(seed) % 6;
    (0..length)
        .map(|_| char::from(alphabet[next(seed) as usize % alphabet.len()]))
        .collect()
}

#[test]
fn decimals_are_ordered_by_value() {
    let ordered = [
        "-100", "-2.5", "-1.50", "-1.4", "-0.001", "0", "0.5", "+1", "2", "10", "10.01",
    ];
    for pair in ordered.windows(2) {
        assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
    }
    for (left, right) in [
        ("1.0", "1.00"),
        ("-0", "0.0"),
        ("007", "7"),
        (".5", "0.5"),
        ("1.", "1"),
    ] {
        assert_eq!(compare(left, right), Ordering::Equal, "{left} {right}");
    }
    let long = format!("{}1", "9".repeat(400));
    assert_eq!(
        compare(&long, &format!("{}2", "9".repeat(400))),
        Ordering::Less
    );
    assert_eq!(compare("9", "1a"), Ordering::Less);
    assert_eq!(compare("", "-"), Ordering::Less);
}

#[test]
fn the_order_is_total_and_agrees_with_exact_decimals() {
    let mut seed = 7;
    for _ in 0..200_000 {
        let (a, b, c) = (text(&mut seed), text(&mut seed), text(&mut seed));
        assert_eq!(compare(&a, &b), compare(&b, &a).reverse(), "{a} {b}");
        if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
            assert!(compare(&a, &c).is_le(), "{a} {b} {c}");
        }
        let plain = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'-')
        };
        if plain(&a)
            && plain(&b)
            && let (Ok(left), Ok(right)) = (a.parse::<Decimal>(), b.parse::<Decimal>())
        {
            assert_eq!(compare(&a, &b), left.cmp(&right), "{a} {b}");
        }
    }
}

#[test]
fn sums_and_averages_are_exact() {
    let connection = Connection::open_in_memory().unwrap();
    register(&connection).unwrap();
    let ask = |function: &str, values: &str| {
        let sql = format!("SELECT larder_decimal_{function}(column1) FROM (VALUES {values})");
        connection.query_row(&sql, [], |row| row.get::<_, Option<String>>(0))
    };
    assert_eq!(
        ask("sum", "('0.1'), ('0.2'), (NULL)").unwrap().as_deref(),
        Some("0.3")
    );
    assert_eq!(
        ask("avg", "('1'), ('2'), (NULL)").unwrap().as_deref(),
        Some("1.5")
    );
    assert_eq!(ask("sum", "(NULL)").unwrap(), None);
    assert!(ask("sum", "('79228162514264337593543950335'), ('1')").is_err());
    assert!(ask("sum", "('abc')").is_err());
}

#[test]
fn a_column_can_be_indexed_by_it() {
    let connection = Connection::open_in_memory().unwrap();
    register(&connection).unwrap();
    let table = "CREATE TABLE d (n TEXT COLLATE LARDER_DECIMAL PRIMARY KEY) WITHOUT ROWID;
                 INSERT INTO d VALUES ('10'), ('9.5'), ('-3'), ('2');";
    connection.execute_batch(table).unwrap();
    let sql = "SELECT group_concat(n, ' ') FROM (SELECT n FROM d WHERE n > '1.99' ORDER BY n)";
    let found: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(found, "2 9.5 10");
    assert!(
        connection
            .execute("INSERT INTO d VALUES ('2.00')", [])
            .is_err()
    );
}
