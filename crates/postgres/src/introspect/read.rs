//! The queries, one per kind of thing, each for the whole schema.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::{ColumnSchema, IndexSchema, ReferenceSchema, Schema, TableSchema};

/// Tables and views, less those of extensions. Only the schema's own number is asked for first.
const TABLES: &str = "
SELECT c.relname, c.relpersistence = 'u', pg_get_partkeydef(c.oid)
FROM pg_class AS c
WHERE c.relnamespace = $1
  AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')";

const COLUMNS: &str = "
SELECT
  c.relname,
  a.attname,
  format_type(a.atttypid, a.atttypmod),
  a.attnotnull,
  pg_get_expr(d.adbin, d.adrelid),
  array_position(k.conkey, a.attnum),
  CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
  a.attgenerated <> '',
  CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_constraint AS k ON k.conrelid = a.attrelid AND k.contype = 'p'
WHERE c.relnamespace = $1
  AND c.relkind IN ('r', 'p')
  AND a.attnum > 0
  AND NOT a.attisdropped";

const INDEXES: &str = "
SELECT
  t.relname,
  CASE WHEN NOT i.indisprimary THEN c.relname END,
  i.indisunique,
  ARRAY(
    SELECT pg_get_indexdef(i.indexrelid, n, true)
    FROM generate_series(1, i.indnkeyatts) AS n
    ORDER BY n
  ),
  pg_get_indexdef(i.indexrelid, 0, true),
  i.indisvalid
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_class AS t ON t.oid = i.indrelid
WHERE t.relnamespace = $1
  AND t.relkind IN ('r', 'p')";

const REFERENCES: &str = "
SELECT
  c.relname,
  ARRAY(
    SELECT a.attname::text
    FROM unnest(k.conkey) WITH ORDINALITY AS n (number, place)
    JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n.number
    ORDER BY n.place
  ),
  k.confrelid::regclass::text,
  ARRAY(
    SELECT a.attname::text
    FROM unnest(k.confkey) WITH ORDINALITY AS n (number, place)
    JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = n.number
    ORDER BY n.place
  ),
  k.confdeltype::text,
  k.confupdtype::text,
  k.condeferrable,
  k.convalidated
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid
WHERE k.connamespace = $1
  AND k.contype = 'f'";

const CHECKS: &str = "
SELECT c.relname, pg_get_constraintdef(k.oid, true)
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid
WHERE k.connamespace = $1
  AND k.contype IN ('c', 'x')";

const DEFINITIONS: &str = "
SELECT 'view', c.relname::text, pg_get_viewdef(c.oid, true)
FROM pg_class AS c
WHERE c.relnamespace = $1
  AND c.relkind IN ('v', 'm')
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT 'trigger', c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid, true)
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = $1
  AND NOT t.tgisinternal";

const ENUMS: &str = "
SELECT t.typname, array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
FROM pg_type AS t
JOIN pg_enum AS e ON e.enumtypid = t.oid
WHERE t.typnamespace = $1
GROUP BY t.typname";

/// The current schema; none if there is no such.
pub(super) async fn schema(client: &Client) -> Result<Option<Schema>, Error> {
    let sql = "SELECT oid FROM pg_namespace WHERE nspname = current_schema()";
    let Some(row) = client.query_typed_opt(sql, &[]).await? else {
        return Ok(None);
    };
    let reader = Reader {
        client,
        namespace: row.try_get(0)?,
    };
    let mut schema = Schema::default();
    for row in reader.rows(TABLES).await? {
        let table = TableSchema {
            unlogged: row.try_get(1)?,
            partitioned: row.try_get(2)?,
            ..TableSchema::default()
        };
        schema.tables.insert(row.try_get(0)?, table);
    }
    reader.fill(&mut schema.tables).await?;
    for row in reader.rows(DEFINITIONS).await? {
        let into = match row.try_get(0)? {
            "view" => &mut schema.views,
            _ => &mut schema.triggers,
        };
        into.insert(row.try_get(1)?, row.try_get(2)?);
    }
    for row in reader.rows(ENUMS).await? {
        schema.enums.insert(row.try_get(0)?, row.try_get(1)?);
    }
    Ok(Some(schema))
}

struct Reader<'a> {
    client: &'a Client,
    namespace: u32,
}

impl Reader<'_> {
    async fn rows(&self, sql: &str) -> Result<Vec<Row>, Error> {
        let namespace = &self.namespace;
        self.client
            .query_typed(sql, &[(namespace, Type::OID)])
            .await
    }

    /// What the tables hold. Rows of tables that are left out are passed over.
    async fn fill(&self, tables: &mut BTreeMap<String, TableSchema>) -> Result<(), Error> {
        for row in self.rows(COLUMNS).await? {
            if let Some(table) = tables.get_mut(row.try_get::<_, &str>(0)?) {
                table.columns.insert(row.try_get(1)?, column(&row)?);
            }
        }
        for row in self.rows(INDEXES).await? {
            if let Some(table) = tables.get_mut(row.try_get::<_, &str>(0)?) {
                table.indexes.insert(index(&row)?);
            }
        }
        for row in self.rows(REFERENCES).await? {
            if let Some(table) = tables.get_mut(row.try_get::<_, &str>(0)?) {
                table.references.insert(reference(&row)?);
            }
        }
        for row in self.rows(CHECKS).await? {
            if let Some(table) = tables.get_mut(row.try_get::<_, &str>(0)?) {
                table.checks.insert(row.try_get(1)?);
            }
        }
        Ok(())
    }
}

fn column(row: &Row) -> Result<ColumnSchema, Error> {
    let key: Option<i32> = row.try_get(5)?;
    Ok(ColumnSchema {
        declared: row.try_get(2)?,
        not_null: row.try_get(3)?,
        default: row.try_get(4)?,
        key: key.map(i32::unsigned_abs),
        identity: row.try_get(6)?,
        generated: row.try_get(7)?,
        collation: row.try_get(8)?,
    })
}

fn index(row: &Row) -> Result<IndexSchema, Error> {
    let definition: &str = row.try_get(4)?;
    // `CREATE INDEX name ON table USING btree (..)`: name and table are said elsewhere.
    let definition = definition
        .split_once(" USING ")
        .map_or(definition, |(_, rest)| rest);
    Ok(IndexSchema {
        name: row.try_get(1)?,
        unique: row.try_get(2)?,
        parts: row.try_get(3)?,
        definition: definition.to_owned(),
        valid: row.try_get(5)?,
    })
}

fn reference(row: &Row) -> Result<ReferenceSchema, Error> {
    Ok(ReferenceSchema {
        columns: row.try_get(1)?,
        parent: row.try_get(2)?,
        parent_columns: row.try_get(3)?,
        on_delete: action(row.try_get(4)?).to_owned(),
        on_update: action(row.try_get(5)?).to_owned(),
        deferrable: row.try_get(6)?,
        validated: row.try_get(7)?,
    })
}

/// The letter by which the catalog keeps what a reference does.
fn action(letter: &str) -> &'static str {
    match letter {
        "c" => "CASCADE",
        "r" => "RESTRICT",
        "n" => "SET NULL",
        "d" => "SET DEFAULT",
        _ => "NO ACTION",
    }
}
