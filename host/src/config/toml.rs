//! A TOML file as figment's values, with the place of each.

use std::collections::BTreeMap;

use figment::value::{Dict, Empty, Tag, Value};
use toml_edit::{Document, Item, TableLike};

use super::origin::KeyPath;

/// A parsed file.
pub(super) struct Toml {
    pub(super) dict: Dict,
    places: BTreeMap<KeyPath, Place>,
}

/// A place in a file: line and column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    fn of(offset: usize, text: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl Toml {
    /// Parses a file's text, or says what is wrong with it and where.
    pub(super) fn parse(text: &str) -> Result<Self, (String, Place)> {
        let document = Document::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            (error.message().trim().replace('\n', ", "), Place::of(offset, text))
        })?;
        let mut reader = Reader { text, places: BTreeMap::new() };
        let dict = reader.table(&KeyPath::default(), document.as_table());
        Ok(Self { dict, places: reader.places })
    }

    /// Where the value at `path` stands.
    pub(super) fn place(&self, path: &KeyPath) -> Option<Place> {
        self.places.get(path).copied()
    }
}

struct Reader<'a> {
    text: &'a str,
    places: BTreeMap<KeyPath, Place>,
}

impl Reader<'_> {
    fn mark(&mut self, path: &KeyPath, span: Option<std::ops::Range<usize>>) {
        if let Some(span) = span {
            self.places.insert(path.clone(), Place::of(span.start, self.text));
        }
    }

    fn table(&mut self, path: &KeyPath, table: &dyn TableLike) -> Dict {
        let mut dict = Dict::new();
        for (key, item) in table.iter() {
            let path = path.child(key);
            self.mark(&path, table.key(key).and_then(toml_edit::Key::span));
            dict.insert(key.to_owned(), self.item(&path, item));
        }
        dict
    }

    fn item(&mut self, path: &KeyPath, item: &Item) -> Value {
        match item {
            Item::None => Value::Empty(Tag::Default, Empty::None),
            Item::Value(value) => self.value(path, value),
            Item::Table(table) => Value::Dict(Tag::Default, self.table(path, table)),
            Item::ArrayOfTables(tables) => {
                let tables = tables.iter().enumerate().map(|(index, table)| {
                    let path = path.child(index);
                    self.mark(&path, table.span());
                    Value::Dict(Tag::Default, self.table(&path, table))
                });
                Value::Array(Tag::Default, tables.collect())
            }
        }
    }

    fn value(&mut self, path: &KeyPath, value: &toml_edit::Value) -> Value {
        match value {
            toml_edit::Value::String(text) => Value::from(text.value().as_str()),
            toml_edit::Value::Integer(number) => Value::from(*number.value()),
            toml_edit::Value::Float(number) => Value::from(*number.value()),
            toml_edit::Value::Boolean(value) => Value::from(*value.value()),
            toml_edit::Value::Datetime(time) => Value::from(time.value().to_string()),
            toml_edit::Value::InlineTable(table) => {
                Value::Dict(Tag::Default, self.table(path, table))
            }
            toml_edit::Value::Array(array) => {
                let elements = array.iter().enumerate().map(|(index, element)| {
                    let path = path.child(index);
                    self.mark(&path, element.span());
                    self.value(&path, element)
                });
                Value::Array(Tag::Default, elements.collect())
            }
        }
    }
}

/// A single value as it would stand in a file; what is not TOML is a text.
pub(super) fn value(text: &str) -> Value {
    match text.parse::<toml_edit::Value>() {
        Ok(value) => Reader { text, places: BTreeMap::new() }.value(&KeyPath::default(), &value),
        Err(_) => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_place() {
        let toml =
            Toml::parse("a = 1\n[b.\"ö\"] # x\n  c = [10,\n 20]\n[[d]]\ne = { f = true }\n[[d]]\n")
                .unwrap();
        for (path, line, column) in [
            (vec!["a"], 1, 1),
            (vec!["b"], 2, 2),
            (vec!["b", "ö"], 2, 4),
            (vec!["b", "ö", "c"], 3, 3),
            (vec!["b", "ö", "c", "1"], 4, 2),
            (vec!["d", "0"], 5, 1),
            (vec!["d", "0", "e", "f"], 6, 7),
            (vec!["d", "1"], 7, 1),
        ] {
            let found = toml.place(&KeyPath::new(path.clone()));
            assert_eq!(found, Some(Place { line, column }), "{path:?}");
        }
        assert_eq!(toml.place(&KeyPath::new(["b", "x"])), None);
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_with_the_place() {
        for (text, line, column) in [("a = 1\nb = \n", 2, 5), ("a = 1\na = 2", 2, 1)] {
            let (message, place) = Toml::parse(text).err().unwrap();
            assert_eq!(place, Place { line, column }, "{text}: {message}");
        }
    }

    #[test]
    fn a_variable_is_read_as_toml_and_else_as_a_text() {
        assert_eq!(value("true"), Value::from(true));
        assert_eq!(value("12"), Value::from(12));
        assert_eq!(value("[\"a\"]"), Value::from(vec!["a"]));
        for text in ["127.0.0.1:8080", "[::1]:8080", "30s", "info", "", "[a", "sha256:00"] {
            assert_eq!(value(text), Value::from(text));
        }
    }
}
