//! Views as text for people (`table`) and for `cut` and `awk` (`plain`).

use comfy_table::{
    Cell as Drawn, CellAlignment, Color, ContentArrangement, Table as Drawing, presets,
};

use super::human;
use super::view::{Cell, Mood, Section, Table, View};

/// Columns with a heading, without borders, not cut to the terminal's width.
pub(super) fn table(view: &View, color: bool) -> String {
    let mut text = String::new();
    for section in &view.sections {
        match section {
            Section::Table(table) => push_lines(&mut text, &draw(table, color)),
            Section::Fields(fields) => push_lines(&mut text, &draw_fields(fields, color)),
            Section::Line(cells) => {
                let cells: Vec<_> = cells.iter().map(human_cell).collect();
                push_lines(&mut text, &cells.join("  "));
            }
            Section::Note(note) => {
                text.push_str(human::printable(note).trim_end());
                text.push('\n');
            }
        }
    }
    text
}

/// Values separated by tabs, without a heading.
pub(super) fn plain(view: &View) -> String {
    let mut text = String::new();
    for section in &view.sections {
        match section {
            Section::Table(table) => {
                for row in &table.rows {
                    let cells: Vec<_> = row.iter().map(plain_cell).collect();
                    push_lines(&mut text, &cells.join("\t"));
                }
            }
            Section::Fields(fields) => {
                for (name, cell) in fields {
                    push_lines(&mut text, &format!("{name}\t{}", plain_cell(cell)));
                }
            }
            Section::Line(cells) => {
                let cells: Vec<_> = cells.iter().map(plain_cell).collect();
                push_lines(&mut text, &cells.join("\t"));
            }
            Section::Note(_) => {}
        }
    }
    text
}

/// Adds lines, without blanks at their ends.
fn push_lines(text: &mut String, lines: &str) {
    for line in lines.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn draw(table: &Table, color: bool) -> String {
    let right: Vec<bool> = (0..table.columns.len())
        .map(|at| {
            let mut known =
                table.rows.iter().filter_map(|row| row.get(at)).filter(|c| **c != Cell::None);
            known.clone().count() > 0 && known.all(to_the_right)
        })
        .collect();
    let side = |at: usize| match right.get(at) {
        Some(true) => CellAlignment::Right,
        _ => CellAlignment::Left,
    };
    let mut drawing = drawing(color);
    drawing.set_header(table.columns.iter().enumerate().map(|(at, name)| {
        let cell = Drawn::new(name).set_alignment(side(at));
        if color { cell.add_attribute(comfy_table::Attribute::Bold) } else { cell }
    }));
    for row in &table.rows {
        drawing.add_row(row.iter().enumerate().map(|(at, cell)| drawn(cell, side(at), color)));
    }
    finish(drawing)
}

fn draw_fields(fields: &[(&'static str, Cell)], color: bool) -> String {
    let mut drawing = drawing(color);
    for (name, cell) in fields {
        drawing.add_row([Drawn::new(format!("{name}:")), drawn(cell, CellAlignment::Left, color)]);
    }
    finish(drawing)
}

fn drawing(color: bool) -> Drawing {
    let mut drawing = Drawing::new();
    drawing.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if color {
        drawing.enforce_styling();
    } else {
        drawing.force_no_tty();
    }
    drawing
}

/// Two blanks between columns, none before the first.
fn finish(mut drawing: Drawing) -> String {
    for column in drawing.column_iter_mut() {
        column.set_padding((0, 2));
    }
    drawing.trim_fmt()
}

fn drawn(cell: &Cell, side: CellAlignment, color: bool) -> Drawn {
    let drawn = Drawn::new(human_cell(cell)).set_alignment(side);
    match cell {
        Cell::State(_, Mood::Good) if color => drawn.fg(Color::Green),
        Cell::State(_, Mood::Bad) if color => drawn.fg(Color::Red),
        Cell::State(..)
        | Cell::Text(_)
        | Cell::Number(_)
        | Cell::Decimal(..)
        | Cell::Ms(_)
        | Cell::Us(_)
        | Cell::None => drawn,
    }
}

const fn to_the_right(cell: &Cell) -> bool {
    matches!(cell, Cell::Number(_) | Cell::Decimal(..) | Cell::Ms(_) | Cell::Us(_))
}

fn human_cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::State(text, _) => human::printable(text),
        Cell::Number(number) => number.to_string(),
        Cell::Decimal(number, digits) => format!("{number:.digits$}"),
        Cell::Ms(ms) => human::ms(*ms),
        Cell::Us(us) => human::us(*us),
        Cell::None => "-".to_owned(),
    }
}

fn plain_cell(cell: &Cell) -> String {
    match cell {
        Cell::Ms(number) | Cell::Us(number) => number.to_string(),
        Cell::Text(_) | Cell::State(..) | Cell::Number(_) | Cell::Decimal(..) | Cell::None => {
            human_cell(cell)
        }
    }
}
