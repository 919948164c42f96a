//! Counts tests while they run.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

/// How many tests passed and failed; prints as the line that `cargo xtask test` ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// What the last one that did has said of itself: a line that begins with its name and a colon.
    pub(crate) summary: Option<String>,
}

impl Tally {
    /// Runs a test binary of that name, or `cargo test`, shows what it prints and counts. One that ends
    /// badly without saying which test failed counts as one failed test.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        let stdout = child.stdout.take().context("a child has no standard output")?;
        let mut counted = Self::default();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            counted.add(&line);
            if line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ")) {
                self.summary = Some(line.into_owned());
            }
        }
        let status = child.wait()?;
        if !status.success() && counted.failed == 0 {
            println!("{program} ended with {status} and named no test that failed");
            counted.failed = 1;
        }
        self.passed += counted.passed;
        self.failed += counted.failed;
        Ok(())
    }

    /// Adds a line of the form `test result: ok. 3 passed; 0 failed; ...`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let counts = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for part in counts.split(';') {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tally {
        let mut tally = Tally::default();
        tally.run("sh", Command::new("sh").args(["-c", script])).unwrap();
        tally
    }

    #[test]
    fn results_of_several_binaries_add_up() {
        let tally = shell(
            "echo 'test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out'
             echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.1s'
             exit 101",
        );
        assert_eq!(tally.to_string(), "15 passed, 2 failed");
    }

    #[test]
    fn what_a_binary_says_of_itself_is_kept() {
        let tally = shell("echo 'other: 2'; echo 'sh: 3 cases'; echo 'shell: 4'");
        assert_eq!(tally.summary.as_deref(), Some("sh: 3 cases"));
    }

    #[test]
    fn a_binary_that_dies_before_its_result_is_a_failure() {
        assert_eq!(
            shell("echo 'running 3 tests'; kill -SEGV $$").to_string(),
            "0 passed, 1 failed"
        );
    }

    #[test]
    fn a_line_that_only_looks_like_a_result_is_not_counted() {
        assert_eq!(shell("echo 'the test result: ok. 3 passed'").to_string(), "0 passed, 0 failed");
    }
}
