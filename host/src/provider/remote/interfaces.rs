//! What a server serves, read from the WIT that config names: its types are what a component's imports are
//! held against, for the server itself tells none.

use std::path::{Path, PathBuf};

use wit_parser::{InterfaceId, PackageId, Resolve};

use super::super::{
    Offer,
    world::{self, WorldError},
};
use crate::name::InterfaceName;

/// Why the WIT of a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WitError {
    /// It cannot be read.
    #[error("{} cannot be read as WIT: {reason}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It has several worlds.
    #[error(
        "{} has {count} worlds; say which interfaces the server serves, with `interfaces`", path.display()
    )]
    Worlds {
        /// The file or folder.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// It has no interface with functions.
    #[error("{} has no interface with functions that a server could serve", path.display())]
    Nothing {
        /// The file or folder.
        path: PathBuf,
    },
    /// It does not have an interface that config names.
    #[error("{} has no interface `{interface}`; it has {}", path.display(), known.join(", "))]
    NoInterface {
        /// The interface.
        interface: InterfaceName,
        /// The file or folder.
        path: PathBuf,
        /// Those that it has.
        known: Vec<String>,
    },
    /// An interface of it is not what a host can link.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A function passes what does not go over the network.
    #[error(
        "`{interface}#{function}` has {part} of type `{ty}`: a server is given and gives plain values, no resources, streams or futures; serve the interface in process, or name only others with `interfaces`"
    )]
    NotPlain {
        /// The interface.
        interface: InterfaceName,
        /// The function.
        function: String,
        /// The parameter or the result.
        part: String,
        /// Its type, in WIT.
        ty: String,
    },
}

/// Reads the interfaces that a server serves: those named, else those that the only world exports, else,
/// without a world, all of the package.
pub(super) fn read(path: &Path, named: &[InterfaceName]) -> Result<Vec<Offer>, WitError> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(path).map_err(|error| WitError::Unreadable {
        path: path.to_owned(),
        reason: format!("{error:#}"),
    })?;
    let chosen = match named {
        [] => of_package(&resolve, package, path)?,
        named => of_names(&resolve, path, named)?,
    };
    let (mut function, mut resource) = (0, 0);
    let mut offers = Vec::new();
    for id in chosen {
        let offer = world::offer(&resolve, id, &mut function, &mut resource)?;
        plain(&offer)?;
        offers.push(offer);
    }
    if offers.iter().all(|offer| offer.functions.is_empty()) {
        return Err(WitError::Nothing { path: path.to_owned() });
    }
    Ok(offers)
}

fn of_package(
    resolve: &Resolve,
    package: PackageId,
    path: &Path,
) -> Result<Vec<InterfaceId>, WitError> {
    let Some(package) = resolve.packages.get(package) else { return Ok(Vec::new()) };
    let worlds: Vec<_> = package.worlds.values().collect();
    match worlds.as_slice() {
        [] => Ok(package.interfaces.values().copied().collect()),
        [world] => {
            let Some(only) = resolve.worlds.get(**world) else { return Ok(Vec::new()) };
            Ok(only.exports.values().filter_map(world::interface).collect())
        }
        several => Err(WitError::Worlds { path: path.to_owned(), count: several.len() }),
    }
}

fn of_names(
    resolve: &Resolve,
    path: &Path,
    named: &[InterfaceName],
) -> Result<Vec<InterfaceId>, WitError> {
    let all: Vec<_> = resolve
        .interfaces
        .iter()
        .filter(|(_, interface)| interface.package.is_some())
        .filter_map(|(id, _)| Some((id, resolve.id_of(id)?)))
        .collect();
    let find = |name: &InterfaceName| {
        let text = name.to_string();
        let found = all.iter().find(|(_, known)| *known == text);
        found.map(|(id, _)| *id).ok_or_else(|| WitError::NoInterface {
            interface: name.clone(),
            path: path.to_owned(),
            known: all.iter().map(|(_, known)| format!("`{known}`")).collect(),
        })
    };
    named.iter().map(find).collect()
}

/// Checks that the functions pass nothing but values.
fn plain(offer: &Offer) -> Result<(), WitError> {
    for function in &offer.functions {
        let params =
            function.ty.params.iter().map(|(name, ty)| (format!("parameter `{name}`"), ty));
        let result = function.ty.result.iter().map(|ty| ("the result".to_owned(), ty));
        if let Some((part, ty)) = params.chain(result).find(|(_, ty)| !ty.is_plain()) {
            return Err(WitError::NotPlain {
                interface: offer.interface.clone(),
                function: function.name.clone(),
                part,
                ty: ty.to_string(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, named: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wit");
        std::fs::write(&file, text).unwrap();
        let named: Vec<_> = named.iter().map(|name| name.parse().unwrap()).collect();
        let offers = read(&file, &named).map_err(|error| error.to_string())?;
        Ok(offers.iter().map(|offer| offer.interface.to_string()).collect())
    }

    const TWO: &str = "package a:b@1.0.0; interface c { f: func(); } interface d { f: func(); }";

    #[test]
    fn interfaces_are_those_named_or_exported_or_all() {
        assert_eq!(read_text(TWO, &[]).unwrap(), ["a:b/c@1.0.0", "a:b/d@1.0.0"]);
        assert_eq!(read_text(TWO, &["a:b/d@1.0.0"]).unwrap(), ["a:b/d@1.0.0"]);
        let world = format!("{TWO} world w {{ import c; export d; }}");
        assert_eq!(read_text(&world, &[]).unwrap(), ["a:b/d@1.0.0"]);
        assert_eq!(read_text(&world, &["a:b/c@1.0.0"]).unwrap(), ["a:b/c@1.0.0"]);
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_what_to_do() {
        let resource = "package a:b; interface c { resource r; f: func(a: u8) -> option<r>; }";
        for (text, named, parts) in [
            ("package a:b; interface c {", &[][..], &["cannot be read as WIT"][..]),
            ("package a:b; world w {} world v {}", &[], &["has 2 worlds", "`interfaces`"]),
            ("package a:b; world w {}", &[], &["has no interface with functions"]),
            (TWO, &["a:b/e@1.0.0"], &["no interface `a:b/e@1.0.0`", "it has `a:b/c@1.0.0`"]),
            (resource, &[], &["`a:b/c#f`", "the result of type `option<r>`", "in process"]),
            ("package a:b; interface c { f: func(a: stream<u8>); }", &[], &["parameter `a`"]),
        ] {
            let error = read_text(text, named).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
