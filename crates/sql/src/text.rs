//! The text under construction, and how its columns are named.

use std::fmt::Write as _;
use std::ops::Range;

use larder_core::{ColumnDef, Table};

use crate::Statement;
use crate::dialect::{Dialect, quote_into};

/// A statement under construction.
pub(crate) struct Sql {
    pub(crate) dialect: Dialect,
    text: String,
    parameters: usize,
}

impl Sql {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            text: String::with_capacity(256),
            parameters: 0,
        }
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(crate) fn ident(&mut self, name: &str) {
        quote_into(&mut self.text, name);
    }

    /// A text of the model's source code as a literal. Values are never written so.
    ///
    /// # Panics
    /// If it holds NUL.
    pub(crate) fn literal(&mut self, text: &str) {
        assert!(
            !text.contains('\0'),
            "a text of the schema must not hold NUL"
        );
        self.push("'");
        self.push(&text.replace('\'', "''"));
        self.push("'");
    }

    /// A number that the renderer counts itself: never a value.
    pub(crate) fn number(&mut self, number: usize) {
        write!(self.text, "{number}").expect("writing to a String does not fail");
    }

    /// The placeholder of the next parameter; answers its number.
    pub(crate) fn placeholder(&mut self) -> usize {
        self.parameters += 1;
        self.placeholder_again(self.parameters);
        self.parameters
    }

    /// The placeholder of a parameter that stands in the text already.
    pub(crate) fn placeholder_again(&mut self, number: usize) {
        self.push(if self.dialect == Dialect::Sqlite {
            "?"
        } else {
            "$"
        });
        self.number(number);
    }

    /// The numbers of the next so many parameters, which are placed by hand.
    pub(crate) fn reserve(&mut self, count: usize) -> Range<usize> {
        let first = self.parameters + 1;
        self.parameters += count;
        first..first + count
    }

    /// Writes each item, separated.
    pub(crate) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        separator: &str,
        mut each: impl FnMut(&mut Self, T),
    ) {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.push(separator);
            }
            each(self, item);
        }
    }

    pub(crate) fn finish(self) -> Statement {
        Statement {
            sql: self.text,
            parameters: self.parameters,
            sort_keys: 0,
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// A table that columns are taken from, and by which name they reach it.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) table: &'static Table,
    name: Name,
}

#[derive(Clone, Copy)]
enum Name {
    /// The only table around: its columns go by their own names.
    Bare,
    /// By the table's name.
    Table,
    /// By an alias: the level of nesting.
    Alias(usize),
}

impl Scope {
    /// The statement's table, the only one around.
    pub(crate) fn bare(table: &'static Table) -> Self {
        Self {
            table,
            name: Name::Bare,
        }
    }

    /// The statement's table, with others beside it.
    pub(crate) fn named(table: &'static Table) -> Self {
        Self {
            table,
            name: Name::Table,
        }
    }

    /// A table in a query within this one's.
    pub(crate) fn nested(self, table: &'static Table) -> Self {
        let level = match self.name {
            Name::Alias(level) => level + 1,
            Name::Bare | Name::Table => 1,
        };
        Self {
            table,
            name: Name::Alias(level),
        }
    }

    /// The column, as code in this scope names it.
    pub(crate) fn column(self, sql: &mut Sql, at: usize) {
        if !matches!(self.name, Name::Bare) {
            self.qualifier(sql);
        }
        sql.ident(self.def(at).name);
    }

    /// The column, as code in a nested scope names it.
    pub(crate) fn outer_column(self, sql: &mut Sql, at: usize) {
        self.qualifier(sql);
        sql.ident(self.def(at).name);
    }

    /// The table as it stands in FROM.
    pub(crate) fn from(self, sql: &mut Sql) {
        sql.ident(self.table.name);
        if let Name::Alias(level) = self.name {
            sql.push(" AS _");
            sql.number(level);
        }
    }

    pub(crate) fn def(self, at: usize) -> &'static ColumnDef {
        &self.table.columns[at]
    }

    fn qualifier(self, sql: &mut Sql) {
        match self.name {
            Name::Bare | Name::Table => sql.ident(self.table.name),
            Name::Alias(level) => {
                sql.push("_");
                sql.number(level);
            }
        }
        sql.push(".");
    }
}
