//! Hides secrets in whatever is printed of the configuration.
//!
//! Hidden are, in the settings of extensions, links and workloads, values whose key looks like a
//! secret's; and everywhere, the password of a URL, what follows `password=` and the like, and private
//! keys.

use figment::value::Value;

use super::origin::KeyPath;

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Words that make a key a secret's.
const SECRET_WORDS: [&str; 15] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "key",
    "apikey",
    "credential",
    "authorization",
    "auth",
    "bearer",
    "cookie",
    "dsn",
    "salt",
];

/// The value with its secrets hidden; `path` is where it stands.
pub(super) fn masked(path: &KeyPath, value: &Value) -> Value {
    match value {
        Value::Dict(tag, dict) => {
            let masked = |(key, value): (&String, &Value)| {
                (key.clone(), self::masked(&path.child(key), value))
            };
            Value::Dict(*tag, dict.iter().map(masked).collect())
        }
        Value::Array(tag, elements) => {
            let masked = |(index, value)| self::masked(&path.child(index), value);
            Value::Array(*tag, elements.iter().enumerate().map(masked).collect())
        }
        leaf if is_secret(path) => Value::String(leaf.tag(), MASK.to_owned()),
        Value::String(tag, text) => Value::String(*tag, mask_text(text)),
        leaf => leaf.clone(),
    }
}

/// Whether what stands at `path` is a secret by its key.
pub(super) fn is_secret(path: &KeyPath) -> bool {
    free_keys(path.keys()).iter().any(|key| names_secret(key))
}

/// The keys below the table of free settings that the path leads through; none if it leads elsewhere.
fn free_keys(keys: &[String]) -> &[String] {
    match keys {
        [a, _, b, rest @ ..] if a == "extensions" && b == "config" => rest,
        [a, _, b, rest @ ..] if a == "links" && b == "config" => rest,
        [a, _, b, rest @ ..] if a == "workloads" && (b == "config" || b == "environment") => rest,
        [a, _, b, _, c, rest @ ..] if a == "workloads" && b == "links" && c == "config" => rest,
        _ => &[],
    }
}

/// Whether a key, read as words, names a secret: `db_password`, `accessKey`, `API-TOKENS`.
fn names_secret(key: &str) -> bool {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in key.chars() {
        if !c.is_alphanumeric() || (after_lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    words.iter().any(|word| {
        let one = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let one = one.strip_suffix('s').filter(|one| SECRET_WORDS.contains(one)).unwrap_or(one);
        // Longer words hold the tell-tale ones: `dbpassword`, `clientsecret`, `secretkey`.
        SECRET_WORDS.contains(&one)
            || ["password", "passwd", "secret", "credential", "token", "apikey"]
                .iter()
                .any(|tell| word.contains(tell))
    })
}

/// A text without the passwords in it.
pub(super) fn mask_text(text: &str) -> String {
    if text.contains("PRIVATE KEY-----") {
        return MASK.to_owned();
    }
    mask_assignments(&mask_user_info(text))
}

/// Hides the password of `scheme://user:password@host`, wherever in the text, and a token that stands
/// in the user's place.
fn mask_user_info(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(['/', '?', '#', ' ', ',', '"']).unwrap_or(after.len());
        let (authority, next) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                match user.split_once(':') {
                    Some((user, _)) => {
                        out.push_str(user);
                        out.push(':');
                        out.push_str(MASK);
                    }
                    None => out.push_str(user),
                }
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = next;
    }
    out.push_str(rest);
    out
}

/// Hides what follows `password=` and the like, up to the next separator.
fn mask_assignments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        out.push_str(before);
        out.push('=');
        let start = before.rfind(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)));
        let name = before.get(start.map_or(0, |at| at + 1)..).unwrap_or(before);
        let end = after.find(['&', ' ', ';', ',', '#', '"', '\n']).unwrap_or(after.len());
        let (_, next) = after.split_at(end);
        if names_secret(name) && end > 0 {
            out.push_str(MASK);
            rest = next;
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(keys: &[&str]) -> bool {
        is_secret(&KeyPath::new(keys.iter().copied()))
    }

    #[test]
    fn a_key_is_read_as_words() {
        for key in [
            "password",
            "DB_PASSWORD",
            "accessKey",
            "access-key-2",
            "API-TOKENS",
            "dbpassword",
            "clientsecret",
            "credentials",
            "AUTH",
            "PGPASSWORD",
        ] {
            assert!(names_secret(key), "{key}");
        }
        for key in ["keyspace", "monkey", "author", "path", "backend", "bucket", "passes", "KEYS_"]
        {
            assert_eq!(names_secret(key), key == "KEYS_", "{key}");
        }
    }

    #[test]
    fn only_free_settings_are_secret_by_their_key() {
        assert!(secret(&["extensions", "x", "config", "token"]));
        assert!(secret(&["extensions", "x", "config", "secrets", "a", "0"]));
        assert!(secret(&["links", "0", "config", "password"]));
        assert!(secret(&["workloads", "w", "environment", "API_KEY"]));
        assert!(secret(&["workloads", "w", "config", "api-key"]));
        assert!(secret(&["workloads", "w", "links", "1", "config", "secret"]));
        assert!(!secret(&["workloads", "w", "links", "1", "provider"]));
        assert!(!secret(&["workloads", "token", "component"]));
        assert!(!secret(&["extensions", "secret", "config", "path"]));
    }

    #[test]
    fn passwords_inside_a_text_are_hidden() {
        for (text, shown) in [
            ("redis://u:p@h:6379/0", "redis://u:***@h:6379/0"),
            ("redis://:p@x@h", "redis://:***@h"),
            ("nats://u:p@a,nats://u:q@b", "nats://u:***@a,nats://u:***@b"),
            ("https://host/path?token=abc&x=1", "https://host/path?token=***&x=1"),
            ("host=h password=p user=u", "host=h password=*** user=u"),
            ("--api-key=abc", "--api-key=***"),
            ("https://user@host/a@b:c", "https://user@host/a@b:c"),
            ("a=b", "a=b"),
            ("-----BEGIN PRIVATE KEY-----\nabc", "***"),
        ] {
            assert_eq!(mask_text(text), shown);
        }
    }
}
