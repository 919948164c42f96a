//! `ci`: what `.ci/run` does.

use anyhow::Result;

use super::{lint, test};
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    lint::run(workspace)?;
    test::run(workspace, None)
}
