//! `demo`: the counter in a folder of its own, as an operator would lay it out.

use std::{
    fs, net::SocketAddr, os::unix::process::CommandExt as _, path::PathBuf, process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    extension, guests,
    host::{self, Running},
    http,
    workspace::Workspace,
};

/// The example that is run, and the extension that it needs.
const EXAMPLE: &str = "counter";
const EXTENSION: &str = "backplane-keyvalue";

/// Where the example's config says that it listens.
const LISTEN: &str = "127.0.0.1:8080";
/// Where a host serves health and metrics by default.
const ADMIN: &str = "127.0.0.1:9090";

/// A folder that a host runs from.
struct Demo {
    host: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
}

pub(crate) fn run(workspace: &Workspace, check: bool) -> Result<()> {
    if check {
        let folder = workspace.target.join("demo-check");
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        return Demo::prepare(workspace, folder)?.check();
    }
    let demo = Demo::prepare(workspace, workspace.target.join("demo"))?;
    let url = format!("http://{}", demo.address);
    println!();
    println!("{url}/ counts requests. Try:");
    println!();
    println!("  curl {url}/");
    println!("  curl {url}/tea      # each path has its own count");
    println!("  curl http://{}/readyz", demo.admin);
    println!();
    println!("Ctrl-C stops the host; started again, it goes on counting. Its folder:");
    println!("  {}", demo.folder.display());
    println!();
    // The host takes this process's place, so that Ctrl-C and the exit code are its own.
    let error = demo.command().exec();
    Err(error).with_context(|| format!("cannot run {}", demo.host.display()))
}

impl Demo {
    /// Builds everything and lays out the folder; data that is there already stays.
    fn prepare(workspace: &Workspace, folder: PathBuf) -> Result<Self> {
        let example = workspace.package(EXAMPLE)?;
        let components = guests::build(workspace, std::iter::once(example))?;

        let extension = workspace.package(EXTENSION)?;
        let built = host::build_with(workspace, extension)?;

        let plugins = folder.join("plugins");
        extension::install(&built.library, extension.folder_name(), &plugins)?;
        let component = guests::component(&components, example);
        let address = host::free_address(LISTEN)?;
        let config = fs::read_to_string(example.folder().join("backplane.toml"))
            .context("cannot read the example's backplane.toml")?
            .replace(LISTEN, &address.to_string());
        fs::copy(component, guests::component(&folder, example))
            .and_then(|_| fs::write(folder.join("backplane.toml"), config))
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let admin = host::free_address(ADMIN)?;
        Ok(Self { host: built.binary, folder, address, admin })
    }

    fn command(&self) -> Command {
        let mut command = host::command(&self.host);
        command.args(["host", "--config"]).arg(self.folder.join("backplane.toml"));
        command.args(["--admin", &self.admin.to_string()]);
        command.current_dir(&self.folder);
        command
    }

    /// Does what a reader of the README would do, and says so, one line a step.
    fn check(&self) -> Result<()> {
        println!("laid out {}", self.folder.display());
        let running = self.start()?;
        println!("started; it answers at http://{}", self.address);
        let first = self.count_up()?;
        println!("counted {} to {}", first, first + 2);
        running.stop()?;
        println!("stopped with SIGTERM; exit code 0");

        let running = self.start()?;
        println!("started again, with the same data");
        let next = self.count_up()?;
        ensure!(next == first + 3, "the count did not go on: {next} follows {}", first + 2);
        println!("the count went on: {} to {}", next, next + 2);
        running.stop()?;
        println!("stopped with SIGTERM; exit code 0");
        Ok(())
    }

    fn start(&self) -> Result<Running> {
        Running::start(&mut self.command(), self.address)
    }

    /// Asks three times; answers with the first of three numbers that follow one another.
    fn count_up(&self) -> Result<u64> {
        let ask = || -> Result<u64> {
            let body = http::get(self.address, "/")?;
            body.trim().parse().with_context(|| format!("`{}` is not a number", body.trim()))
        };
        let (first, second, third) = (ask()?, ask()?, ask()?);
        ensure!(
            (second, third) == (first + 1, first + 2),
            "the counter does not count: {first}, {second}, {third}"
        );
        Ok(first)
    }
}
