//! What commands print to standard output.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::report::Report;

/// Prints a text, ending in a newline. A reader that has gone away (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Report> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Report::failure("the output cannot be written").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Report> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Report::failure("the output cannot be written").caused_by(error))?;
    print(&text)
}
