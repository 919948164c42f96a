//! The interfaces that a provider declares, read from its WIT world.

use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Type as WitType, TypeDefKind, TypeId, TypeOwner,
    WorldItem,
    decoding::{DecodedWasm, decode},
};

use super::{Offer, OfferedFunction, OfferedResource};
use crate::{
    boundary::{
        io,
        link::ResourceIdentity,
        types::{FunctionType, MAX_DEPTH, ResourceName, Type, Unsupported},
    },
    name::{InterfaceName, NameError},
};

/// Why a world cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The bytes are not a WIT package.
    #[error("not a binary WIT package: {0}")]
    Malformed(String),
    /// The package has no world, or several.
    #[error("expected one world, found {0}")]
    Worlds(usize),
    /// An interface has no proper name.
    #[error("an exported interface without a full name: {0}")]
    Name(#[from] NameError),
    /// An alias names an interface that the world does not export.
    #[error("the alias `{alias}` is for `{interface}`, which the world does not export")]
    Alias {
        /// The alias.
        alias: String,
        /// What it should stand for.
        interface: String,
    },
    /// A type nests too deeply, or is not known.
    #[error("`{function}` uses {unsupported}")]
    Unsupported {
        /// The function.
        function: String,
        /// The type.
        unsupported: Unsupported,
    },
}

/// What a world says of its provider.
#[derive(Debug, Clone)]
pub struct World {
    /// The interfaces that it exports: those that the provider offers. Functions and resource types are
    /// numbered in the order in which an extension's description lists them: interface by interface, as the
    /// world has them.
    pub offers: Vec<Offer>,
    /// The interfaces with functions that it imports: those that the provider calls of a workload.
    pub calls: Vec<Offer>,
}

/// Reads the world in `package`.
///
/// # Errors
///
/// [`WorldError`] when the bytes are not a WIT package with one world.
pub fn read(package: &[u8]) -> Result<World, WorldError> {
    let malformed = |error: &dyn std::fmt::Display| WorldError::Malformed(error.to_string());
    let (resolve, package) = match decode(package).map_err(|error| malformed(&error))? {
        DecodedWasm::WitPackage(resolve, package) => (resolve, package),
        DecodedWasm::Component(..) => return Err(malformed(&"a component, not a WIT package")),
    };
    let worlds: Vec<_> = match resolve.packages.get(package) {
        Some(package) => package.worlds.values().copied().collect(),
        None => Vec::new(),
    };
    let [world] = worlds.as_slice() else { return Err(WorldError::Worlds(worlds.len())) };
    let Some(world) = resolve.worlds.get(*world) else { return Err(WorldError::Worlds(0)) };
    let offers = offers(&resolve, world.exports.values().filter_map(interface))?;
    let calls = world.imports.values().filter_map(interface);
    let calls = calls.map(|id| offer(&resolve, id, &mut 0, &mut 0));
    let mut calls = calls.collect::<Result<Vec<_>, _>>()?;
    // Types alone, and what the provider offers itself, are imported for what other interfaces are made of.
    let offered = |call: &Offer| offers.iter().any(|offer| offer.interface == call.interface);
    calls
        .retain(|call| !call.functions.is_empty() && !offered(call) && !io::is_io(&call.interface));
    Ok(World { offers, calls })
}

/// The interfaces that a component exports, numbered as those of a world are.
///
/// # Errors
///
/// [`WorldError`] when the bytes are not a component, or its types nest too deeply.
pub fn of_component(component: &[u8]) -> Result<Vec<Offer>, WorldError> {
    let malformed = |error: &dyn std::fmt::Display| WorldError::Malformed(error.to_string());
    let (resolve, world) = match decode(component).map_err(|error| malformed(&error))? {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => return Err(malformed(&"a WIT package, not a component")),
    };
    let Some(world) = resolve.worlds.get(world) else { return Err(WorldError::Worlds(0)) };
    // What a component exports without a full name is its tools' own affair.
    let named = |id: &InterfaceId| resolve.id_of(*id).is_some();
    offers(&resolve, world.exports.values().filter_map(interface).filter(named))
}

pub(super) fn interface(item: &WorldItem) -> Option<InterfaceId> {
    match item {
        WorldItem::Interface { id, .. } => Some(*id),
        WorldItem::Function(_) | WorldItem::Type { .. } => None,
    }
}

fn offers(
    resolve: &Resolve,
    exports: impl Iterator<Item = InterfaceId>,
) -> Result<Vec<Offer>, WorldError> {
    let (mut functions, mut resources) = (0, 0);
    exports.map(|id| offer(resolve, id, &mut functions, &mut resources)).collect()
}

/// Adds `alias` as another name of `interface`.
///
/// # Errors
///
/// [`WorldError`] when nothing goes by the name of `interface`, or the alias is no name.
pub fn add_alias(offers: &mut Vec<Offer>, alias: &str, interface: &str) -> Result<(), WorldError> {
    let name: InterfaceName = alias.parse()?;
    let of: InterfaceName = interface.parse()?;
    let Some(offer) = offers.iter().find(|offer| offer.interface == of) else {
        return Err(WorldError::Alias { alias: alias.to_owned(), interface: interface.to_owned() });
    };
    let offer = Offer { interface: name, ..offer.clone() };
    offers.push(offer);
    Ok(())
}

/// What an interface offers. `next_function` and `next_resource` number on.
pub(super) fn offer(
    resolve: &Resolve,
    id: InterfaceId,
    next_function: &mut u32,
    next_resource: &mut u32,
) -> Result<Offer, WorldError> {
    let interface: InterfaceName = resolve.id_of(id).unwrap_or_default().parse()?;
    let mut offer = Offer { interface, functions: Vec::new(), resources: Vec::new() };
    let Some(declared) = resolve.interfaces.get(id) else { return Ok(offer) };
    for (name, ty) in &declared.types {
        if matches!(resolve.types.get(*ty).map(|ty| &ty.kind), Some(TypeDefKind::Resource)) {
            offer.resources.push(OfferedResource {
                name: name.clone(),
                number: *next_resource,
                identity: ResourceIdentity::unique(),
            });
            *next_resource += 1;
        }
    }
    for function in declared.functions.values() {
        let ty = function_type(resolve, function).map_err(|unsupported| {
            WorldError::Unsupported { function: function.name.clone(), unsupported }
        })?;
        offer.functions.push(OfferedFunction {
            name: function.name.clone(),
            ty,
            number: *next_function,
        });
        *next_function += 1;
    }
    Ok(offer)
}

fn function_type(resolve: &Resolve, function: &Function) -> Result<FunctionType, Unsupported> {
    Ok(FunctionType {
        is_async: function.kind.is_async(),
        params: function
            .params
            .iter()
            .map(|param| Ok((param.name.clone(), value_type(resolve, &param.ty, 0)?)))
            .collect::<Result<_, Unsupported>>()?,
        result: function.result.as_ref().map(|ty| value_type(resolve, ty, 0)).transpose()?,
    })
}

fn value_type(resolve: &Resolve, ty: &WitType, depth: usize) -> Result<Type, Unsupported> {
    if depth > MAX_DEPTH {
        return Err(Unsupported(format!("types that nest deeper than {MAX_DEPTH} levels")));
    }
    Ok(match ty {
        WitType::Bool => Type::Bool,
        WitType::U8 => Type::U8,
        WitType::U16 => Type::U16,
        WitType::U32 => Type::U32,
        WitType::U64 => Type::U64,
        WitType::S8 => Type::S8,
        WitType::S16 => Type::S16,
        WitType::S32 => Type::S32,
        WitType::S64 => Type::S64,
        WitType::F32 => Type::F32,
        WitType::F64 => Type::F64,
        WitType::Char => Type::Char,
        WitType::String => Type::String,
        WitType::ErrorContext => Type::ErrorContext,
        WitType::Id(id) => defined_type(resolve, *id, depth + 1)?,
    })
}

fn defined_type(resolve: &Resolve, id: TypeId, depth: usize) -> Result<Type, Unsupported> {
    let unknown = || Unsupported("a type that its package does not define".to_owned());
    let definition = resolve.types.get(id).ok_or_else(unknown)?;
    let one = |ty: &WitType| value_type(resolve, ty, depth);
    let boxed = |ty: &WitType| one(ty).map(Box::new);
    let maybe = |ty: &Option<WitType>| ty.as_ref().map(boxed).transpose();
    Ok(match &definition.kind {
        TypeDefKind::Record(record) => Type::Record(
            record
                .fields
                .iter()
                .map(|field| Ok((field.name.clone(), one(&field.ty)?)))
                .collect::<Result<_, Unsupported>>()?,
        ),
        TypeDefKind::Tuple(tuple) => {
            Type::Tuple(tuple.types.iter().map(one).collect::<Result<_, _>>()?)
        }
        TypeDefKind::Variant(variant) => Type::Variant(
            variant
                .cases
                .iter()
                .map(|case| Ok((case.name.clone(), case.ty.as_ref().map(one).transpose()?)))
                .collect::<Result<_, Unsupported>>()?,
        ),
        TypeDefKind::Enum(names) => {
            Type::Enum(names.cases.iter().map(|case| case.name.clone()).collect())
        }
        TypeDefKind::Flags(flags) => {
            Type::Flags(flags.flags.iter().map(|flag| flag.name.clone()).collect())
        }
        TypeDefKind::Option(ty) => Type::Option(boxed(ty)?),
        TypeDefKind::Result(result) => Type::Result(maybe(&result.ok)?, maybe(&result.err)?),
        TypeDefKind::List(ty) => Type::List(boxed(ty)?),
        TypeDefKind::Map(key, value) => Type::Map(boxed(key)?, boxed(value)?),
        TypeDefKind::FixedLengthList(ty, length) => Type::FixedLengthList(boxed(ty)?, *length),
        TypeDefKind::Future(ty) => Type::Future(maybe(ty)?),
        TypeDefKind::Stream(ty) => Type::Stream(maybe(ty)?),
        TypeDefKind::Handle(Handle::Own(id)) => Type::Own(resource(resolve, *id)?),
        TypeDefKind::Handle(Handle::Borrow(id)) => Type::Borrow(resource(resolve, *id)?),
        // A resource type named without `borrow` is an owned handle.
        TypeDefKind::Resource => Type::Own(resource(resolve, id)?),
        TypeDefKind::Type(ty) => one(ty)?,
        TypeDefKind::Unknown => return Err(unknown()),
    })
}

/// A resource type by the interface that defines it, whichever `use` it came through.
fn resource(resolve: &Resolve, mut id: TypeId) -> Result<ResourceName, Unsupported> {
    let unknown = || Unsupported("a resource type that its package does not define".to_owned());
    for _ in 0..MAX_DEPTH {
        let definition = resolve.types.get(id).ok_or_else(unknown)?;
        match &definition.kind {
            TypeDefKind::Type(WitType::Id(next)) => id = *next,
            TypeDefKind::Resource => {
                let TypeOwner::Interface(owner) = definition.owner else { return Err(unknown()) };
                let interface = resolve.id_of(owner).and_then(|name| name.parse().ok());
                let name = definition.name.clone().unwrap_or_default();
                return Ok(ResourceName { interface, name });
            }
            _ => return Err(unknown()),
        }
    }
    Err(unknown())
}
