//! Tables without borders, as kubectl prints them.

use super::{clean, colours};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Width, presets::NOTHING};

/// Space on both sides of a column; a line's own first one is taken off.
const PADDING: u16 = 2;

/// A table that is being filled.
pub struct Table {
    table: comfy_table::Table,
}

impl Table {
    /// A table with these column headers.
    pub fn new(headers: &[&str]) -> Self {
        let mut table = Table::without_headers();
        table.table.set_header(headers.iter().map(Cell::new));
        table
    }

    /// A table of rows alone.
    pub fn without_headers() -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        Table { table }
    }

    /// Adds a row; words for good and bad states are coloured on a terminal.
    pub fn row(&mut self, cells: Vec<String>) {
        let colours = colours();
        self.table.add_row(cells.into_iter().map(|text| {
            let cell = Cell::new(clean(&text));
            match colour(&text).filter(|_| colours) {
                Some(colour) => cell.fg(colour),
                None => cell,
            }
        }));
    }

    /// How wide the columns' contents are.
    pub fn widths(&self) -> Vec<u16> {
        self.table.column_max_content_widths()
    }

    /// Makes columns at least this wide, to go on below another table.
    pub fn widen(&mut self, widths: &[u16]) {
        let constraint = |width: &u16| ColumnConstraint::LowerBoundary(Width::Fixed(width + PADDING));
        self.table.set_constraints(widths.iter().map(constraint));
    }

    /// The table's text; lines carry no trailing space.
    pub fn render(&self) -> String {
        let text = self.table.to_string();
        text.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end())).collect()
    }
}

fn colour(text: &str) -> Option<Color> {
    match text {
        "running" | "ready" | "complete" | "completed" | "leader" => Some(Color::Green),
        "failed" | "rejected" | "down" | "orphaned" | "paused" | "rolled back" | "rollback paused" => {
            Some(Color::Red)
        }
        "pending" | "new" | "preparing" | "starting" | "assigned" | "accepted" | "drained" | "cordoned"
        | "unknown" | "updating" | "rolling back" | "removing" => Some(Color::Yellow),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: &mut Table, cells: [&str; 3]) {
        table.row(cells.map(str::to_owned).to_vec());
    }

    #[test]
    fn columns_line_up_and_lines_end_with_their_text() {
        let mut table = Table::new(&["NAME", "STATE", "MESSAGE"]);
        row(&mut table, ["shop/web.1", "running", ""]);
        row(&mut table, ["a", "failed", "no such image"]);
        let expected = "\
NAME        STATE    MESSAGE
shop/web.1  running
a           failed   no such image
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn rows_that_come_later_line_up_with_those_before() {
        let mut first = Table::new(&["NAME", "STATE", "MESSAGE"]);
        row(&mut first, ["shop/web.1", "running", ""]);
        let mut later = Table::without_headers();
        row(&mut later, ["b", "down", "x"]);
        later.widen(&first.widths());
        assert_eq!(later.render(), "b           down     x\n");
    }

    #[test]
    fn what_others_wrote_can_not_steer_the_terminal() {
        let mut table = Table::without_headers();
        row(&mut table, ["a\u{1b}[31mred", "two\nlines", "tab\there"]);
        assert_eq!(table.render(), "a [31mred  two lines  tab here\n");
    }
}
