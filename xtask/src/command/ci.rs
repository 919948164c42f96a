//! `ci`: what `.ci/run` does.

use anyhow::Result;

use super::{fuzz, instructions, lint, miri, test};
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    lint::run(workspace)?;
    miri::run(workspace)?;
    fuzz::run(workspace, None, 10)?;
    instructions::run(workspace, false)?;
    test::run(workspace, None)
}
