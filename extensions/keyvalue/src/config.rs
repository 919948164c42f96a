//! The extension's config and a link's config, checked once.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Size, backend::redb, error::ConfigError};

/// The bucket, and the identifier, that is meant where none is named.
pub const DEFAULT_BUCKET: &str = "default";

/// The extension's config.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// What the buckets are kept in.
    pub backend: BackendKind,
    /// The buckets that there are. Workloads reach those that their links grant.
    pub buckets: Vec<String>,
    /// `redb`: the file. A relative path lies in the extension's data folder.
    pub path: Option<PathBuf>,
    /// The extension's data folder; the host fills it in.
    pub data: Option<PathBuf>,
    /// The longest key.
    #[serde(alias = "max_key")]
    pub max_key: Size,
    /// The longest value.
    #[serde(alias = "max_value")]
    pub max_value: Size,
    /// The most bytes of keys and values that one batch call reads or writes.
    #[serde(alias = "max_batch")]
    pub max_batch: Size,
    /// `memory`: the most bytes that all buckets hold together.
    #[serde(alias = "max_memory")]
    pub max_memory: Option<Size>,
    /// `redb`: how much of the file is kept in memory.
    pub cache: Option<Size>,
    /// `redb`: whether to verify every checksum of the file at the start. Reads the whole file.
    #[serde(alias = "check_on_start")]
    pub check_on_start: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: BackendKind::default(),
            buckets: vec![DEFAULT_BUCKET.to_owned()],
            path: None,
            data: None,
            max_key: Size(1 << 10),
            max_value: Size(16 << 20),
            max_batch: Size(64 << 20),
            max_memory: None,
            cache: None,
            check_on_start: None,
        }
    }
}

/// What buckets are kept in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// A file, durable.
    #[default]
    Redb,
    /// Memory, gone when the extension ends.
    Memory,
}

const FILE: &str = "keyvalue.redb";
const MEMORY: Size = Size(1 << 30);
const CACHE: Size = Size(64 << 20);
/// Keys and values that may wait to be written.
const WAITING: Size = Size(256 << 20);
/// The longest key and value that every backend can keep.
const LONGEST_KEY: Size = Size(64 << 10);
const LONGEST_VALUE: Size = Size(1 << 30);

/// A backend's options, as the config has them.
pub(crate) enum BackendOptions {
    Memory { limit: usize },
    Redb(redb::Options),
}

impl Config {
    /// Checks the settings against each other.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.buckets.is_empty() {
            let problem = "no bucket; leave the setting out for one named `default`";
            return Err(ConfigError::setting("buckets", problem));
        }
        for (place, name) in self.buckets.iter().enumerate() {
            check_name(name).map_err(|problem| ConfigError::setting("buckets", problem))?;
            if self.buckets.iter().take(place).any(|other| other == name) {
                return Err(ConfigError::setting("buckets", format!("`{name}` stands twice")));
            }
        }
        up_to("max-key", self.max_key, LONGEST_KEY)?;
        up_to("max-value", self.max_value, LONGEST_VALUE)?;
        let pair = Size(self.max_key.0 + self.max_value.0);
        if self.max_batch < pair {
            let problem = format!(
                "is {}, less than the longest key and value together ({pair}); raise it, or lower \
                 `max-value`",
                self.max_batch
            );
            return Err(ConfigError::setting("max-batch", problem));
        }
        let foreign: &[(&'static str, bool)] = match self.backend {
            BackendKind::Redb => &[("max-memory", self.max_memory.is_some())],
            BackendKind::Memory => &[
                ("path", self.path.is_some()),
                ("cache", self.cache.is_some()),
                ("check-on-start", self.check_on_start.is_some()),
            ],
        };
        match foreign.iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => {
                let backend = match self.backend {
                    BackendKind::Redb => "redb",
                    BackendKind::Memory => "memory",
                };
                let problem = format!("has no meaning for `backend = \"{backend}\"`; take it out");
                Err(ConfigError::setting(key, problem))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn backend_options(&self) -> Result<BackendOptions, ConfigError> {
        Ok(match self.backend {
            BackendKind::Memory => {
                BackendOptions::Memory { limit: self.max_memory.unwrap_or(MEMORY).0 }
            }
            BackendKind::Redb => BackendOptions::Redb(redb::Options {
                path: self.file()?,
                buckets: self.buckets.clone(),
                cache_bytes: self.cache.unwrap_or(CACHE).0,
                waiting_bytes: WAITING.0,
                check: self.check_on_start.unwrap_or(false),
            }),
        })
    }

    fn file(&self) -> Result<PathBuf, ConfigError> {
        let path = self.path.clone().unwrap_or_else(|| FILE.into());
        match &self.data {
            // An absolute path stays what it is.
            Some(data) => Ok(data.join(path)),
            None if path.is_absolute() => Ok(path),
            None => {
                let problem = "there is no data folder (`data`) for the file to lie in; give an \
                               absolute path";
                Err(ConfigError::setting("path", problem))
            }
        }
    }
}

fn up_to(key: &'static str, size: Size, most: Size) -> Result<(), ConfigError> {
    if (Size(1)..=most).contains(&size) {
        return Ok(());
    }
    Err(ConfigError::setting(key, format!("is {size}; expected 1B to {most}")))
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not the name of a bucket; expected 1 to 128 letters, digits, `-`, `_` and `.`"
    ))
}

/// The config of a workload's link: the buckets that it is granted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LinkConfig {
    /// The buckets that the workload is granted: a list of names, or a table from the identifier
    /// that the workload opens to a bucket. Without it, the bucket `default` alone.
    #[serde(default)]
    pub buckets: Option<Granted>,
}

/// The buckets that a workload is granted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a list of buckets, or a table from identifiers to buckets, each a name or \
                 `{ bucket = NAME, access = \"read\" }`"
)]
pub enum Granted {
    /// Buckets under their own names.
    Names(Vec<String>),
    /// Buckets by the identifiers that the workload opens.
    Identifiers(BTreeMap<String, Grant>),
}

/// A bucket that a workload is granted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Grant {
    /// For reading and writing.
    Bucket(String),
    /// For what `access` says.
    WithAccess(GrantWithAccess),
}

/// A bucket that a workload is granted, and for what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GrantWithAccess {
    /// The bucket.
    pub bucket: String,
    /// What the workload may do with it.
    #[serde(default)]
    pub access: Access,
}

/// What a workload may do with a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and write.
    #[default]
    ReadWrite,
    /// Read; every write is `access-denied`.
    Read,
}

impl LinkConfig {
    /// The granted buckets by identifier, with their places in `buckets`, the buckets that there
    /// are.
    pub(crate) fn resolve(
        &self,
        buckets: &[String],
    ) -> Result<HashMap<Box<str>, (usize, Access)>, ConfigError> {
        let all = |name: &str| Grant::Bucket(name.to_owned());
        let granted: Vec<(&str, Grant)> = match &self.buckets {
            None => vec![(DEFAULT_BUCKET, all(DEFAULT_BUCKET))],
            Some(Granted::Names(names)) => {
                names.iter().map(|name| (name.as_str(), all(name))).collect()
            }
            Some(Granted::Identifiers(grants)) => {
                grants.iter().map(|(name, grant)| (name.as_str(), grant.clone())).collect()
            }
        };
        let mut resolved = HashMap::new();
        for (identifier, grant) in granted {
            let (bucket, access) = match grant {
                Grant::Bucket(bucket) => (bucket, Access::ReadWrite),
                Grant::WithAccess(grant) => (grant.bucket, grant.access),
            };
            let place = buckets
                .iter()
                .position(|name| *name == bucket)
                .ok_or_else(|| ConfigError::setting("buckets", self.unknown(&bucket, buckets)))?;
            // The empty identifier and `default` are one.
            let identifier = if identifier.is_empty() { DEFAULT_BUCKET } else { identifier };
            if resolved.insert(identifier.into(), (place, access)).is_some() {
                let problem = format!("`{identifier}` is granted twice");
                return Err(ConfigError::setting("buckets", problem));
            }
        }
        Ok(resolved)
    }

    fn unknown(&self, bucket: &str, buckets: &[String]) -> String {
        let known = buckets.join("`, `");
        match self.buckets {
            Some(_) => format!(
                "there is no bucket `{bucket}`; the extension has `{known}`. Name one of those, or \
                 add it to the extension's `buckets`"
            ),
            None => format!(
                "the link grants no bucket, and there is none named `default` to fall back on; the \
                 extension has `{known}`. Add `buckets = [\"NAME\"]` to the link's config"
            ),
        }
    }
}
