//! A result before it has a format: a document for machines, sections for people.

use serde_json::Value;

/// A result.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// `kind` of the document.
    pub(crate) kind: &'static str,
    /// Of a list: `kind` of an item, for one document per line.
    pub(crate) item_kind: Option<&'static str>,
    /// The fields.
    pub(crate) document: Value,
    /// What people see, in order.
    pub(crate) sections: Vec<Section>,
    /// What `-o name` prints.
    pub(crate) names: Vec<String>,
}

/// A part of what people see.
#[derive(Debug, Clone)]
pub(crate) enum Section {
    /// Rows under a heading.
    Table(Table),
    /// One line per field.
    Fields(Vec<(&'static str, Cell)>),
    /// One line without a heading: one of a stream.
    Line(Vec<Cell>),
    /// A line of text; not part of `plain`.
    Note(String),
}

/// Rows under a heading.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Names of the columns.
    pub(crate) columns: Vec<&'static str>,
    /// One row per record.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A value for people.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A text, to the left.
    Text(String),
    /// A number, to the right.
    Number(u64),
    /// A number with a fraction of so many digits, to the right.
    Decimal(f64, usize),
    /// A duration in milliseconds, to the right.
    Ms(u64),
    /// A duration in microseconds, to the right.
    Us(u64),
    /// A state that is good, bad or neither.
    State(String, Mood),
    /// Nothing known.
    None,
}

/// How a state feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Plain,
    Bad,
}

impl Cell {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A value that may be unknown.
    pub(crate) fn or_none<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::None, cell)
    }
}

impl Table {
    /// A table without rows yet.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl View {
    /// A document that people are shown nothing of.
    pub(crate) fn document(kind: &'static str, document: Value) -> Self {
        Self { kind, item_kind: None, document, sections: Vec::new(), names: Vec::new() }
    }

    /// A list of documents of one kind.
    pub(crate) fn list(
        kind: &'static str,
        item_kind: &'static str,
        items: impl IntoIterator<Item = Value>,
    ) -> Self {
        let document = serde_json::json!({ "items": Value::from_iter(items) });
        Self { item_kind: Some(item_kind), ..Self::document(kind, document) }
    }

    /// Adds a field to the document.
    #[must_use]
    pub(crate) fn field(mut self, name: &'static str, value: Value) -> Self {
        if let Value::Object(fields) = &mut self.document {
            fields.insert(name.to_owned(), value);
        }
        self
    }

    /// Adds a table.
    #[must_use]
    pub(crate) fn table(mut self, table: Table) -> Self {
        self.sections.push(Section::Table(table));
        self
    }

    /// Adds fields.
    #[must_use]
    pub(crate) fn fields(mut self, fields: Vec<(&'static str, Cell)>) -> Self {
        self.sections.push(Section::Fields(fields));
        self
    }

    /// Adds a line of a stream.
    #[must_use]
    pub(crate) fn line(mut self, cells: Vec<Cell>) -> Self {
        self.sections.push(Section::Line(cells));
        self
    }

    /// Adds a note.
    #[must_use]
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.sections.push(Section::Note(text.into()));
        self
    }

    /// Adds what `-o name` prints.
    #[must_use]
    pub(crate) fn names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names.extend(names);
        self
    }
}
