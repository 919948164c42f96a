//! Flags that several commands share, and how each becomes a setting of the configuration.

use std::path::PathBuf;

use clap::Args;

use crate::{
    config::{Config, Setting, Sources},
    report::Report,
};

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file; without it ./backplane.toml, if there is one
    #[arg(long, global = true, value_name = "FILE", env = "BACKPLANE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Which log lines are written: off, error, warn, info, debug, trace, or target=level,...
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl Global {
    /// Where the configuration comes from, with a command's own flags.
    pub(super) fn sources(&self, own: Vec<Setting>) -> Result<Sources, Report> {
        let level = self
            .log_level
            .iter()
            .map(|level| Setting::flag("--log-level", ["log", "level"], level.as_str()));
        Sources::of_process(self.config.clone(), level.chain(own).collect())
    }

    /// The configuration, with a command's own flags.
    pub(super) fn load(&self, own: Vec<Setting>) -> Result<Config, Report> {
        Config::load(&self.sources(own)?)
    }
}

/// Flags of the commands that start a host.
#[derive(Debug, Clone, Args)]
pub struct Hosting {
    /// Take HTTP requests on this address; may be given again
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Serve health and metrics on this address, or `off`. Without it `backplane host` serves them on
    /// 127.0.0.1:9090, and `backplane run` does not
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Load this extension as well; may be given again, or with several names and commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub enable: Vec<String>,
}

impl Hosting {
    pub(super) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        if !self.listen.is_empty() {
            settings.push(Setting::flag("--listen", ["http", "listen"], self.listen.clone()));
        }
        if let Some(admin) = &self.admin {
            settings.push(Setting::flag("--admin", ["admin", "listen"], admin.as_str()));
        }
        if !self.enable.is_empty() {
            settings.push(Setting::flag_adds("--enable", ["enable"], self.enable.clone()));
        }
        settings
    }
}
