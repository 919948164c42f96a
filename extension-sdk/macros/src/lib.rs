//! WIT to Rust handlers: the macros behind `backplane-sdk`, which re-exports and documents them.
//!
//! They know WIT and the names of the SDK's items; nothing of a host or of any interface.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod config;
mod dispatch;
mod export;
mod names;
mod options;
#[cfg(test)]
mod tests;
mod types;
mod wit;

use proc_macro::TokenStream;

/// Turns the exports of a WIT world into Rust types and handler traits.
///
/// See `backplane_sdk` for the whole of it; in short:
///
/// ```ignore
/// backplane_sdk::generate!({
///     path: "wit",                 // a file, a folder, or a list of them; or `inline: "package ..."`
///     world: "provider",           // may be left out where there is one
///     bytes: "owned",              // how handlers take `list<u8>`: "owned" `Bytes`, or "borrowed" `&[u8]`
///     resources: {                 // the Rust type behind each resource
///         "wasi:keyvalue/store/bucket": crate::Bucket,
///     },
///     encoded: [],                 // functions whose answer the handler encodes itself
/// });
/// ```
#[proc_macro]
pub fn generate(input: TokenStream) -> TokenStream {
    options::parse_generate(input.into())
        .and_then(|options| {
            let source = wit::load(&options)?;
            dispatch::generate(&options, &source)
        })
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// Makes the crate an extension: emits the root module, the metadata and the world, and
/// `pub fn module()` for linking it statically.
///
/// ```ignore
/// backplane_sdk::export! {
///     name: "keyvalue",
///     extension: KeyValue,
///     world: bindings::World,
///     aliases: [("ns:old/iface@1.0.0", "ns:new/iface@1.0.0")],
///     worker_threads: 2,
///     allocator: mimalloc::MiMalloc,
/// }
/// ```
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    options::parse_export(input.into())
        .map(|options| export::export(&options))
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// Makes a struct or enum a config type: derives `Deserialize` and `JsonSchema`, and refuses keys
/// that it does not have.
#[proc_macro_attribute]
pub fn config(attribute: TokenStream, item: TokenStream) -> TokenStream {
    config::config(attribute.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
