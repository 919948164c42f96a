//! The names that cross the edge of the host, parsed once into types that cannot be wrong.

use std::{fmt, str::FromStr, sync::Arc};

use semver::Version;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct NameError {
    text: String,
    expected: &'static str,
}

/// The name of a WIT interface: `ns:package/name`, with `@version` where the package has one.
///
/// Cheap to clone: names go into types, links and errors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    package: String,
    interface: String,
    version: Option<Version>,
}

impl InterfaceName {
    /// The package, `ns:package`.
    pub fn package(&self) -> &str {
        &self.0.package
    }

    /// The interface's name inside its package.
    pub fn interface(&self) -> &str {
        &self.0.interface
    }

    /// The package's version.
    pub fn version(&self) -> Option<&Version> {
        self.0.version.as_ref()
    }

    /// Whether the two name the same interface, of whichever version.
    pub fn is_same_interface(&self, other: &Self) -> bool {
        self.package() == other.package() && self.interface() == other.interface()
    }

    /// Whether what is offered as `self` may serve an import of `wanted` by version: equal, or
    /// compatible by semver (`0.2.1` serves `0.2.0`). Pre-releases serve only themselves.
    pub fn serves(&self, wanted: &Self) -> bool {
        if !self.is_same_interface(wanted) {
            return false;
        }
        match (self.version(), wanted.version()) {
            (None, None) => true,
            (Some(offered), Some(wanted)) => {
                offered == wanted
                    || (offered.pre.is_empty()
                        && wanted.pre.is_empty()
                        && offered >= wanted
                        && offered.major == wanted.major
                        && (offered.major > 0 || offered.minor == wanted.minor)
                        && (offered.major > 0 || offered.minor > 0))
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError {
            text: text.to_owned(),
            expected: "the name of a WIT interface; expected `namespace:package/interface@version`",
        };
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(Version::parse(version).map_err(|_| error())?)),
            None => (text, None),
        };
        let (package, interface) = path.split_once('/').ok_or_else(error)?;
        let (namespace, name) = package.split_once(':').ok_or_else(error)?;
        if [namespace, name, interface].into_iter().all(is_kebab) {
            Ok(Self(Arc::new(Parts {
                package: package.to_owned(),
                interface: interface.to_owned(),
                version,
            })))
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package(), self.interface())?;
        match self.version() {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

fn is_kebab(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

macro_rules! plain_names {
    ($($(#[$doc:meta])* $name:ident, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let fits = text.len() <= 63
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && text.starts_with(|c: char| c.is_ascii_lowercase())
                    && !text.ends_with('-');
                if fits {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { text: text.to_owned(), expected: $expected })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

plain_names! {
    /// The name of a workload.
    WorkloadName, "the name of a workload; expected at most 63 lower-case letters, digits and `-`, beginning with a letter";
    /// The name of a configured provider.
    ProviderName, "the name of a provider; expected at most 63 lower-case letters, digits and `-`, beginning with a letter";
}

impl WorkloadName {
    /// That of a component extension, which is a workload to the host.
    pub fn of_extension(name: &ProviderName) -> Self {
        Self(name.0.clone())
    }

    /// The name of a workload that nobody has named.
    pub fn unnamed() -> Self {
        Self("unnamed".to_owned())
    }
}

/// The SHA-256 of a file, as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 64 digits without the prefix, as for a file's name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for Digest {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.strip_prefix("sha256:")
            .and_then(|digits| hex::decode(digits).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| NameError {
                text: text.to_owned(),
                expected: "a digest; expected `sha256:` and 64 hexadecimal digits",
            })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InterfaceName {
        text.parse().unwrap()
    }

    #[test]
    fn an_interface_name_prints_as_it_was_read() {
        for text in ["wasi:http/types@0.2.6", "a:b/c", "wasi:kv/store@0.2.0-draft2"] {
            assert_eq!(name(text).to_string(), text);
        }
        for text in ["", "a", "a:b", "a/b", "a:b/c@x", "a:b/", ":/c"] {
            assert!(text.parse::<InterfaceName>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_serve_by_semver_and_pre_releases_exactly() {
        assert!(name("a:b/c@0.2.1").serves(&name("a:b/c@0.2.0")));
        assert!(!name("a:b/c@0.2.0").serves(&name("a:b/c@0.2.1")));
        assert!(!name("a:b/c@0.3.0").serves(&name("a:b/c@0.2.0")));
        assert!(name("a:b/c@1.4.0").serves(&name("a:b/c@1.2.9")));
        assert!(!name("a:b/c@0.0.2").serves(&name("a:b/c@0.0.1")));
        assert!(!name("a:b/c@0.2.0-draft2").serves(&name("a:b/c@0.2.0-draft")));
        assert!(!name("a:b/c@0.2.0").serves(&name("a:b/c@0.2.0-draft")));
        assert!(!name("a:b/c").serves(&name("a:b/c@0.2.0")));
    }
}
