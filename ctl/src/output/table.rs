//! Tables without borders, as kubectl prints them.

use comfy_table::{Cell, Color, ContentArrangement, presets::NOTHING};

/// A table that is being filled.
pub struct Table {
    table: comfy_table::Table,
    rows: usize,
}

impl Table {
    /// A table with these column headers; none prints no header line.
    pub fn new(headers: &[&str], show_headers: bool) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if show_headers {
            table.set_header(headers.iter().map(|header| Cell::new(header)));
        }
        Table { table, rows: 0 }
    }

    /// Adds a row; words for good and bad states are coloured on a terminal.
    pub fn row(&mut self, cells: Vec<String>) {
        let colours = super::colours();
        self.rows += 1;
        self.table.add_row(cells.into_iter().map(|text| {
            let colour = if colours { colour(&text) } else { None };
            let cell = Cell::new(text);
            match colour {
                Some(colour) => cell.fg(colour),
                None => cell,
            }
        }));
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
        "failed" | "rejected" | "down" | "orphaned" | "paused" | "rollback paused" => Some(Color::Red),
        "pending" | "new" | "preparing" | "starting" | "assigned" | "accepted" | "drained" | "cordoned"
        | "unknown" | "updating" | "rolling back" => Some(Color::Yellow),
        _ => None,
    }
}
