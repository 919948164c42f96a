//! WIT names as Rust names.

use heck::{ToShoutySnakeCase, ToSnakeCase, ToUpperCamelCase};
use proc_macro2::{Ident, Span};

/// A type, a case of a variant or enum.
pub(crate) fn upper_camel(name: &str) -> Ident {
    ident(&name.to_upper_camel_case())
}

/// A function, a parameter, a field or a module.
pub(crate) fn snake(name: &str) -> Ident {
    ident(&name.to_snake_case())
}

/// A flag.
pub(crate) fn shouty(name: &str) -> Ident {
    ident(&name.to_shouty_snake_case())
}

/// A keyword gets a `_`, as elsewhere in the component model's tools.
fn ident(name: &str) -> Ident {
    match syn::parse_str::<Ident>(name) {
        Ok(_) => Ident::new(name, Span::call_site()),
        Err(_) => Ident::new(&format!("{name}_"), Span::call_site()),
    }
}

/// The module of a package: its name, with its version where several versions meet.
pub(crate) fn package_module(package: &wit_parser::PackageName, versioned: bool) -> Ident {
    let mut name = package.name.to_snake_case();
    if versioned && let Some(version) = &package.version {
        name.extend(
            version
                .to_string()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }),
        );
    }
    ident(&name)
}
