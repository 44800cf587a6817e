//! `larder show`: rows in a terminal, filtered and paged.

mod condition;
mod table;

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use larder::models::{Comment, Post, User};
use larder::{Column, Db, Entity, ErrorKind, Order, Query, Search, Value};

use super::Database;
use super::exchange::{Exchange, fields, write_json};
use super::failure::{Failure, Outcome};
use super::output::{Output, thousands};

/// Look at users, posts or comments
///
/// A page of rows as a table, long texts cut to the width of the terminal and times (UTC) to the
/// minute; --json gives whole rows, one object a line. The last line says how many rows there are in all and how to get the
/// next page.
#[derive(Args, Debug)]
#[command(after_help = "\
Conditions (--where) compare columns and are joined by `and`:
  =  !=  <  <=  >  >=      numbers, texts, true/false, times (2024-05-06 or 2024-05-06T07:08:09Z)
  ~  ^=                    a text contains, begins with
  is null, is not null     nothing is there, something is there
Values with spaces or special characters go in quotes: name = 'Ada Lovelace'. Inside, '' is one
quote.

Examples:
  larder show users --where \"name ^= Ada\"
  larder show posts --where \"status = published and created_at >= 2024-01-01\" --order created_at:desc
  larder show posts --search '\"error correction\" qubit* -classical'
  larder show comments --where \"post_id = 12\" --json | jq .content
  larder show posts --limit 50 --page CURSOR")]
pub(super) struct Show {
    /// What to look at
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    database: Database,
    /// Which rows, such as "status = published and title ~ qubit"
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Which posts, the best first: words, "phrases", beginnings* and -exclusions; in pages only
    /// with --order
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    search: Option<String>,
    /// The order: columns, each with :desc for largest first [default: by key]
    #[arg(long, value_name = "COLUMN[:desc],..", value_delimiter = ',')]
    order: Vec<String>,
    /// The most rows of a page, up to 10,000
    #[arg(long, value_name = "ROWS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// The page after this cursor, which the page before gave; --where and --order as there
    #[arg(long, value_name = "CURSOR", allow_hyphen_values = true)]
    page: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Users,
    Posts,
    Comments,
}

impl Show {
    pub(super) async fn run(&self, output: &mut Output) -> Outcome {
        let store = self.database.open_existing().await?;
        match self.what {
            What::Users => self.show::<User>(store.db(), output).await?,
            What::Posts => self.show::<Post>(store.db(), output).await?,
            What::Comments => self.show::<Comment>(store.db(), output).await?,
        }
        store.db().close().await?;
        Ok(())
    }

    async fn show<E: Exchange>(&self, db: &Db, output: &mut Output) -> Outcome {
        if self.search.is_some() && self.order.is_empty() && self.page.is_none() {
            return self.show_best::<E>(db, output).await;
        }
        let mut query = self.filtered::<E>(db)?.with_total();
        for order in &self.order {
            query = query.order(order_by::<E>(order)?);
        }
        if let Some(cursor) = &self.page {
            query = query.after(cursor.parse()?);
        }
        let page = query.page(self.limit).await.map_err(in_whose_words)?;
        let more = page.next.map(|cursor| format!("more with --page {cursor}"));
        self.print(page.items, page.total.unwrap_or(0), more, output)
    }

    /// What fits a search best has no pages: it changes with every row.
    async fn show_best<E: Exchange>(&self, db: &Db, output: &mut Output) -> Outcome {
        let best = self.filtered(db)?.order(searched::<E>()?.best_first());
        let rows = best.limit(self.limit).all().await.map_err(in_whose_words)?;
        let total = self.filtered::<E>(db)?.count().await?;
        let more = total > rows.len() as u64;
        let more = more.then(|| "more with --limit, in pages with --order id".to_owned());
        self.print(rows, total, more, output)
    }

    /// The rows that `--where` and `--search` leave.
    fn filtered<'a, E: Exchange>(&self, db: &'a Db) -> Outcome<Query<'a, E>> {
        let mut query = db.query::<E>();
        if let Some(condition) = &self.condition {
            let filter = condition::parse::<E>(condition).map_err(|error| {
                Failure::usage(format!("--where makes no sense: {}", error.sentence))
                    .detail(error.pointing_at(condition))
            })?;
            query = query.filter(filter);
        }
        if let Some(words) = &self.search {
            query = query.filter(searched::<E>()?.matches(words));
        }
        Ok(query)
    }

    fn print<E: Exchange>(
        &self,
        rows: Vec<E>,
        total: u64,
        more: Option<String>,
        output: &mut Output,
    ) -> Outcome {
        let shown = rows.len() as u64;
        let rows = (rows.into_iter())
            .map(Entity::into_values)
            .collect::<larder::Result<Vec<_>>>()?;
        if self.json {
            for row in &rows {
                let named = fields::<E>().map(|(at, column)| (column.name, &row[at]));
                write_json(output.results(), named)?;
            }
        } else if !rows.is_empty() {
            print_table::<E>(&rows, output)?;
        }
        let name = E::TABLE.name;
        let mut last = format!("{} of {} {name}", thousands(shown), thousands(total));
        if let Some(more) = more {
            let _ = write!(last, "; {more}");
        }
        if self.json {
            output.aside(last)?;
        } else {
            output.note(last)?;
        }
        Ok(())
    }
}

/// A mistake in what was asked for is the asker's.
fn in_whose_words(error: larder::Error) -> Failure {
    if error.is_misuse() || error.kind() == ErrorKind::Invalid {
        Failure::usage_of(error)
    } else {
        error.into()
    }
}

/// The model's full-text index.
fn searched<E: Exchange>() -> Outcome<Search<E>> {
    E::SEARCHED.ok_or_else(|| {
        Failure::usage(format!(
            "--search: only posts are searched, not {}",
            E::TABLE.name
        ))
    })
}

/// One step of `--order`: a column, with `:desc` or not.
fn order_by<E: Exchange>(text: &str) -> Outcome<Order<E>> {
    let (name, direction) = text.split_once(':').unwrap_or((text, "asc"));
    let found = fields::<E>().find(|(_, column)| column.name == name.trim());
    let Some((at, _)) = found else {
        return Err(Failure::usage(format!(
            "--order: {}",
            condition::no_column::<E>(name.trim())
        )));
    };
    // The column's type plays no part in an order.
    let column = Column::<E, i64>::new(at);
    match direction.trim() {
        "asc" => Ok(column.asc()),
        "desc" => Ok(column.desc()),
        other => Err(Failure::usage(format!(
            "--order: `{other}` is neither asc nor desc"
        ))),
    }
}

fn print_table<E: Exchange>(rows: &[Vec<Value>], output: &mut Output) -> Outcome {
    let columns: Vec<_> = fields::<E>().collect();
    let cells = rows.iter().map(|row| {
        columns
            .iter()
            .map(|&(at, _)| table::cell(&row[at]))
            .collect()
    });
    let table = table::Table::new(
        columns.iter().map(|(_, column)| (column.name, column.kind)),
        cells,
    );
    for line in table.lines(table::terminal_width()) {
        output.line(line)?;
    }
    Ok(())
}
