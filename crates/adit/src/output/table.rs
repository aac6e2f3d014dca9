//! A table of escaped cells.

use comfy_table::presets::NOTHING;
use comfy_table::{
    Attribute, Cell as Drawn, Color, ColumnConstraint, ContentArrangement, Row, Table as Drawing,
};

use super::{Output, escape};

/// What a cell's colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// All is well.
    Good,
    /// Something wants attention.
    Warning,
    /// Something is wrong.
    Bad,
    /// Past or beside the point.
    Faint,
}

/// One cell: text that is escaped, and its tone.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Makes a cell of a tone.
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: escape(text.as_ref()).into_owned(), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Columns with a header.
#[derive(Clone, Debug)]
pub struct Table {
    header: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Makes an empty table.
    pub fn new(header: &'static [&'static str]) -> Self {
        Self { header, rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Tells whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Draws it: fitted to the window at a terminal, as wide as it is anywhere else.
    pub fn render(&self, output: Output) -> String {
        let mut drawing = Drawing::new();
        drawing.load_style(NOTHING);
        if output.is_terminal() {
            drawing.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            drawing.force_no_tty();
        }
        if output.has_colours() {
            drawing.enforce_styling();
        }
        let draw = |cell: &Cell| draw(cell, output.has_colours());
        drawing.set_header(Row::from(
            self.header.iter().map(|name| bold(name, output.has_colours())).collect::<Vec<_>>(),
        ));
        for row in &self.rows {
            drawing.add_row(Row::from(row.iter().map(draw).collect::<Vec<_>>()));
        }
        for column in drawing.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // The first column says which one a row is about, so it stays on one line.
        if let Some(first) = drawing.column_mut(0) {
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        drawing.trim_fmt() + "\n"
    }
}

fn bold(name: &str, colours: bool) -> Drawn {
    let cell = Drawn::new(name);
    if colours { cell.add_attribute(Attribute::Bold) } else { cell }
}

fn draw(cell: &Cell, colours: bool) -> Drawn {
    let drawn = Drawn::new(&cell.text);
    if !colours {
        return drawn;
    }
    match cell.tone {
        Tone::Plain => drawn,
        Tone::Good => drawn.fg(Color::Green),
        Tone::Warning => drawn.fg(Color::Yellow),
        Tone::Bad => drawn.fg(Color::Red),
        Tone::Faint => drawn.add_attribute(Attribute::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Form;

    #[test]
    fn a_table_for_a_file_is_plain_and_escaped() {
        // AUD-05
        let mut table = Table::new(&["MACHINE", "STATUS"]);
        table.row(["web-1".into(), Cell::toned("online", Tone::Good)]);
        table.row(["\u{1b}[31mx".into(), "offline".into()]);
        assert_eq!(
            table.render(Output::plain(Form::Person)),
            "MACHINE      STATUS\nweb-1        online\n\\u{1b}[31mx  offline\n"
        );
    }
}
