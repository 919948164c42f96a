//! What the operator reads when something fails: what, where, what was expected, what to do.
//!
//! Libraries return typed errors; the edge of the program turns each into a [`Report`], prints it to
//! standard error and ends with its exit code.

#![forbid(unsafe_code)]

use std::{
    error::Error,
    fmt::{self, Display},
    io::Write as _,
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const PLACE: Style = AnsiColor::Blue.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default().bold();
const PLAIN: Style = Style::new();

/// The exit code of a failure at run time.
const FAILURE: u8 = 1;
/// The exit code of bad usage, bad configuration and bad input files.
const BAD_INPUT: u8 = 2;

/// A failure, as the operator is to read it.
///
/// It prints as
///
/// ```text
/// error: unknown key `htp`
///   --> backplane.toml:3:1
///   expected: one of `data`, `enable`, `http`
///   cause: ...
///   help: did you mean `http`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    what: String,
    place: Option<String>,
    expected: Option<String>,
    causes: Vec<String>,
    help: Vec<String>,
    exit: u8,
    others: Vec<Report>,
}

impl Report {
    /// A failure at run time, exit code 1. `what` says what failed and on what.
    pub fn failure(what: impl Display) -> Self {
        Self::new(what, FAILURE)
    }

    /// Bad usage, a bad configuration or a bad input file, exit code 2.
    pub fn bad_input(what: impl Display) -> Self {
        Self::new(what, BAD_INPUT)
    }

    fn new(what: impl Display, exit: u8) -> Self {
        Self(Box::new(Parts {
            what: what.to_string(),
            place: None,
            expected: None,
            causes: Vec::new(),
            help: Vec::new(),
            exit,
            others: Vec::new(),
        }))
    }

    /// Several reports as one, in their order, with the exit code of the first; none of none.
    pub fn all(reports: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut reports = reports.into_iter();
        let mut first = reports.next()?;
        first.0.others.extend(reports);
        Some(first)
    }

    /// Where it failed: `file:line:column`, a variable, a flag, an address.
    #[must_use]
    pub fn at(mut self, place: impl Display) -> Self {
        self.0.place = Some(place.to_string());
        self
    }

    /// What would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Display) -> Self {
        self.0.expected = Some(expected.to_string());
        self
    }

    /// What the operator can do. May be called again for another way.
    #[must_use]
    pub fn help(mut self, help: impl Display) -> Self {
        self.0.help.push(help.to_string());
        self
    }

    /// The error behind it, with the errors behind that.
    ///
    /// A cause that an earlier line already quotes is left out.
    #[must_use]
    pub fn caused_by(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        let mut next: Option<&dyn Error> = Some(error.as_ref());
        while let Some(error) = next {
            let text = error.to_string();
            let quoted = self.0.causes.last().unwrap_or(&self.0.what).contains(&text);
            if !quoted {
                self.0.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The process's exit code: 2 for bad usage, configuration or input, 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.0.exit)
    }

    /// Prints it to standard error, in colour where that is a terminal.
    pub fn print(&self) {
        let mut text = String::new();
        // Writing to a string cannot fail, and there is nobody left to tell if standard error does.
        if self.write(&mut text, Painter { styled: true }).is_ok() {
            anstream::stderr().write_all(text.as_bytes()).ok();
        }
    }

    fn write(&self, out: &mut dyn fmt::Write, paint: Painter) -> fmt::Result {
        paint.line(out, "", ERROR, "error", &self.0.what)?;
        if let Some(place) = &self.0.place {
            writeln!(out, "  {} {place}", paint.label(PLACE, "-->"))?;
        }
        if let Some(expected) = &self.0.expected {
            paint.line(out, "  ", PLAIN, "expected", expected)?;
        }
        for cause in &self.0.causes {
            paint.line(out, "  ", PLAIN, "cause", cause)?;
        }
        for help in &self.0.help {
            paint.line(out, "  ", HELP, "help", help)?;
        }
        self.0.others.iter().try_for_each(|other| other.write(out, paint))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text, Painter { styled: false })?;
        f.write_str(text.trim_end())
    }
}

/// The choice that `word` is most likely a slip of the keyboard for.
pub fn nearest<'a>(word: &str, choices: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    choices
        .into_iter()
        .map(|choice| (strsim::damerau_levenshtein(word, choice), choice))
        .filter(|(distance, choice)| *distance <= (choice.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, choice)| choice)
}

#[derive(Clone, Copy)]
struct Painter {
    styled: bool,
}

impl Painter {
    fn label(self, style: Style, text: &str) -> String {
        if self.styled { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Writes `label: text`; further lines of the text stand under its first.
    fn line(
        self,
        out: &mut dyn fmt::Write,
        indent: &str,
        style: Style,
        label: &str,
        text: &str,
    ) -> fmt::Result {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let margin = indent.len() + label.len() + 2;
        writeln!(out, "{indent}{} {first}", self.label(style, &format!("{label}:")))?;
        lines.try_for_each(|line| writeln!(out, "{:margin$}{line}", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store")]
    struct Store(#[source] std::io::Error);

    fn store_error() -> Store {
        Store(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "permission denied"))
    }

    #[test]
    fn a_report_says_what_failed_where_what_was_expected_why_and_what_to_do() {
        let report = Report::bad_input("unknown key `htp`")
            .at("backplane.toml:3:1")
            .expected("one of `data`, `http`")
            .caused_by(store_error())
            .help("did you mean `http`?");
        assert_eq!(
            report.to_string(),
            "error: unknown key `htp`\n  --> backplane.toml:3:1\n  expected: one of `data`, `http`\n  \
             cause: cannot open the store\n  cause: permission denied\n  help: did you mean `http`?"
        );
    }

    #[test]
    fn a_cause_that_the_line_above_quotes_is_not_repeated() {
        let report = Report::failure("start: cannot open the store").caused_by(store_error());
        assert_eq!(
            report.to_string(),
            "error: start: cannot open the store\n  cause: permission denied"
        );
    }

    #[test]
    fn the_nearest_choice_is_a_slip_away_and_not_more() {
        let choices = ["listen", "level", "limits"];
        assert_eq!(nearest("lisen", choices), Some("listen"));
        assert_eq!(nearest("limit", choices), Some("limits"));
        assert_eq!(nearest("port", choices), None);
    }

    #[test]
    fn lines_after_the_first_stand_under_it() {
        let report = Report::failure("one\ntwo").help("three\nfour");
        assert_eq!(report.to_string(), "error: one\n       two\n  help: three\n        four");
    }

    #[test]
    fn several_reports_print_in_order_and_exit_as_the_first() {
        let all = Report::all([Report::bad_input("first"), Report::failure("second")]).unwrap();
        assert_eq!(all.to_string(), "error: first\nerror: second");
        assert_eq!(all.exit_code(), ExitCode::from(2));
        assert_eq!(Report::all([]), None);
    }
}
