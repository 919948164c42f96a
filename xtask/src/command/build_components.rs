//! `build-components`: the guests of the examples and the tests.

use anyhow::Result;

use crate::{guests, workspace::Workspace};

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let folder = guests::build(workspace, workspace.guests())?;
    for guest in workspace.guests() {
        println!("{}", guests::component(&folder, guest).display());
    }
    Ok(())
}
