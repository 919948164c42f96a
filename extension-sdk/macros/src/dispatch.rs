//! The modules, the handler traits, and the `match` that a call goes through.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::LitByteStr;
use wit_parser::{Function, FunctionKind, Handle, InterfaceId, Param, Type, TypeDefKind, TypeId};

use crate::{
    names::{snake, upper_camel},
    options::{ByteLists, Generate},
    types::{Place, Types, docs, stream},
    wit::Source,
};

/// A resource that the extension makes.
struct Resource<'a> {
    id: TypeId,
    interface: String,
    name: String,
    /// The author's type for it.
    representation: &'a syn::Type,
}

/// A function that the extension answers.
struct Answered<'a> {
    interface: InterfaceId,
    function: &'a Function,
    /// Whether the handler encodes its answer itself.
    encoded: bool,
}

struct Generator<'a> {
    types: Types<'a>,
    source: &'a Source,
    resources: Vec<Resource<'a>>,
    functions: Vec<Answered<'a>>,
}

pub(crate) fn generate(options: &Generate, source: &Source) -> syn::Result<TokenStream> {
    let generator = Generator {
        types: Types::new(source, options.bytes),
        source,
        resources: resources(options, source)?,
        functions: functions(options, source)?,
    };
    generator.check_resources()?;
    let modules = generator.modules();
    let world = generator.world();
    let representations = generator.resources.iter().enumerate().map(|(number, resource)| {
        let name = representation_alias(number);
        let ty = resource.representation;
        quote!(#[doc(hidden)] #[allow(private_interfaces, dead_code, missing_docs)] pub type #name = #ty;)
    });
    // The compiler rebuilds the crate when one of the files changes.
    let files = source.files.iter().filter_map(|file| file.to_str()).map(|file| {
        quote!(
            const _: &[u8] = ::core::include_bytes!(#file);
        )
    });
    Ok(quote! {
        #modules
        #(#representations)*
        #world
        #(#files)*
    })
}

fn representation_alias(number: usize) -> Ident {
    format_ident!("__Representation{number}")
}

fn resources<'a>(options: &'a Generate, source: &Source) -> syn::Result<Vec<Resource<'a>>> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let mut used = vec![false; options.resources.len()];
    for interface in &source.exports {
        let Some(definition) = source.resolve.interfaces.get(*interface) else { continue };
        for (name, id) in &definition.types {
            let kind = source.resolve.types.get(*id).map(|def| &def.kind);
            if !matches!(kind, Some(TypeDefKind::Resource)) {
                continue;
            }
            let interface = source.interface_name(*interface);
            let with_version = format!("{interface}/{name}");
            let without = interface.split('@').next().unwrap_or(&interface);
            let without_version = format!("{without}/{name}");
            let entry = [&with_version, &without_version].into_iter().find_map(|wanted| {
                options.resources.iter().position(|(key, _)| key.value() == *wanted)
            });
            match entry.and_then(|index| Some((index, options.resources.get(index)?))) {
                Some((index, (_, representation))) => {
                    if let Some(used) = used.get_mut(index) {
                        *used = true;
                    }
                    found.push(Resource { id: *id, interface, name: name.clone(), representation });
                }
                None => {
                    missing.push(format!("\"{without_version}\": crate::{}", upper_camel(name)))
                }
            }
        }
    }
    let unused = options.resources.iter().zip(&used).find(|(_, used)| !**used);
    if let Some(((key, _), _)) = unused {
        return Err(syn::Error::new(
            key.span(),
            "the world exports no such resource; expected `ns:package/interface/resource`, with or \
             without `@version` after the interface",
        ));
    }
    if !missing.is_empty() {
        return Err(syn::Error::new(
            Span::call_site(),
            format!(
                "each resource of the world needs the Rust type behind it; add `resources: {{ {} }}`",
                missing.join(", ")
            ),
        ));
    }
    Ok(found)
}

fn functions<'a>(options: &Generate, source: &'a Source) -> syn::Result<Vec<Answered<'a>>> {
    let mut found = Vec::new();
    let mut names: Vec<_> =
        options.encoded.iter().map(|name| (name.value(), name.span())).collect();
    for interface in &source.exports {
        let Some(definition) = source.resolve.interfaces.get(*interface) else { continue };
        for function in definition.functions.values() {
            source
                .check(*interface, function)
                .map_err(|error| syn::Error::new(Span::call_site(), error))?;
            let name = format!("{}/{}", source.interface_name(*interface), function.name);
            let before = names.len();
            names.retain(|(wanted, _)| *wanted != name);
            let encoded = names.len() < before;
            found.push(Answered { interface: *interface, function, encoded });
        }
    }
    match names.first() {
        None => Ok(found),
        Some((name, span)) => Err(syn::Error::new(
            *span,
            format!(
                "the world exports no function `{name}`; expected `ns:package/interface@version/function`"
            ),
        )),
    }
}

impl Generator<'_> {
    /// Refuses resources that another component would have to make.
    fn check_resources(&self) -> syn::Result<()> {
        let called = self.source.calls.iter().flat_map(|interface| {
            let functions = self.source.resolve.interfaces.get(*interface).map(|i| &i.functions);
            functions
                .into_iter()
                .flat_map(|all| all.values())
                .map(|function| (*interface, function))
        });
        let answered =
            self.functions.iter().map(|answered| (answered.interface, answered.function));
        for (interface, function) in answered.chain(called) {
            let types = function.params.iter().map(|param| &param.ty);
            for ty in types.chain(&function.result) {
                let foreign = self.source.any(ty, &|_, kind| match kind {
                    Some(TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id))) => {
                        self.number(*id).is_none() && self.source.io(*id).is_none()
                    }
                    _ => false,
                });
                if foreign {
                    return Err(syn::Error::new(
                        Span::call_site(),
                        format!(
                            "function `{}` of `{}` has a resource that the world does not export; \
                             export the interface that defines it too",
                            function.name,
                            self.source.interface_name(interface)
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn number(&self, resource: TypeId) -> Option<usize> {
        let resource = self.source.dealias(resource);
        self.resources.iter().position(|known| known.id == resource)
    }

    fn modules(&self) -> TokenStream {
        let mut tree: BTreeMap<Ident, BTreeMap<Ident, Vec<TokenStream>>> = BTreeMap::new();
        for interface in &self.source.interfaces {
            if let [namespace, package, name] = self.types.modules(*interface).as_slice() {
                let module = self.module(*interface, name);
                let packages = tree.entry(namespace.clone()).or_default();
                packages.entry(package.clone()).or_default().push(module);
            }
        }
        let namespaces = tree.iter().map(|(namespace, packages)| {
            let names = packages.keys();
            let modules = packages.values();
            quote! {
                #[allow(
                    missing_docs, dead_code, unused_imports, unreachable_pub, private_interfaces,
                    clippy::all, rustdoc::all, reason = "generated from WIT"
                )]
                pub mod #namespace {
                    #(pub mod #names {
                        #(#modules)*
                    })*
                }
            }
        });
        quote!(#(#namespaces)*)
    }

    fn module(&self, interface: InterfaceId, name: &Ident) -> TokenStream {
        let Some(definition) = self.source.resolve.interfaces.get(interface) else {
            return TokenStream::new();
        };
        // Of the host's own interface, what crosses is all that there is to name.
        let is_io = self.source.interface_name(interface).starts_with("wasi:io/");
        let items = definition
            .types
            .values()
            .filter(|id| !is_io || self.source.io(**id).is_some())
            .map(|id| self.types.item(*id, interface, |id| self.resource(id)));
        let docs = docs(&definition.docs);
        let handler = self.source.exports.contains(&interface).then(|| self.handler(interface));
        let client = self.source.calls.contains(&interface).then(|| self.client(interface));
        quote! {
            #docs
            pub mod #name {
                #(#items)*
                #handler
                #client
            }
        }
    }

    /// The functions that are called of a workload.
    fn client(&self, interface: InterfaceId) -> TokenStream {
        let Some(definition) = self.source.resolve.interfaces.get(interface) else {
            return TokenStream::new();
        };
        let text = self.source.interface_name(interface);
        let functions = definition.functions.values().map(|function| {
            let name = &function.name;
            let ident = snake(name);
            let said = docs(&function.docs);
            let names: Vec<_> = function.params.iter().map(parameter_name).collect();
            let types = function.params.iter();
            let types =
                types.map(|param| self.types.ty(&param.ty, Place::Parameter, Some(interface)));
            let result = match &function.result {
                Some(ty) => self.types.ty(ty, Place::Owned, Some(interface)),
                None => quote!(()),
            };
            quote! {
                #said
                pub async fn #ident(
                    cx: &impl ::backplane_sdk::Caller,
                    #(#names: #types,)*
                ) -> ::core::result::Result<#result, ::backplane_sdk::Failure> {
                    const NAME: ::backplane_sdk::__private::FunctionName =
                        ::backplane_sdk::__private::FunctionName { interface: #text, name: #name };
                    ::backplane_sdk::__private::call(cx, &NAME, &(#(#names,)*)).await
                }
            }
        });
        let says =
            format!("Whether a workload exports `{text}`, so that its functions can be called.");
        quote! {
            #[doc = #says]
            pub fn is_exported_by(workload: &::backplane_sdk::Workload) -> bool {
                workload.exports(#text)
            }

            #(#functions)*
        }
    }

    fn resource(&self, id: TypeId) -> TokenStream {
        let Some((number, resource)) =
            self.number(id).and_then(|number| Some((number, self.resources.get(number)?)))
        else {
            let name = self.source.resolve.types.get(id).and_then(|def| def.name.as_deref());
            return match (self.source.io(id), name) {
                (Some(io), Some(name)) => {
                    let (name, ty) = (upper_camel(name), stream(io));
                    quote!(pub type #name = #ty;)
                }
                _ => TokenStream::new(),
            };
        };
        let name = upper_camel(&resource.name);
        let representation = representation_alias(number);
        let number = number as u32;
        let text = format!("{}/{}", resource.interface, resource.name);
        quote! {
            #[derive(Debug)]
            pub enum #name {}

            impl ::backplane_sdk::Resource for #name {
                type Rep = super::super::super::#representation;
                const NUMBER: u32 = #number;
                const NAME: &'static str = #text;
            }
        }
    }

    fn handler(&self, interface: InterfaceId) -> TokenStream {
        let text = format!("Answers the functions of `{}`.", self.source.interface_name(interface));
        let functions = self.functions.iter().filter(|answered| answered.interface == interface);
        let functions = functions.map(|answered| {
            let name = self.function_name(answered);
            let docs = docs(&answered.function.docs);
            let is_alone = answered.function.params.len() == 1;
            let parameters = answered.function.params.iter().map(|param| {
                let name = parameter_name(param);
                let ty = match self.types.numbers(&param.ty) {
                    Some(number) if is_alone => quote!(::backplane_sdk::List<#number>),
                    Some(_) | None => self.parameter(&param.ty, Some(interface)),
                };
                quote!(#name: #ty)
            });
            let result = self.result(answered, Some(interface));
            quote! {
                #docs
                fn #name(
                    &self,
                    cx: &::backplane_sdk::Context,
                    #(#parameters,)*
                ) -> impl ::core::future::Future<
                    Output = ::core::result::Result<#result, ::backplane_sdk::Failure>,
                > + ::core::marker::Send;
            }
        });
        quote! {
            #[doc = #text]
            pub trait Handler: ::core::marker::Send + ::core::marker::Sync + 'static {
                #(#functions)*
            }
        }
    }

    fn function_name(&self, answered: &Answered<'_>) -> Ident {
        let function = answered.function;
        let Some(resource) = function.kind.resource() else {
            return snake(&function.name);
        };
        let resource = self.source.resolve.types.get(resource).and_then(|def| def.name.as_deref());
        let resource = resource.unwrap_or_default();
        if !matches!(function.kind, FunctionKind::Constructor(_)) {
            return snake(&format!("{resource}-{}", function.item_name()));
        }
        let new = format!("{resource}-new");
        let taken = self.functions.iter().any(|other| {
            other.interface == answered.interface
                && other.function.kind.resource() == function.kind.resource()
                && other.function.item_name() == "new"
                && !matches!(other.function.kind, FunctionKind::Constructor(_))
        });
        if taken { snake(&format!("{resource}-constructor")) } else { snake(&new) }
    }

    /// The type of a parameter of a handler.
    fn parameter(&self, ty: &Type, from: Option<InterfaceId>) -> TokenStream {
        match self.handle(ty) {
            Some(Handle::Borrow(id)) => {
                let marker = self.types.path(self.source.dealias(id), from);
                quote!(&<#marker as ::backplane_sdk::Resource>::Rep)
            }
            Some(Handle::Own(id)) => {
                let marker = self.types.path(self.source.dealias(id), from);
                quote!(::std::sync::Arc<<#marker as ::backplane_sdk::Resource>::Rep>)
            }
            None => self.types.ty(ty, Place::Parameter, from),
        }
    }

    fn result(&self, answered: &Answered<'_>, from: Option<InterfaceId>) -> TokenStream {
        match &answered.function.result {
            _ if answered.encoded => quote!(::backplane_sdk::Encoded),
            Some(ty) => match self.types.numbers(ty) {
                Some(number) => quote!(::backplane_sdk::List<#number>),
                None => self.types.ty(ty, Place::Owned, from),
            },
            None => quote!(()),
        }
    }

    /// The handle that a parameter is, aliases seen through.
    fn handle(&self, ty: &Type) -> Option<Handle> {
        let Type::Id(id) = ty else { return None };
        match self.source.resolve.types.get(self.source.dealias(*id))?.kind {
            TypeDefKind::Handle(Handle::Own(id)) if self.source.io(id).is_some() => None,
            TypeDefKind::Handle(handle) => Some(handle),
            _ => None,
        }
    }

    fn world(&self) -> TokenStream {
        let bytes = LitByteStr::new(&self.source.encoded, Span::call_site());
        let functions = self.functions.iter().map(|answered| self.name(answered));
        let resources = self.resources.iter().map(|resource| {
            let (interface, name) = (&resource.interface, &resource.name);
            quote!(::backplane_sdk::__private::ResourceName { interface: #interface, name: #name })
        });
        let bounds = self.source.exports.iter().map(|interface| {
            let modules = self.types.modules(*interface);
            quote!(+ self::#(#modules::)*Handler)
        });
        let arms =
            (0_u32..).zip(&self.functions).map(|(number, answered)| self.arm(number, answered));
        quote! {
            /// The world that the extension provides, for `export!`.
            #[derive(Clone, Copy, Debug)]
            pub struct World;

            impl World {
                /// The world as a binary-encoded WIT package.
                pub const WIT: &'static [u8] = #bytes;
            }

            #[allow(clippy::all, unused_variables, reason = "generated from WIT")]
            impl<B> ::backplane_sdk::__private::World<B> for World
            where
                B: ::core::marker::Send + ::core::marker::Sync + 'static #(#bounds)*
            {
                const FUNCTIONS: &'static [::backplane_sdk::__private::FunctionName] = &[#(#functions),*];
                const RESOURCES: &'static [::backplane_sdk::__private::ResourceName] = &[#(#resources),*];

                fn call(
                    bound: ::backplane_sdk::__private::BoundRef<B>,
                    function: u32,
                    context: &::backplane_sdk::__private::CallContext,
                    exchange: &mut ::backplane_sdk::__private::Exchange,
                ) -> ::backplane_sdk::__private::Outcome {
                    match function {
                        #(#arms)*
                        other => ::backplane_sdk::__private::unimplemented(other),
                    }
                }
            }
        }
    }

    fn name(&self, answered: &Answered<'_>) -> TokenStream {
        let interface = self.source.interface_name(answered.interface);
        let name = &answered.function.name;
        quote!(::backplane_sdk::__private::FunctionName { interface: #interface, name: #name })
    }

    /// The arm of a function's number: decode, handle, encode, all in one future.
    fn arm(&self, number: u32, answered: &Answered<'_>) -> TokenStream {
        let function = answered.function;
        let name = self.name(answered);
        let modules = self.types.modules(answered.interface);
        let method = self.function_name(answered);
        let names: Vec<_> =
            (0..function.params.len()).map(|index| format_ident!("p{index}")).collect();
        let pass =
            function.params.iter().zip(&names).map(|(param, name)| match self.handle(&param.ty) {
                Some(Handle::Borrow(_)) => quote!(&#name),
                _ => quote!(#name),
            });
        let nested = |ty: &Type| self.handle(ty).is_none() && self.source.has_handle(ty);
        let decoder = if function.params.iter().any(|param| nested(&param.ty)) {
            quote!(decode_with_handles)
        } else {
            quote!(decode)
        };
        let decoded = match function.params.as_slice() {
            [param] if self.types.numbers(&param.ty).is_some() => quote! {
                ::backplane_sdk::__private::decode_list(&#name, &mut call).map(|p0| (p0,))
            },
            params => {
                // One parameter is a message of its own.
                let read = if params.len() == 1 { quote!(decode_message) } else { quote!(decode) };
                let decode = params.iter().map(|param| self.decode(&param.ty, &read));
                quote! {
                    ::backplane_sdk::__private::#decoder(
                        &#name,
                        &call,
                        &shared,
                        |reader| ::core::result::Result::Ok((#(#decode,)*)),
                    )
                }
            }
        };
        let share = if self.shares(function) {
            quote!(::backplane_sdk::__private::share(&mut call))
        } else {
            quote!(::core::option::Option::<::backplane_sdk::Bytes>::None)
        };
        let encode = match &function.result {
            Some(ty) if !answered.encoded && self.types.numbers(ty).is_some() => {
                quote!(encode_list(&mut call, result))
            }
            Some(ty) if self.source.has_handle(ty) => {
                quote!(encode_with_handles(&mut call, &result))
            }
            Some(_) | None => quote!(encode(&mut call, &result)),
        };
        quote! {
            #number => ::backplane_sdk::__private::answer(
                bound, context, exchange, move |mut call| async move {
                    let shared = #share;
                    let (#(#names,)*) = #decoded?;
                    let result = <B as self::#(#modules::)*Handler>::#method(
                        bound.binding(), call.context(), #(#pass,)*
                    ).await?;
                    ::backplane_sdk::__private::#encode;
                    ::core::result::Result::Ok(())
                }
            ),
        }
    }

    /// A parameter off the message; `read` is how values that are no handles are read.
    fn decode(&self, ty: &Type, read: &TokenStream) -> TokenStream {
        match self.handle(ty) {
            Some(Handle::Borrow(id)) => {
                let marker = self.types.path(self.source.dealias(id), None);
                quote!(call.context().take_borrow::<#marker>(reader)?)
            }
            Some(Handle::Own(id)) => {
                let marker = self.types.path(self.source.dealias(id), None);
                quote!(call.context().take_own::<#marker>(reader)?)
            }
            None => {
                let ty = self.types.ty(ty, Place::Parameter, None);
                quote!(<#ty as ::backplane_sdk::wire::Decode>::#read(reader)?)
            }
        }
    }

    /// Whether a parameter is decoded as `Bytes`, which can share the argument buffer.
    fn shares(&self, function: &Function) -> bool {
        function.params.iter().any(|param| {
            if self.types.bytes == ByteLists::Owned {
                return self.source.has_bytes(&param.ty);
            }
            // A byte list inside a named type is owned in any case.
            self.source.any(&param.ty, &|ty, kind| {
                matches!(kind, Some(TypeDefKind::Record(_) | TypeDefKind::Variant(_)))
                    && self.source.has_bytes(ty)
            })
        })
    }
}

fn parameter_name(param: &Param) -> Ident {
    match param.name.as_str() {
        "self" => format_ident!("this"),
        "this" => format_ident!("this_"),
        "cx" => format_ident!("cx_"),
        name => snake(name),
    }
}
