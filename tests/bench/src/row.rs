//! What a benchmark answers: rows, and what is wrong with them.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// One measurement: a subject and its baseline, in the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) bench: &'static str,
    pub(crate) case: String,
    /// The size of the value that a call carries, or of a response's body.
    pub(crate) bytes: u32,
    pub(crate) subject: &'static str,
    pub(crate) baseline: &'static str,
    pub(crate) unit: &'static str,
    /// Which of two values is the better one, "lower" or "higher".
    pub(crate) better: &'static str,
    pub(crate) subject_value: f64,
    pub(crate) baseline_value: f64,
    /// Subject over baseline.
    pub(crate) ratio: f64,
}

/// What identifies a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) bench: &'static str,
    pub(crate) case: String,
    pub(crate) bytes: u32,
    pub(crate) subject: &'static str,
    pub(crate) baseline: &'static str,
}

impl Key {
    /// The row of these times, in nanoseconds.
    pub(crate) fn nanoseconds(&self, subject_value: f64, baseline_value: f64) -> Row {
        self.row("ns", "lower", subject_value, baseline_value)
    }

    /// The row of these values.
    pub(crate) fn row(
        &self,
        unit: &'static str,
        better: &'static str,
        subject_value: f64,
        baseline_value: f64,
    ) -> Row {
        Row {
            bench: self.bench,
            case: self.case.clone(),
            bytes: self.bytes,
            subject: self.subject,
            baseline: self.baseline,
            unit,
            better,
            subject_value,
            baseline_value,
            ratio: subject_value / baseline_value,
        }
    }

    fn is_of(&self, row: &Row) -> bool {
        self.bench == row.bench
            && self.case == row.case
            && self.bytes == row.bytes
            && self.subject == row.subject
            && self.baseline == row.baseline
            && row.ratio.is_finite()
    }
}

/// The rows of a run, and why it fails, if it does.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) problems: Vec<String>,
}

impl Report {
    /// Notes every row that has to be there and is not.
    pub(crate) fn expect(&mut self, keys: &[Key]) {
        for key in keys.iter().filter(|key| !self.rows.iter().any(|row| key.is_of(row))) {
            let Key { case, bytes, subject, baseline, .. } = key;
            self.problems.push(format!(
                "the row `{case}` with {bytes} bytes, {subject} over {baseline}, is missing"
            ));
        }
    }

    /// Notes every row of these whose ratio is above the limit.
    pub(crate) fn at_most(&mut self, limit: f64, gated: impl Fn(&Row) -> bool) {
        for row in self.rows.iter().filter(|row| gated(row) && row.ratio > limit) {
            let Row { case, bytes, subject, baseline, ratio, .. } = row;
            self.problems.push(format!(
                "`{case}` with {bytes} bytes, {subject} over {baseline}, is {ratio:.2}; expected at most {limit}"
            ));
        }
    }
}

/// The rows for people.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["case", "bytes", "unit", "subject", "value", "baseline", "value", "ratio"]);
    for row in rows {
        table.add_row([
            row.case.clone(),
            row.bytes.to_string(),
            row.unit.to_owned(),
            row.subject.to_owned(),
            value(row.subject_value),
            row.baseline.to_owned(),
            value(row.baseline_value),
            format!("{:.2}", row.ratio),
        ]);
    }
    for column in [1, 4, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Three digits at least.
fn value(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}
