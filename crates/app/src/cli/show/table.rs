//! A table for the terminal: columns as wide as needed, the widest texts cut until all fit.

use larder::{Kind, Value};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::cli::exchange::to_text;
use crate::cli::output::one_line;

/// The narrowest a column is cut to.
const COLUMN_MIN: usize = 6;
/// The widest a cell is measured; longer ones would be cut anyway.
const CELL_MAX: usize = 400;
/// Of an instant, the day and the minute are shown: `2024-05-06 07:08`.
const INSTANT_LENGTH: usize = 16;
/// Between two columns.
const GAP: &str = "  ";

/// Cells under their columns' names.
pub(super) struct Table {
    names: Vec<&'static str>,
    kinds: Vec<Kind>,
    rows: Vec<Vec<String>>,
}

/// A value as a cell: on one line, `-` where there is none.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Text(text) => one_line(&text.chars().take(CELL_MAX).collect::<String>()),
        Value::Timestamp(at) => {
            let text = to_text(&Value::Timestamp(*at));
            text.get(..INSTANT_LENGTH)
                .unwrap_or(&text)
                .replace('T', " ")
        }
        other => to_text(other),
    }
}

/// The width of the terminal; 100 where there is none.
pub(super) fn terminal_width() -> usize {
    terminal_size::terminal_size()
        .map_or(100, |(width, _)| usize::from(width.0))
        .max(40)
}

impl Table {
    pub(super) fn new(
        columns: impl Iterator<Item = (&'static str, Kind)>,
        rows: impl Iterator<Item = Vec<String>>,
    ) -> Self {
        let (names, kinds) = columns.unzip();
        Self {
            names,
            kinds,
            rows: rows.collect(),
        }
    }

    /// The lines, none wider than `width` (as long as every column can have a few characters).
    pub(super) fn lines(&self, width: usize) -> impl Iterator<Item = String> + '_ {
        let widths = self.widths(width);
        let head: Vec<String> = self.names.iter().map(|&name| name.to_owned()).collect();
        let rule = widths
            .iter()
            .map(|&width| "─".repeat(width))
            .collect::<Vec<_>>()
            .join(GAP);
        let head = self.line(&head, &widths);
        let rows = self.rows.iter().map(move |row| self.line(row, &widths));
        [head, rule].into_iter().chain(rows)
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.names.len())
            .map(|at| {
                let cells = self.rows.iter().map(|row| row[at].width());
                cells.chain([self.names[at].width()]).max().unwrap_or(0)
            })
            .collect();
        let room = width.saturating_sub(GAP.len() * (widths.len() - 1));
        while widths.iter().sum::<usize>() > room {
            let widest = |texts: bool| {
                let cut =
                    |at: &usize| widths[*at] > COLUMN_MIN && (!texts || self.kinds[*at].is_text());
                (0..widths.len()).filter(cut).max_by_key(|&at| widths[at])
            };
            let Some(at) = widest(true).or_else(|| widest(false)) else {
                break;
            };
            widths[at] -= 1;
        }
        widths
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, (cell, &width)) in cells.iter().zip(widths).enumerate() {
            if at > 0 {
                line.push_str(GAP);
            }
            let cell = cut(cell, width);
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            if self.kinds[at].is_integer() {
                line.push_str(&pad);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&pad);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The text in at most this many cells of the terminal, `…` where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide >= width {
            break;
        }
        used += wide;
        shown.push(c);
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_texts_are_cut_by_their_width() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語日本", 6), "日本…");
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        let rows = [["7", &"x".repeat(300), "ok"], ["12", "short", "日本語"]];
        let table = Table::new(
            [
                ("id", Kind::I64),
                ("content", Kind::Text),
                ("name", Kind::Text),
            ]
            .into_iter(),
            rows.iter()
                .map(|row| row.iter().map(ToString::to_string).collect()),
        );
        let lines: Vec<String> = table.lines(50).collect();
        assert!(lines.iter().all(|line| line.width() <= 50), "{lines:#?}");
        assert!(lines[2].starts_with(" 7  xxx") && lines[2].contains('…'));
    }
}
