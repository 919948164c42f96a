//! Where a value of the configuration came from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use figment::Metadata;
use serde::Serialize;

/// What figment calls the source of a value from a file, ...
pub(super) const FILE: &str = "file";
/// ... from an environment variable, ...
pub(super) const ENVIRONMENT: &str = "environment variable";
/// ... and from a flag.
const FLAG: &str = "flag";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum Origin {
    /// A configuration file.
    File {
        /// The file, as it was named.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag of the command line.
    Flag {
        /// The flag, with its dashes.
        flag: String,
    },
    /// Nobody said otherwise.
    Default,
}

impl Origin {
    /// What figment remembers of it.
    pub(super) fn metadata(&self) -> Metadata {
        match self {
            Self::File { file, .. } => Metadata::from(FILE, file.as_path()),
            Self::Environment { variable } => Metadata::from(ENVIRONMENT, variable.clone()),
            Self::Flag { flag } => Metadata::from(FLAG, flag.clone()),
            Self::Default => Metadata::named("default"),
        }
    }

    /// The folder that a relative path from here starts at: the configuration file's own, and for all
    /// else `working`, the folder that the host was started in.
    pub(super) fn base<'a>(&'a self, working: &'a Path) -> &'a Path {
        match self {
            Self::File { file, .. } => file.parent().unwrap_or(working),
            Self::Environment { .. } | Self::Flag { .. } | Self::Default => working,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The way to a value from the root: keys of tables and indices of lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// The path of these keys.
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(keys: I) -> Self {
        Self(keys.into_iter().map(Into::into).collect())
    }

    /// The path of `key` below this one.
    #[must_use]
    pub fn child(&self, key: impl fmt::Display) -> Self {
        let mut keys = self.0.clone();
        keys.push(key.to_string());
        Self(keys)
    }

    /// The path above, and the last key; none at the root.
    pub fn split_last(&self) -> Option<(Self, &str)> {
        let (last, above) = self.0.split_last()?;
        Some((Self(above.to_vec()), last))
    }

    /// The keys, from the root.
    pub fn keys(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, key) in self.0.iter().enumerate() {
            if position > 0 && key.bytes().all(|b| b.is_ascii_digit()) {
                write!(f, "[{key}]")?;
                continue;
            }
            if position > 0 {
                f.write_str(".")?;
            }
            write!(f, "{}", toml_edit::Key::new(key))?;
        }
        Ok(())
    }
}

/// Where every value came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<KeyPath, Origin>);

impl Origins {
    /// Where the value at `path` came from, or else the nearest table around it that somebody wrote.
    pub fn of(&self, path: &KeyPath) -> Origin {
        let mut path = path.clone();
        loop {
            if let Some(origin) = self.0.get(&path) {
                return origin.clone();
            }
            match path.split_last() {
                Some((above, _)) => path = above,
                None => return Origin::Default,
            }
        }
    }

    pub(super) fn insert(&mut self, path: KeyPath, origin: Origin) {
        self.0.insert(path, origin);
    }
}
