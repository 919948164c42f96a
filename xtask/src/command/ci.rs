//! `ci`: what `.ci/run` does.

use anyhow::Result;

use super::{fuzz, lint, miri, test};
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    lint::run(workspace)?;
    miri::run(workspace)?;
    fuzz::run(workspace, None, 10)?;
    test::run(workspace, None)
}
