//! Tables, plain enough to be read in a narrow terminal and cut by `awk`.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};

/// A table with a header line, or `empty` if there are no rows.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, empty: &str) -> String {
    if rows.is_empty() {
        return format!("{empty}\n");
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table.add_rows(rows);
    // Cells are padded on both sides; the first column begins the line.
    let lines = table.to_string();
    lines
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end()))
        .collect()
}
