//! Rust types for WIT types, and how their values are read and written.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use wit_parser::{
    Docs, Enum, Field, Flags, Handle, InterfaceId, PackageId, Record, Type, TypeDef, TypeDefKind,
    TypeId, Variant,
};

use crate::{
    names::{package_module, shouty, snake, upper_camel},
    options::ByteLists,
    wit::{Io, Source},
};

/// Where a type stands, which decides whether its strings and byte lists borrow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a result, or inside a named type.
    Owned,
    /// In a parameter, outside of every named type.
    Parameter,
}

/// Writes types and paths for one world.
pub(crate) struct Types<'a> {
    pub(crate) source: &'a Source,
    pub(crate) bytes: ByteLists,
    modules: HashMap<PackageId, [Ident; 2]>,
}

impl<'a> Types<'a> {
    pub(crate) fn new(source: &'a Source, bytes: ByteLists) -> Self {
        let resolve = &source.resolve;
        let packages: Vec<_> = source
            .interfaces
            .iter()
            .filter_map(|id| resolve.interfaces.get(*id)?.package)
            .collect();
        let modules = packages
            .iter()
            .filter_map(|id| {
                let name = &resolve.packages.get(*id)?.name;
                let versioned = packages.iter().any(|other| {
                    other != id
                        && resolve.packages.get(*other).is_some_and(|other| {
                            other.name.namespace == name.namespace && other.name.name == name.name
                        })
                });
                Some((*id, [snake(&name.namespace), package_module(name, versioned)]))
            })
            .collect();
        Self { source, bytes, modules }
    }

    /// The modules of an interface, from the place where `generate!` stands.
    pub(crate) fn modules(&self, interface: InterfaceId) -> Vec<Ident> {
        let Some(interface) = self.source.resolve.interfaces.get(interface) else {
            return Vec::new();
        };
        let package = interface.package.and_then(|package| self.modules.get(&package));
        let mut modules: Vec<_> = package.into_iter().flatten().cloned().collect();
        modules.extend(interface.name.as_deref().map(snake));
        modules
    }

    /// The path of a named type: as seen in the module of `from`, or where `generate!` stands.
    pub(crate) fn path(&self, id: TypeId, from: Option<InterfaceId>) -> TokenStream {
        let name = self.source.resolve.types.get(id).and_then(|def| def.name.as_deref());
        let name = upper_camel(name.unwrap_or_default());
        let owner = self.source.owner(id);
        match owner {
            Some(owner) if from != Some(owner) => {
                let modules = self.modules(owner);
                match from {
                    Some(_) => quote!(super::super::super::#(#modules::)*#name),
                    None => quote!(self::#(#modules::)*#name),
                }
            }
            _ => quote!(#name),
        }
    }

    /// The Rust type for a WIT type.
    pub(crate) fn ty(&self, ty: &Type, place: Place, from: Option<InterfaceId>) -> TokenStream {
        match ty {
            Type::Bool => quote!(bool),
            Type::U8 => quote!(u8),
            Type::U16 => quote!(u16),
            Type::U32 => quote!(u32),
            Type::U64 => quote!(u64),
            Type::S8 => quote!(i8),
            Type::S16 => quote!(i16),
            Type::S32 => quote!(i32),
            Type::S64 => quote!(i64),
            Type::F32 => quote!(f32),
            Type::F64 => quote!(f64),
            Type::Char => quote!(char),
            Type::String if place == Place::Parameter => quote!(&str),
            Type::String => quote!(::std::string::String),
            Type::ErrorContext => quote!(()),
            Type::Id(id) => match self.source.resolve.types.get(*id) {
                Some(def) => self.defined(*id, def, place, from),
                None => quote!(()),
            },
        }
    }

    fn defined(
        &self,
        id: TypeId,
        def: &TypeDef,
        place: Place,
        from: Option<InterfaceId>,
    ) -> TokenStream {
        let one = |ty: &Type| self.ty(ty, place, from);
        let or_unit = |ty: &Option<Type>| ty.as_ref().map_or_else(|| quote!(()), one);
        match &def.kind {
            // A parameter sees through the name of a string or a list, so that it can borrow.
            TypeDefKind::Type(target) if place == Place::Parameter => one(target),
            _ if def.name.is_some() && (place == Place::Owned || is_nominal(&def.kind)) => {
                self.path(id, from)
            }
            TypeDefKind::List(Type::U8) => match (place, self.bytes) {
                (Place::Parameter, ByteLists::Borrowed) => quote!(&[u8]),
                _ => quote!(::backplane_sdk::Bytes),
            },
            TypeDefKind::List(ty) => {
                let ty = one(ty);
                quote!(::std::vec::Vec<#ty>)
            }
            TypeDefKind::Option(ty) => {
                let ty = one(ty);
                quote!(::core::option::Option<#ty>)
            }
            TypeDefKind::Result(result) => {
                let (ok, err) = (or_unit(&result.ok), or_unit(&result.err));
                quote!(::core::result::Result<#ok, #err>)
            }
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().map(one);
                quote!((#(#types,)*))
            }
            TypeDefKind::Handle(Handle::Own(resource)) => {
                if let Some(io) = self.source.io(*resource) {
                    return stream(io);
                }
                let marker = self.path(self.source.dealias(*resource), from);
                quote!(::backplane_sdk::Own<#marker>)
            }
            TypeDefKind::Handle(Handle::Borrow(resource)) => {
                let marker = self.path(self.source.dealias(*resource), from);
                quote!(::backplane_sdk::Borrow<#marker>)
            }
            TypeDefKind::Type(ty) => one(ty),
            TypeDefKind::Stream(Some(element)) => {
                let element = self.ty(element, Place::Owned, from);
                quote!(::backplane_sdk::StreamReader<#element>)
            }
            TypeDefKind::Future(value) => {
                let value = match value {
                    Some(value) => self.ty(value, Place::Owned, from),
                    None => quote!(()),
                };
                quote!(::backplane_sdk::FutureReader<#value>)
            }
            // Refused by `Source::check`, or always named.
            TypeDefKind::Map(..)
            | TypeDefKind::FixedLengthList(..)
            | TypeDefKind::Stream(None)
            | TypeDefKind::Record(_)
            | TypeDefKind::Resource
            | TypeDefKind::Flags(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Unknown => quote!(()),
        }
    }

    /// The item that defines a named type in the module of `interface`.
    pub(crate) fn item(
        &self,
        id: TypeId,
        interface: InterfaceId,
        resource: impl Fn(TypeId) -> TokenStream,
    ) -> TokenStream {
        let Some(def) = self.source.resolve.types.get(id) else {
            return TokenStream::new();
        };
        let name = upper_camel(def.name.as_deref().unwrap_or_default());
        let docs = docs(&def.docs);
        let is_element = is_nominal(&def.kind)
            && !matches!(def.kind, TypeDefKind::Resource)
            && !self.source.has_handle(&Type::Id(id));
        let element = is_element.then(|| quote!(::backplane_sdk::__element!(#name);));
        let item = match &def.kind {
            TypeDefKind::Record(record) => self.record(&name, id, record, interface),
            TypeDefKind::Variant(variant) => self.variant(&name, id, variant, interface),
            TypeDefKind::Enum(cases) => enumeration(&name, cases),
            TypeDefKind::Flags(flags) => flags_item(&name, flags),
            TypeDefKind::Resource => resource(id),
            TypeDefKind::Type(Type::Id(target)) if self.is_used(*target, interface) => {
                let path = self.path(*target, Some(interface));
                return quote!(pub use #path as #name;);
            }
            TypeDefKind::Type(target) => {
                let target = self.ty(target, Place::Owned, Some(interface));
                quote!(pub type #name = #target;)
            }
            _ => {
                // An alias of a type that has no name of its own.
                let anonymous = TypeDef { name: None, ..def.clone() };
                let target = self.defined(id, &anonymous, Place::Owned, Some(interface));
                quote!(pub type #name = #target;)
            }
        };
        quote!(#docs #item #element)
    }

    /// The numbers that the type is a list of, aliases seen through. Bytes are not among them: they
    /// have types of their own.
    pub(crate) fn numbers(&self, ty: &Type) -> Option<TokenStream> {
        let Type::Id(id) = ty else { return None };
        let def = self.source.resolve.types.get(self.source.dealias(*id))?;
        let TypeDefKind::List(element) = &def.kind else { return None };
        let element = match element {
            Type::Id(id) => match self.source.resolve.types.get(self.source.dealias(*id))?.kind {
                TypeDefKind::Type(element) => element,
                _ => return None,
            },
            element => *element,
        };
        match element {
            Type::U16
            | Type::S16
            | Type::U32
            | Type::S32
            | Type::U64
            | Type::S64
            | Type::F32
            | Type::F64 => Some(self.ty(&element, Place::Owned, None)),
            Type::Bool
            | Type::U8
            | Type::S8
            | Type::Char
            | Type::String
            | Type::ErrorContext
            | Type::Id(_) => None,
        }
    }

    fn is_used(&self, target: TypeId, interface: InterfaceId) -> bool {
        self.source.owner(target).is_some_and(|owner| owner != interface)
    }

    fn derives(&self, id: TypeId) -> TokenStream {
        if self.source.has_handle(&Type::Id(id)) {
            quote!(#[derive(Debug)])
        } else {
            quote!(#[derive(Clone, Debug, PartialEq)])
        }
    }

    fn record(
        &self,
        name: &Ident,
        id: TypeId,
        record: &Record,
        interface: InterfaceId,
    ) -> TokenStream {
        let derives = self.derives(id);
        let fields: Vec<_> = record.fields.iter().map(|field| snake(&field.name)).collect();
        let docs = record.fields.iter().map(|field| docs(&field.docs));
        let types =
            record.fields.iter().map(|field| self.ty(&field.ty, Place::Owned, Some(interface)));
        let encode = self.encode_fields(record);
        quote! {
            #derives
            pub struct #name {
                #(#docs pub #fields: #types,)*
            }

            impl ::backplane_sdk::wire::Encode for #name {
                #[inline]
                fn encode(&self, writer: &mut ::backplane_sdk::wire::Writer) {
                    #encode
                }

                #[inline]
                fn size_hint(&self) -> usize {
                    0 #(+ ::backplane_sdk::wire::Encode::size_hint(&self.#fields))*
                }
            }

            impl<'a> ::backplane_sdk::wire::Decode<'a> for #name {
                #[inline]
                fn decode(
                    reader: &mut ::backplane_sdk::wire::Reader<'a>,
                ) -> ::core::result::Result<Self, ::backplane_sdk::wire::Error> {
                    ::core::result::Result::Ok(Self {
                        #(#fields: ::backplane_sdk::wire::Decode::decode(reader)?,)*
                    })
                }
            }
        }
    }

    /// Appends the fields of a record. Numbers that follow one another go together: room for them is
    /// looked for once.
    fn encode_fields(&self, record: &Record) -> TokenStream {
        let width = |field: &Field| self.source.width(&field.ty);
        let parts =
            record.fields.chunk_by(|one, next| width(one).is_some() && width(next).is_some());
        let parts = parts.map(|fields| {
            let names = fields.iter().map(|field| snake(&field.name));
            let one_by_one =
                quote!(#(::backplane_sdk::wire::Encode::encode(&self.#names, writer);)*);
            if fields.len() == 1 {
                return one_by_one;
            }
            let names = fields.iter().map(|field| snake(&field.name));
            let total: usize = fields.iter().filter_map(width).sum();
            let ends = fields.iter().scan(0_usize, |end, field| {
                *end += width(field).unwrap_or_default();
                Some(*end)
            });
            let begins =
                ends.clone().zip(fields).map(|(end, field)| end - width(field).unwrap_or_default());
            quote! {
                match writer.form() {
                    ::backplane_sdk::wire::Form::Local => {
                        let mut numbers = [0_u8; #total];
                        #(numbers[#begins..#ends].copy_from_slice(&self.#names.to_le_bytes());)*
                        writer.raw(&numbers);
                    }
                    ::backplane_sdk::wire::Form::Wrpc => {
                        #one_by_one
                    }
                }
            }
        });
        quote!(#(#parts)*)
    }

    fn variant(
        &self,
        name: &Ident,
        id: TypeId,
        variant: &Variant,
        interface: InterfaceId,
    ) -> TokenStream {
        let derives = self.derives(id);
        let count = variant.cases.len() as u32;
        let (mut items, mut encode, mut hints, mut decode) = (vec![], vec![], vec![], vec![]);
        for (number, case) in (0_u32..).zip(&variant.cases) {
            let (docs, case_name) = (docs(&case.docs), upper_camel(&case.name));
            let pattern = if number + 1 == count { quote!(_) } else { quote!(#number) };
            match &case.ty {
                None => {
                    items.push(quote!(#docs #case_name,));
                    encode.push(quote!(Self::#case_name => writer.discriminant(#number),));
                    hints.push(quote!(Self::#case_name => 2,));
                    decode.push(quote!(#pattern => Self::#case_name,));
                }
                Some(ty) => {
                    let ty = self.ty(ty, Place::Owned, Some(interface));
                    items.push(quote!(#docs #case_name(#ty),));
                    encode.push(quote! {
                        Self::#case_name(value) => {
                            writer.discriminant(#number);
                            ::backplane_sdk::wire::Encode::encode(value, writer);
                        }
                    });
                    hints.push(quote! {
                        Self::#case_name(value) => 2 + ::backplane_sdk::wire::Encode::size_hint(value),
                    });
                    decode.push(quote! {
                        #pattern => Self::#case_name(::backplane_sdk::wire::Decode::decode(reader)?),
                    });
                }
            }
        }
        quote! {
            #derives
            pub enum #name {
                #(#items)*
            }

            impl ::backplane_sdk::wire::Encode for #name {
                #[inline]
                fn encode(&self, writer: &mut ::backplane_sdk::wire::Writer) {
                    match self {
                        #(#encode)*
                    }
                }

                #[inline]
                fn size_hint(&self) -> usize {
                    match self {
                        #(#hints)*
                    }
                }
            }

            impl<'a> ::backplane_sdk::wire::Decode<'a> for #name {
                #[inline]
                fn decode(
                    reader: &mut ::backplane_sdk::wire::Reader<'a>,
                ) -> ::core::result::Result<Self, ::backplane_sdk::wire::Error> {
                    ::core::result::Result::Ok(match reader.discriminant(#count)? {
                        #(#decode)*
                    })
                }
            }
        }
    }
}

/// Whether a definition makes a type of its own rather than a name for another.
fn is_nominal(kind: &TypeDefKind) -> bool {
    matches!(
        kind,
        TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Resource
    )
}

/// What stands for a stream of `wasi:io`.
pub(crate) fn stream(io: Io) -> TokenStream {
    match io {
        Io::Input => quote!(::backplane_sdk::StreamReader<u8>),
        Io::Output => quote!(::backplane_sdk::StreamWriter<u8>),
    }
}

fn enumeration(name: &Ident, cases: &Enum) -> TokenStream {
    let count = cases.cases.len() as u32;
    let names: Vec<_> = cases.cases.iter().map(|case| upper_camel(&case.name)).collect();
    let docs = cases.cases.iter().map(|case| docs(&case.docs));
    let numbers: Vec<_> = (0..count).collect();
    let decode = numbers.iter().zip(&names).map(|(number, name)| {
        let pattern = if number + 1 == count { quote!(_) } else { quote!(#number) };
        quote!(#pattern => Self::#name,)
    });
    quote! {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum #name {
            #(#docs #names,)*
        }

        impl ::backplane_sdk::wire::Encode for #name {
            #[inline]
            fn encode(&self, writer: &mut ::backplane_sdk::wire::Writer) {
                writer.discriminant(match self {
                    #(Self::#names => #numbers,)*
                });
            }

            #[inline]
            fn size_hint(&self) -> usize {
                2
            }
        }

        impl<'a> ::backplane_sdk::wire::Decode<'a> for #name {
            #[inline]
            fn decode(
                reader: &mut ::backplane_sdk::wire::Reader<'a>,
            ) -> ::core::result::Result<Self, ::backplane_sdk::wire::Error> {
                ::core::result::Result::Ok(match reader.discriminant(#count)? {
                    #(#decode)*
                })
            }
        }
    }
}

fn flags_item(name: &Ident, flags: &Flags) -> TokenStream {
    let count = flags.flags.len();
    let bytes = count.div_ceil(8);
    let docs = flags.flags.iter().map(|flag| docs(&flag.docs));
    let names = flags.flags.iter().map(|flag| shouty(&flag.name));
    let numbers = 0..count;
    quote! {
        ::backplane_sdk::__flags! {
            pub struct #name: #count flags in #bytes bytes {
                #(#docs #names = #numbers;)*
            }
        }
    }
}

pub(crate) fn docs(docs: &Docs) -> TokenStream {
    let lines = docs.contents.iter().flat_map(|text| text.lines()).map(|line| format!(" {line}"));
    quote!(#(#[doc = #lines])*)
}
