//! Holds `docs/configure.md` to the schema: every key is there, in its section, with its default.

use std::collections::BTreeMap;

use figment::value::Value as Tree;
use serde_json::Value;

use super::{Config, file::File, origin::KeyPath};

const PAGE: &str = include_str!("../../../docs/configure.md");
const LIMITS_PAGE: &str = include_str!("../../../docs/limits.md");

/// A key as the page names it: the section's header, and the key in it.
type Key = (String, String);

/// Walks the schema and notes every key, with its default where that is a constant.
struct Walk {
    schema: Value,
    defaults: Tree,
    keys: BTreeMap<Key, Option<String>>,
}

impl Walk {
    fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        if let Some(reference) = node["$ref"].as_str() {
            return self.schema.pointer(reference.trim_start_matches('#')).unwrap();
        }
        match node["anyOf"].as_array() {
            Some(choices) => self.resolve(&choices[0]),
            None => node,
        }
    }

    /// Notes the keys of the table of type `node`, below the header `section`.
    fn table(&mut self, section: &str, path: &KeyPath, node: &Value) {
        let properties = self.resolve(node)["properties"].as_object().unwrap().clone();
        let name = section.trim_matches(['[', ']']).to_owned();
        let below =
            |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        for (key, node) in &properties {
            let path = path.child(key);
            let resolved = self.resolve(node).clone();
            let element = self.resolve(&resolved["items"]).clone();
            let entry = self.resolve(&resolved["additionalProperties"]).clone();
            if resolved["properties"].is_object() {
                self.table(&format!("[{}]", below(key)), &path, &resolved);
            } else if element["properties"].is_object() {
                self.table(&format!("[[{}]]", below(key)), &path.child("-"), &element);
            } else if entry["properties"].is_object() {
                self.table(&format!("[{}.NAME]", below(key)), &path.child("-"), &entry);
            } else {
                let default = path.keys().iter().try_fold(&self.defaults, |tree, key| {
                    tree.as_dict().and_then(|dict| dict.get(key))
                });
                let default = default.map(|value| serde_json::to_string(value).unwrap());
                self.keys.insert((section.to_owned(), key.clone()), default);
            }
        }
    }

    fn keys() -> BTreeMap<Key, Option<String>> {
        let schema = Config::schema();
        let defaults = Tree::serialize(File::default()).unwrap();
        let mut walk = Self { schema: schema.clone(), defaults, keys: BTreeMap::new() };
        walk.table("", &KeyPath::default(), &schema);
        walk.keys
    }
}

/// The line of each key in the tables of the page.
fn documented() -> BTreeMap<Key, &'static str> {
    let mut section = None;
    let mut rows = BTreeMap::new();
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = match heading {
                "Top level" => Some(""),
                _ => heading.strip_prefix('`').and_then(|name| name.strip_suffix('`')),
            };
        } else if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next())
            && let Some(section) = section
        {
            rows.insert((section.to_owned(), key.to_owned()), line);
        }
    }
    rows
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let schema: Vec<_> = Walk::keys().into_keys().collect();
    let page: Vec<_> = documented().into_keys().collect();
    assert!(schema.len() > 40, "{schema:?}");
    assert_eq!(page, schema);
}

#[test]
fn the_page_has_the_defaults() {
    let rows = documented();
    for (key, default) in Walk::keys() {
        if let Some(default) = default {
            let row = rows.get(&key).copied().unwrap_or_default();
            assert!(row.contains(&format!("`{default}`")), "{key:?}: no `{default}` in {row}");
        }
    }
}

#[test]
fn the_page_of_limits_has_every_limit_and_its_default() {
    for ((section, key), default) in Walk::keys() {
        if section == "[limits]" {
            let row = LIMITS_PAGE.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
            let default = default.unwrap().trim_matches('"').to_owned();
            assert!(row.is_some_and(|row| row.contains(&default)), "{key}: {default}: {row:?}");
        }
    }
}
