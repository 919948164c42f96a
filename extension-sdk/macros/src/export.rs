//! `export!`: what makes a crate an extension.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::options::Export;

pub(crate) fn export(options: &Export) -> TokenStream {
    let Export { name, extension, world, .. } = options;
    let workers = match &options.worker_threads {
        Some(workers) => quote!(#workers),
        None => quote!(0),
    };
    let module = quote! {
        /// The extension's root module, for a host that links it statically. Make it once.
        pub fn module() -> ::backplane_sdk::abi::ExtensionModuleRef {
            ::backplane_sdk::__private::module::<#extension, #world, __Exported>()
        }

        #[doc(hidden)]
        #[derive(Debug)]
        pub struct __Exported;

        impl ::backplane_sdk::__private::Exported for __Exported {
            const NAME: &'static str = #name;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            const WORKER_THREADS: usize = #workers;
        }
    };
    let library = library(options);
    let allocator = options.allocator.iter().map(|allocator| {
        quote! {
            // A program that links the extension has an allocator of its own.
            #[cfg(not(feature = "static"))]
            #[global_allocator]
            static __ALLOCATOR: #allocator = #allocator;
        }
    });
    quote! {
        #module
        #library
        #(#allocator)*
    }
}

/// What stands in a shared library alone: the header that the host looks for, and the sections that
/// it reads from the file.
fn library(options: &Export) -> TokenStream {
    let Export { name, world, aliases, .. } = options;
    let header = format_ident!("{}", abi_stable_shared::mangled_root_module_loader_name());
    let before = format!("{{\"name\":\"{}\",\"version\":\"", name.value());
    let aliases: Vec<_> = aliases
        .iter()
        .map(|(alias, interface)| format!("[{:?},{:?}]", alias.value(), interface.value()))
        .collect();
    let after = format!("\",\"aliases\":[{}]}}", aliases.join(","));
    let items = quote! {
        #[cfg(not(feature = "static"))]
        const _: () = {
            const PANIC: &str = if ::core::cfg!(panic = "unwind") { "unwind" } else { "abort" };
            const PARTS: &[&str] = &[
                #before,
                ::core::env!("CARGO_PKG_VERSION"),
                "\",\"abi\":\"",
                ::backplane_sdk::abi::ABI_VERSION,
                "\",\"panic\":\"",
                PANIC,
                #after,
            ];
            const METADATA_LENGTH: usize = ::backplane_sdk::__private::length(PARTS);
            const WORLD_LENGTH: usize = #world::WIT.len();

            #[used]
            #[unsafe(link_section = ".backplane.metadata")]
            static METADATA: [u8; METADATA_LENGTH] = ::backplane_sdk::__private::concatenate(PARTS);

            #[used]
            #[unsafe(link_section = ".backplane.world")]
            static WORLD: [u8; WORLD_LENGTH] = ::backplane_sdk::__private::array(#world::WIT);

            fn root() -> ::backplane_sdk::abi::ExtensionModuleRef {
                ::backplane_sdk::__private::loaded_as_library(&METADATA, &WORLD);
                module()
            }

            extern "C" fn constructor() -> ::backplane_sdk::abi::abi_stable::library::RootModuleResult {
                ::backplane_sdk::abi::abi_stable::library::__call_root_module_loader(root)
            }

            // SAFETY: the constructor's module is an `ExtensionModuleRef`, as the header says.
            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals)]
            pub static #header: ::backplane_sdk::abi::abi_stable::library::LibHeader = unsafe {
                ::backplane_sdk::abi::abi_stable::library::LibHeader::from_constructor::<
                    ::backplane_sdk::abi::ExtensionModuleRef,
                >(constructor, ::backplane_sdk::abi::abi_stable::library::CheckTypeLayout::Yes)
            };
        };
    };
    quote! {
        // A crate that does not declare the feature is never linked statically.
        #[allow(unexpected_cfgs)]
        const _: () = {
            #items
        };
    }
}
