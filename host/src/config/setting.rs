//! Single settings: environment variables and flags, each naming one key.

use std::ffi::OsString;

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Tag, Value},
};

use super::{
    origin::{KeyPath, Origin},
    toml,
};
use crate::report::Report;

/// The value of one key, from the environment or the command line.
#[derive(Clone)]
pub struct Setting {
    pub(super) path: KeyPath,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Whether a list is added to the one below it. Else it takes its place.
    pub(super) appends: bool,
}

impl Setting {
    /// The value that a flag, named with its dashes, gives to a key.
    pub fn flag<K: Into<String>>(
        flag: &str,
        path: impl IntoIterator<Item = K>,
        value: impl Into<Value>,
    ) -> Self {
        let origin = Origin::Flag { flag: flag.to_owned() };
        Self { path: KeyPath::new(path), value: value.into(), origin, appends: false }
    }

    /// The elements that a flag adds to a list.
    pub fn flag_adds<K: Into<String>>(
        flag: &str,
        path: impl IntoIterator<Item = K>,
        elements: Vec<impl Into<Value>>,
    ) -> Self {
        Self { appends: true, ..Self::flag(flag, path, elements) }
    }

    /// The settings among a process's environment variables, and reports of the unreadable ones.
    ///
    /// `BACKPLANE_HTTP__LISTEN` is `http.listen`: `__` goes down a table, `_` stands for `-`. The names
    /// below a workload's `environment` and `config` stay as they are.
    pub(super) fn from_environment(variables: &[(OsString, OsString)]) -> (Vec<Self>, Vec<Report>) {
        let mut settings = Vec::new();
        let mut reports = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(key) = name.strip_prefix(PREFIX).filter(|key| !is_foreign(key)) else {
                continue;
            };
            match value.to_str() {
                Some(value) => settings.push(Self::variable(name, key, value)),
                None => reports.push(
                    Report::bad_input(format_args!("the value of {name} is not UTF-8"))
                        .at(format_args!("environment variable {name}"))
                        .help("unset the variable or give it another value"),
                ),
            }
        }
        settings.sort_by(|a, b| a.origin.cmp(&b.origin));
        (settings, reports)
    }

    fn variable(name: &str, key: &str, value: &str) -> Self {
        let mut keys: Vec<String> = Vec::new();
        let mut rest = Some(key);
        while let Some(text) = rest {
            if is_text_map(&keys) {
                keys.push(text.to_owned());
                break;
            }
            let (first, after) =
                text.split_once("__").map_or((text, None), |(first, after)| (first, Some(after)));
            let first = first.to_ascii_lowercase();
            // An extension's own keys are the fields of a Rust type, with `_`.
            let is_own =
                matches!(keys.as_slice(), [a, _, b, ..] if a == "extensions" && b == "config");
            keys.push(if is_own { first } else { first.replace('_', "-") });
            rest = after;
        }
        let is_text = keys.split_last().is_some_and(|(_, above)| is_text_map(above));
        let value = if is_text { Value::from(value) } else { toml::value(value) };
        let origin = Origin::Environment { variable: name.to_owned() };
        Self { path: KeyPath::new(keys), value, origin, appends: false }
    }
}

const PREFIX: &str = "BACKPLANE_";

/// Whether a variable with our prefix is somebody else's: the file's name, which the command line
/// reads, and what Kubernetes sets in every pod beside a service that is called `backplane`.
fn is_foreign(key: &str) -> bool {
    key == "CONFIG"
        || key == "PORT"
        || key.starts_with("PORT_")
        || key == "SERVICE_HOST"
        || key == "SERVICE_PORT"
        || key.starts_with("SERVICE_PORT_")
}

/// Whether the table at `keys` maps names of the guest's own choice, kept as they are, to texts.
fn is_text_map(keys: &[String]) -> bool {
    matches!(keys, [first, _, third]
        if first == "workloads" && (third == "environment" || third == "config"))
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        self.origin.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut value = self.value.clone();
        for key in self.path.keys().iter().rev() {
            value = Value::Dict(Tag::Default, Dict::from([(key.clone(), value)]));
        }
        Ok(Profile::Default.collect(value.into_dict().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, Value)> {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
        let (settings, reports) = Setting::from_environment(&pairs);
        assert!(reports.is_empty());
        settings.into_iter().map(|s| (s.path.to_string(), s.value)).collect()
    }

    #[test]
    fn a_variable_names_a_key_by_its_path() {
        assert_eq!(
            variables(&[
                ("BACKPLANE_HTTP__LISTEN", "127.0.0.1:1"),
                ("BACKPLANE_LIMITS__REQUEST_BODY", "1MiB"),
                ("BACKPLANE_EXTENSIONS__MY_X__CONFIG__GROUP_SIZE__AT", "2.5"),
                ("BACKPLANE_WORKLOADS__A_B__LIMITS__CONCURRENCY", "7"),
                ("OTHER", "x"),
            ]),
            [
                ("extensions.my-x.config.group_size.at".to_owned(), Value::from(2.5)),
                ("http.listen".to_owned(), Value::from("127.0.0.1:1")),
                ("limits.request-body".to_owned(), Value::from("1MiB")),
                ("workloads.a-b.limits.concurrency".to_owned(), Value::from(7)),
            ]
        );
    }

    #[test]
    fn names_and_texts_of_a_guest_are_kept_as_they_are() {
        assert_eq!(
            variables(&[
                ("BACKPLANE_WORKLOADS__A__ENVIRONMENT__Db_Port__X", "1.10"),
                ("BACKPLANE_WORKLOADS__A__CONFIG__GREETING", "true"),
            ]),
            [
                ("workloads.a.config.GREETING".to_owned(), Value::from("true")),
                ("workloads.a.environment.Db_Port__X".to_owned(), Value::from("1.10")),
            ]
        );
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_the_same_name_is_passed_over() {
        let foreign = [
            "CONFIG",
            "PORT",
            "PORT_8080_TCP_ADDR",
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
        ];
        for key in foreign {
            assert!(variables(&[(&format!("{PREFIX}{key}"), "tcp://10.0.0.1:80")]).is_empty());
        }
        assert_eq!(variables(&[("BACKPLANE_SERVICES", "x")]).len(), 1);
    }
}
