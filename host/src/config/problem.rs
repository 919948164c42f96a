//! Finds all that is wrong with a configuration in one go, and words it.

use figment::{
    error::{Actual, Kind},
    value::{Empty, Tag, Value},
};
use serde::Deserialize;

use super::{
    file::File,
    mask,
    origin::{KeyPath, Origin, Origins},
};
use crate::report::{Report, nearest};

/// Reads the merged values into their types, or reports every fault, in the order of the files.
///
/// serde stops at the first fault. So what is at fault is noted and taken out, and the rest read again,
/// until nothing is left to find.
pub(super) fn read(value: &Value, origins: &Origins) -> Result<File, Report> {
    let mut value = value.clone();
    let mut problems = Problems::new(origins);
    loop {
        let error = match File::deserialize(&value) {
            Ok(file) => return problems.finish().map(|()| file),
            Err(error) => error,
        };
        let path = KeyPath::new(error.path.clone());
        let found = take_out(&mut value, path.keys());
        // A key that is missing because it was at fault has been reported.
        let known = matches!(&error.kind,
            Kind::MissingField(key) if problems.contains(&path.child(key)));
        if !known {
            problems.add(&path, describe(&path, &error.kind));
        }
        if !found {
            return Err(problems.into_report());
        }
    }
}

/// Reports on values, collected.
pub(super) struct Problems<'a> {
    origins: &'a Origins,
    reports: Vec<(Origin, KeyPath, Report)>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(origins: &'a Origins) -> Self {
        Self { origins, reports: Vec::new() }
    }

    /// Adds a report on the value at `path`.
    pub(super) fn add(&mut self, path: &KeyPath, report: Report) {
        let origin = self.origins.of(path);
        let report = report.at(&origin);
        self.reports.push((origin, path.clone(), report));
    }

    fn contains(&self, path: &KeyPath) -> bool {
        self.reports.iter().any(|(_, reported, _)| reported == path)
    }

    /// All reports as one, if there are any.
    pub(super) fn finish(&mut self) -> Result<(), Report> {
        self.reports.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let reports = std::mem::take(&mut self.reports);
        Report::all(reports.into_iter().map(|(_, _, report)| report)).map_or(Ok(()), Err)
    }

    fn into_report(mut self) -> Report {
        let bare = || Report::bad_input("the configuration cannot be read");
        self.finish().err().unwrap_or_else(bare)
    }
}

/// Takes the value at `path` out of the tree, or tells that there is none. An element of a list leaves
/// a gap, so that those after it keep their index.
fn take_out(value: &mut Value, path: &[String]) -> bool {
    match (path, value) {
        ([last], Value::Dict(_, dict)) => dict.remove(last).is_some(),
        ([first, rest @ ..], Value::Dict(_, dict)) => {
            dict.get_mut(first).is_some_and(|value| take_out(value, rest))
        }
        ([first, rest @ ..], Value::Array(_, elements)) => {
            let Some(element) = first.parse().ok().and_then(|i: usize| elements.get_mut(i)) else {
                return false;
            };
            if !rest.is_empty() {
                return take_out(element, rest);
            }
            let gap = Value::Empty(Tag::Default, Empty::None);
            std::mem::replace(element, gap).to_empty().is_none()
        }
        _ => false,
    }
}

fn describe(path: &KeyPath, kind: &Kind) -> Report {
    match kind {
        Kind::UnknownField(key, choices) => {
            let place = match path.split_last() {
                Some((table, _)) if !table.keys().is_empty() => format!(" in `{table}`"),
                _ => String::new(),
            };
            let report = Report::bad_input(format_args!("unknown key `{key}`{place}"));
            with_choices(report, key, choices)
        }
        Kind::UnknownVariant(found, choices) => {
            let report = Report::bad_input(format_args!("`{path}` is `{found}`"));
            with_choices(report, found, choices)
        }
        Kind::MissingField(key) => Report::bad_input(format_args!("`{path}` has no `{key}`"))
            .expected(match key.as_ref() {
                "component" => "`component`, the file of the workload's component",
                "provider" => "`provider`, the name of the provider that serves the link",
                "host" => "`host`, a folder of the host",
                "guest" => "`guest`, the folder's path as the guest sees it",
                "certificate" => "`certificate`, the file of the certificate",
                "key" => "`key`, the file of the certificate's private key",
                _ => "that key",
            }),
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            Report::bad_input(format_args!("`{path}` is {}", shown(path, found))).expected(
                match expected.as_str() {
                    "a boolean" => "true or false",
                    "a string" => "a text in quotes",
                    expected => expected,
                },
            )
        }
        Kind::Message(text) => match mask::mask_text(text).split_once("; expected ") {
            Some((fault, expected)) => {
                Report::bad_input(format_args!("`{path}`: {fault}")).expected(expected)
            }
            None => Report::bad_input(format_args!("`{path}`: {}", mask::mask_text(text))),
        },
        other => Report::bad_input(format_args!("`{path}`: {other}")),
    }
}

fn with_choices(report: Report, found: &str, choices: &[&str]) -> Report {
    let list: Vec<_> = choices.iter().map(|choice| format!("`{choice}`")).collect();
    let one_of = if choices.len() > 1 { "one of " } else { "" };
    let report = report.expected(format_args!("{one_of}{}", list.join(", ")));
    match nearest(found, choices.iter().copied()) {
        Some(near) => report.help(format_args!("did you mean `{near}`?")),
        None => report,
    }
}

/// A value that was found, without the value where it is a secret.
fn shown(path: &KeyPath, found: &Actual) -> String {
    let (kind, value) = match found {
        Actual::Bool(value) => ("the truth value", value.to_string()),
        Actual::Unsigned(number) => ("the number", number.to_string()),
        Actual::Signed(number) => ("the number", number.to_string()),
        Actual::Float(number) => ("the number", number.to_string()),
        Actual::Char(text) => ("the text", text.to_string()),
        Actual::Str(text) => ("the text", mask::mask_text(text)),
        Actual::Seq => return "a list".to_owned(),
        Actual::Map => return "a table".to_owned(),
        other => return other.to_string(),
    };
    let value = if mask::is_secret(path) { mask::MASK.to_owned() } else { value };
    format!("{kind} `{value}`")
}
