//! Prints the merged configuration.

use std::{fmt::Write as _, path::Path};

use figment::value::{Dict, Num, Value};
use serde_json::json;

use super::origin::{KeyPath, Origins};

/// The values as TOML that can be read again, each with its origin as a comment.
pub(super) fn toml(value: &Value, origins: &Origins) -> String {
    let mut printer = Printer { origins, lines: Vec::new() };
    if let Value::Dict(_, dict) = value {
        printer.table(&KeyPath::default(), "", dict);
    }
    printer.finish()
}

struct Printer<'a> {
    origins: &'a Origins,
    /// The text and the origin of each line.
    lines: Vec<(String, Option<String>)>,
}

impl Printer<'_> {
    /// Prints a table that stands at `path` and is written below the header of `name`.
    fn table(&mut self, path: &KeyPath, name: &str, table: &Dict) {
        for (key, value) in table.iter().filter(|(_, value)| !is_section(value)) {
            let text = format!("{} = {}", toml_edit::Key::new(key), inline(value));
            self.lines.push((text, Some(self.origins.of(&path.child(key)).to_string())));
        }
        for (key, value) in table.iter().filter(|(_, value)| is_section(value)) {
            let path = path.child(key);
            let dot = if name.is_empty() { "" } else { "." };
            let name = format!("{name}{dot}{}", toml_edit::Key::new(key));
            match value {
                Value::Dict(_, table) => {
                    // A table of nothing but tables needs no header of its own.
                    if table.values().any(|value| !is_section(value)) {
                        self.header(format!("[{name}]"));
                    }
                    self.table(&path, &name, table);
                }
                Value::Array(_, tables) => {
                    let tables = tables.iter().filter_map(Value::as_dict).enumerate();
                    for (index, table) in tables {
                        self.header(format!("[[{name}]]"));
                        self.table(&path.child(index), &name, table);
                    }
                }
                _ => {}
            }
        }
    }

    fn header(&mut self, text: String) {
        self.lines.push((String::new(), None));
        self.lines.push((text, None));
    }

    fn finish(self) -> String {
        const WIDEST: usize = 48;
        let widths = self.lines.iter().filter(|(_, origin)| origin.is_some());
        let width = widths.map(|(text, _)| text.chars().count()).filter(|w| *w <= WIDEST).max();
        let width = width.unwrap_or(0);
        let mut out = String::new();
        for (text, origin) in self.lines {
            match origin {
                Some(origin) => {
                    let gap = width.saturating_sub(text.chars().count());
                    // Writing to a string cannot fail.
                    writeln!(out, "{text}{:gap$}  # {origin}", "").ok();
                }
                None => {
                    out.push_str(&text);
                    out.push('\n');
                }
            }
        }
        out
    }
}

/// Whether a value is printed below a header of its own.
fn is_section(value: &Value) -> bool {
    match value {
        Value::Dict(..) => true,
        Value::Array(_, elements) => {
            !elements.is_empty() && elements.iter().all(|element| element.as_dict().is_some())
        }
        _ => false,
    }
}

fn inline(value: &Value) -> toml_edit::Value {
    match value {
        Value::String(_, text) => text.into(),
        Value::Char(_, text) => text.to_string().into(),
        Value::Bool(_, value) => (*value).into(),
        Value::Num(_, number) => number_of(*number),
        Value::Empty(..) => "".into(),
        Value::Array(_, elements) => toml_edit::Value::Array(elements.iter().map(inline).collect()),
        Value::Dict(_, table) => toml_edit::Value::InlineTable(
            table.iter().map(|(key, value)| (key.clone(), inline(value))).collect(),
        ),
    }
}

fn number_of(number: Num) -> toml_edit::Value {
    let signed = number.to_i128().or_else(|| number.to_u128().and_then(|n| n.try_into().ok()));
    match (signed.and_then(|n| i64::try_from(n).ok()), number.to_f64()) {
        (Some(number), _) => number.into(),
        (None, Some(number)) => number.into(),
        (None, None) => format!("{number:?}").into(),
    }
}

/// The values as one JSON object, and in another the origin of each that is no table.
pub(super) fn json(file: Option<&Path>, value: &Value, origins: &Origins) -> serde_json::Value {
    let mut sources = serde_json::Map::new();
    collect(&KeyPath::default(), value, origins, &mut sources);
    json!({ "file": file, "config": value_json(value), "origins": sources })
}

fn collect(
    path: &KeyPath,
    value: &Value,
    origins: &Origins,
    out: &mut serde_json::Map<String, serde_json::Value>,
) {
    match value {
        Value::Dict(_, table) => {
            table.iter().for_each(|(key, value)| collect(&path.child(key), value, origins, out));
        }
        Value::Array(_, elements) if is_section(value) => {
            let elements = elements.iter().enumerate();
            elements.for_each(|(i, value)| collect(&path.child(i), value, origins, out));
        }
        _ => {
            out.insert(path.to_string(), json!(origins.of(path)));
        }
    }
}

fn value_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Dict(_, table) => {
            table.iter().map(|(key, value)| (key.clone(), value_json(value))).collect()
        }
        Value::Array(_, elements) => elements.iter().map(value_json).collect(),
        // A scalar that JSON does not have (an infinite number) is shown as nothing.
        leaf => serde_json::to_value(leaf).unwrap_or_default(),
    }
}
