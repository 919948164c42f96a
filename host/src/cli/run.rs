//! `backplane run`: one component, with its settings from flags.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{
    beside::Beside,
    flags::{Global, Hosting},
    runtime, start,
};
use crate::{
    config::{Config, Origin, Setting},
    name::WorkloadName,
    report::Report,
    workload::{
        Trigger,
        spec::{Route, Spec},
    },
};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The component's file. It takes the settings of the workload that has the file's name, if the
    /// configuration has one
    #[arg(value_name = "APP.wasm")]
    component: PathBuf,
    #[command(flatten)]
    hosting: Hosting,
    /// Set an environment variable of the guest; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Show the guest a folder, to read or, with :rw, to write; may be given again
    #[arg(long, value_name = "HOST::GUEST[:ro|:rw]", value_parser = Folder::parse)]
    dir: Vec<Folder>,
    /// Set a value that wasi:config/store answers; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    config_value: Vec<(String, String)>,
    /// Arguments of the guest
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

impl Run {
    pub(super) fn execute(self, global: &Global) -> Result<ExitCode, Report> {
        let begun = Beside::begin()?;
        let name = workload_name(&self.component)?;
        let mut sources = global.sources(self.settings(&name))?;
        sources.state_folder = state_folder();
        let mut config = Config::load(&sources)?;
        let spec = config.workloads.drain(..).find(|spec| spec.name == name);
        let mut spec = spec.ok_or_else(|| Report::failure("the component has no settings"))?;
        spec.inherit_stdio = true;

        // For one component on a terminal nobody watches; the next one would find the port taken.
        if config.origin_of_admin() == Origin::Default {
            config.admin.listen = None;
        }
        let mut beside = Beside::start(&config, begun)?;
        let code = runtime::block_on(async {
            beside.watch(&config)?;
            run(config, spec, &beside).await
        })?;
        Ok(ExitCode::from(code))
    }

    fn settings(&self, name: &WorkloadName) -> Vec<Setting> {
        let key = |key: &str| ["workloads".to_owned(), name.to_string(), key.to_owned()];
        let below =
            |table: &str, entry: &str| [key(table).as_slice(), &[entry.to_owned()]].concat();
        let component = self.component.to_string_lossy();
        let mut settings = self.hosting.settings();
        settings.push(Setting::flag("APP.wasm", key("component"), component.as_ref()));
        for (variable, value) in &self.env {
            settings.push(Setting::flag("--env", below("environment", variable), value.as_str()));
        }
        for (entry, value) in &self.config_value {
            settings.push(Setting::flag("--config-value", below("config", entry), value.as_str()));
        }
        if !self.dir.is_empty() {
            let folders = self.dir.iter().map(Folder::setting).collect();
            settings.push(Setting::flag_adds("--dir", key("preopens"), folders));
        }
        if !self.arguments.is_empty() {
            settings.push(Setting::flag("--", key("arguments"), self.arguments.clone()));
        }
        settings
    }
}

/// Loads the enabled extensions and runs one workload: serves until SIGTERM or SIGINT if it answers requests
/// or an extension calls it, else runs it as a command to its end. Returns the process's exit code.
async fn run(config: Config, spec: Spec, beside: &Beside) -> Result<u8, Report> {
    let (name, component) = (spec.name.clone(), spec.component.clone());
    let host = start::host(&config).await?;
    // Whatever answers HTTP is reached, without a route in the configuration.
    let prepared =
        async { host.prepare(host.load(spec).await?.routed_by_default(Route::default())).await };
    let workload = prepared.await.map_err(|error| start::report(&config, error))?;
    match workload.trigger() {
        Trigger::Http | Trigger::Calls => {
            start::serve(&config, beside, host, vec![workload]).await?;
            Ok(0)
        }
        Trigger::Command => {
            let ended = workload.run_command().await;
            drop(workload);
            host.shutdown().await;
            match ended {
                Some(Ok(code)) => Ok(u8::try_from(code).unwrap_or(1)),
                Some(Err(ended)) => {
                    Err(Report::failure(format_args!("`{name}` failed")).caused_by(ended))
                }
                None => Ok(1),
            }
        }
        Trigger::None => Err(Report::bad_input(format_args!(
            "`{}` exports nothing that the host can start",
            component.display()
        ))
        .expected(
            "an export of `wasi:http/incoming-handler@0.2`, `wasi:http/handler@0.3` or `wasi:cli/run`, or of an \
             interface that an enabled extension calls",
        )),
    }
}

/// `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected a name, `=` and a value".to_owned()),
    }
}

/// A folder that the guest is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    host: String,
    guest: String,
    write: bool,
}

impl Folder {
    fn parse(text: &str) -> Result<Self, String> {
        let (folders, write) = match (text.strip_suffix(":rw"), text.strip_suffix(":ro")) {
            (Some(folders), _) => (folders, true),
            (None, Some(folders)) => (folders, false),
            (None, None) => (text, false),
        };
        let (host, guest) = folders.split_once("::").unwrap_or((folders, folders));
        if host.is_empty() || guest.is_empty() {
            return Err("expected a folder, `::` and its path as the guest sees it".to_owned());
        }
        Ok(Self { host: host.to_owned(), guest: guest.to_owned(), write })
    }

    fn setting(&self) -> std::collections::BTreeMap<&'static str, figment::value::Value> {
        std::collections::BTreeMap::from([
            ("host", self.host.as_str().into()),
            ("guest", self.guest.as_str().into()),
            ("write", self.write.into()),
        ])
    }
}

/// The file's name, made into the name of a workload.
fn workload_name(file: &Path) -> Result<WorkloadName, Report> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = stem.chars().map(plain).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let name = name.get(..name.len().min(63)).unwrap_or(name).trim_end_matches('-');
    let name = if name.is_empty() { "app" } else { name };
    name.parse().map_err(|error| {
        Report::bad_input(format_args!("`{}` cannot name a workload", file.display()))
            .caused_by(error)
    })
}

/// The folder of this user's programs' state, as the XDG base directory specification has it.
fn state_folder() -> Option<PathBuf> {
    let absolute =
        |variable| std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("backplane"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_workload_a_name() {
        for (file, name) in [
            ("counter.wasm", "counter"),
            ("target/My_App.component.wasm", "my-app-component"),
            ("2048.wasm", "app"),
            ("-x-.wasm", "x"),
            ("größe.wasm", "gr--e"),
            ("", "app"),
        ] {
            assert_eq!(workload_name(Path::new(file)).unwrap().as_str(), name);
        }
        let long = format!("{}.wasm", "a".repeat(100));
        assert_eq!(workload_name(Path::new(&long)).unwrap().as_str().len(), 63);
    }

    #[test]
    fn a_folder_is_read_only_unless_it_says_otherwise() {
        let folder = |host: &str, guest: &str, write| Folder {
            host: host.to_owned(),
            guest: guest.to_owned(),
            write,
        };
        for (text, expected) in [
            ("data::/data", folder("data", "/data", false)),
            ("data::/data:ro", folder("data", "/data", false)),
            ("data::/data:rw", folder("data", "/data", true)),
            ("data", folder("data", "data", false)),
            ("data:rw", folder("data", "data", true)),
        ] {
            assert_eq!(Folder::parse(text), Ok(expected));
        }
        assert!(Folder::parse("::/data").is_err());
        assert!(Folder::parse("data::").is_err());
    }
}
