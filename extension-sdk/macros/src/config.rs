//! `#[config]`: what every config type derives.

use proc_macro2::TokenStream;
use quote::quote;

pub(crate) fn config(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(syn::Error::new_spanned(attribute, "`#[config]` takes no arguments"));
    }
    let item: syn::DeriveInput = syn::parse2(item)?;
    Ok(quote! {
        #[derive(::backplane_sdk::serde::Deserialize, ::backplane_sdk::schemars::JsonSchema)]
        #[serde(crate = "::backplane_sdk::serde", deny_unknown_fields)]
        #[schemars(crate = "::backplane_sdk::schemars")]
        #item
    })
}
