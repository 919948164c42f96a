//! Config, from the host's JSON to the author's type.

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use crate::Failure;

/// The config of an extension, or of a binding, that has none. Any key is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a JSON object, naming the key in every complaint.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(what: &str, json: &str) -> Result<T, Failure> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let mut unknown = None;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let value = serde_ignored::deserialize(deserializer, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    });
    match (value, unknown) {
        (Ok(value), None) => Ok(value),
        (Ok(_), Some(key)) => {
            let known = properties::<T>();
            let expected = if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("expected one of {known}")
            };
            Err(Failure::new(format_args!("{what}: unknown key `{key}`, {expected}")))
        }
        (Err(error), _) => {
            let path = track.path().to_string();
            let at = if path == "." { String::new() } else { format!("key `{path}`: ") };
            Err(Failure::new(format_args!("{what}: {at}{}", without_position(&error))))
        }
    }
}

/// The error without its line and column, which mean nothing to who wrote TOML.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// The schema's own keys, quoted, for a message.
fn properties<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T);
    let properties = schema.get("properties").and_then(|properties| properties.as_object());
    let keys: Vec<_> =
        properties.into_iter().flat_map(|keys| keys.keys()).map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}

/// The JSON Schema of a config type; empty if it has no keys.
pub(crate) fn schema<T: JsonSchema + 'static>() -> String {
    if std::any::TypeId::of::<T>() == std::any::TypeId::of::<NoConfig>() {
        return String::new();
    }
    schemars::schema_for!(T).as_value().to_string()
}
