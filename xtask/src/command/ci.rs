//! `ci`: what `.ci/run` does.

use anyhow::Result;

use super::{lint, miri, test};
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    lint::run(workspace)?;
    miri::run(workspace)?;
    test::run(workspace, None)
}
