//! The WIT that an extension is built against: read, checked and encoded.

use std::path::{Path, PathBuf};

use proc_macro2::Span;
use wit_parser::{
    Function, Handle, InterfaceId, PackageId, Resolve, Type, TypeDefKind, TypeId, TypeOwner,
    WorldId, WorldItem, WorldKey,
};

use crate::options::Generate;

/// The packages, the world, and the interfaces of it that concern an extension.
pub(crate) struct Source {
    pub(crate) resolve: Resolve,
    /// The interfaces that the world exports, in its order.
    pub(crate) exports: Vec<InterfaceId>,
    /// The interfaces with functions that the world imports: those that are called of a workload.
    pub(crate) calls: Vec<InterfaceId>,
    /// All of those, and the ones that they take types from.
    pub(crate) interfaces: Vec<InterfaceId>,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
    /// The world as a binary-encoded WIT package.
    pub(crate) encoded: Vec<u8>,
}

pub(crate) fn load(options: &Generate) -> syn::Result<Source> {
    let span = options.world.as_ref().map_or_else(Span::call_site, syn::LitStr::span);
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let (packages, files) = read(options, &mut resolve)?;
    let world = options.world.as_ref().map(syn::LitStr::value);
    let world = resolve
        .select_world(&packages, world.as_deref())
        .map_err(|error| syn::Error::new(span, format!("{error:#}")))?;
    let exports = exports(&resolve, world).map_err(|error| syn::Error::new(span, error))?;
    let provided = with_type_owners(&resolve, &exports);
    let mut imports = imports(&resolve, world);
    // What the extension provides itself, it does not call of another.
    imports.retain(|import| !exports.contains(import));
    let interfaces = with_type_owners(&resolve, &[exports.clone(), imports.clone()].concat());
    let encoded = encode(&resolve, world).map_err(|error| syn::Error::new(span, error))?;
    let calls = Vec::new();
    let mut source = Source { resolve, exports, calls, interfaces, files, encoded };
    for import in imports {
        match source.check_calls(import) {
            Ok(()) => source.calls.push(import),
            // Imported for a type that an export is made of: nobody said that it is called.
            Err(_) if provided.contains(&import) => {}
            Err(error) => return Err(syn::Error::new(span, error)),
        }
    }
    Ok(source)
}

/// The interfaces with functions that the world imports, in its order.
fn imports(resolve: &Resolve, world: WorldId) -> Vec<InterfaceId> {
    let imports = resolve.worlds.get(world).map(|world| world.imports.values());
    let interfaces = imports.into_iter().flatten().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        WorldItem::Function(_) | WorldItem::Type { .. } => None,
    });
    let has_functions =
        |id: &InterfaceId| resolve.interfaces.get(*id).is_some_and(|i| !i.functions.is_empty());
    interfaces.filter(has_functions).collect()
}

fn read(options: &Generate, resolve: &mut Resolve) -> syn::Result<(Vec<PackageId>, Vec<PathBuf>)> {
    let (mut packages, mut files) = (Vec::new(), Vec::new());
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    for path in &options.paths {
        let full = root.join(path.value());
        let (package, sources) = resolve.push_path(&full).map_err(|error| {
            let text = resolve.render_error(&error);
            syn::Error::new(
                path.span(),
                format!("failed to read WIT from `{}`: {text}", full.display()),
            )
        })?;
        packages.push(package);
        files.extend(sources.paths().map(|file| absolute(&root, file)));
    }
    if let Some(inline) = &options.inline {
        let package = resolve
            .push_str("inline.wit", &inline.value())
            .map_err(|error| syn::Error::new(inline.span(), resolve.render_error(&error)))?;
        packages.push(package);
    }
    Ok((packages, files))
}

fn absolute(root: &Path, file: &Path) -> PathBuf {
    if file.is_absolute() { file.to_owned() } else { root.join(file) }
}

fn exports(resolve: &Resolve, world: WorldId) -> Result<Vec<InterfaceId>, String> {
    let name = world_name(resolve, world);
    let mut interfaces = Vec::new();
    if let Some(world) = resolve.worlds.get(world) {
        for (key, item) in &world.exports {
            match (key, item) {
                (WorldKey::Interface(id), WorldItem::Interface { .. }) => interfaces.push(*id),
                _ => {
                    return Err(format!(
                        "world `{name}` exports `{}` outside of a named interface; an extension \
                         provides interfaces, so put it into one",
                        resolve.name_world_key(key)
                    ));
                }
            }
        }
    }
    if interfaces.is_empty() {
        return Err(format!(
            "world `{name}` exports no interface; what an extension provides are its world's exports"
        ));
    }
    Ok(interfaces)
}

fn world_name(resolve: &Resolve, world: WorldId) -> String {
    resolve.worlds.get(world).map(|world| world.name.clone()).unwrap_or_default()
}

/// The exported interfaces and every interface that defines a type of theirs, in a stable order.
fn with_type_owners(resolve: &Resolve, exports: &[InterfaceId]) -> Vec<InterfaceId> {
    let mut all = exports.to_vec();
    let mut next = 0;
    while let Some(&interface) = all.get(next) {
        for dependency in resolve.interface_direct_deps(interface) {
            if !all.contains(&dependency) {
                all.push(dependency);
            }
        }
        next += 1;
    }
    all
}

/// The package of `world` with that world alone.
fn encode(resolve: &Resolve, world: WorldId) -> Result<Vec<u8>, String> {
    let mut resolve = resolve.clone();
    let package = resolve.worlds.get(world).and_then(|world| world.package);
    let package = package.ok_or("the world belongs to no package")?;
    if let Some(package) = resolve.packages.get_mut(package) {
        package.worlds.retain(|_, id| *id == world);
    }
    let encoded = wit_component::encode(&resolve, package).map_err(|error| format!("{error:#}"))?;
    // What WIT can say and a component cannot (33 flags) shows here.
    wit_parser::decoding::decode(&encoded)
        .map_err(|error| format!("no component can have this world: {error:#}"))?;
    Ok(encoded)
}

impl Source {
    /// The interface's full name, `ns:package/name@version`.
    pub(crate) fn interface_name(&self, interface: InterfaceId) -> String {
        self.resolve.id_of(interface).unwrap_or_default()
    }

    /// The type behind aliases and `use`s.
    pub(crate) fn dealias(&self, mut id: TypeId) -> TypeId {
        while let Some(def) = self.resolve.types.get(id)
            && let TypeDefKind::Type(Type::Id(target)) = def.kind
        {
            id = target;
        }
        id
    }

    /// How many bytes a number has, aliases seen through; none where the type is another.
    pub(crate) fn width(&self, ty: &Type) -> Option<usize> {
        match ty {
            Type::U8 | Type::S8 => Some(1),
            Type::U16 | Type::S16 => Some(2),
            Type::U32 | Type::S32 | Type::F32 => Some(4),
            Type::U64 | Type::S64 | Type::F64 => Some(8),
            Type::Id(id) => match &self.resolve.types.get(self.dealias(*id))?.kind {
                TypeDefKind::Type(ty) => self.width(ty),
                _ => None,
            },
            Type::Bool | Type::Char | Type::String | Type::ErrorContext => None,
        }
    }

    /// The interface that defines a named type.
    pub(crate) fn owner(&self, id: TypeId) -> Option<InterfaceId> {
        match self.resolve.types.get(id)?.owner {
            TypeOwner::Interface(interface) => Some(interface),
            TypeOwner::World(_) | TypeOwner::None => None,
        }
    }

    /// Whether a type satisfying `test` stands anywhere in `ty`.
    pub(crate) fn any(
        &self,
        ty: &Type,
        test: &dyn Fn(&Type, Option<&TypeDefKind>) -> bool,
    ) -> bool {
        let Type::Id(id) = ty else {
            return test(ty, None);
        };
        let Some(def) = self.resolve.types.get(*id) else {
            return false;
        };
        if test(ty, Some(&def.kind)) {
            return true;
        }
        let any = |ty: &Type| self.any(ty, test);
        match &def.kind {
            TypeDefKind::Record(record) => record.fields.iter().any(|field| any(&field.ty)),
            TypeDefKind::Tuple(tuple) => tuple.types.iter().any(any),
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().filter_map(|case| case.ty.as_ref()).any(any)
            }
            TypeDefKind::Option(ty)
            | TypeDefKind::List(ty)
            | TypeDefKind::FixedLengthList(ty, _)
            | TypeDefKind::Type(ty) => any(ty),
            TypeDefKind::Map(key, value) => any(key) || any(value),
            TypeDefKind::Result(result) => result.ok.iter().chain(&result.err).any(any),
            TypeDefKind::Future(_)
            | TypeDefKind::Stream(_)
            | TypeDefKind::Resource
            | TypeDefKind::Handle(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Unknown => false,
        }
    }

    /// Whether something stands in the type that is read and written in its binding: a resource handle, a stream, a
    /// future.
    pub(crate) fn has_handle(&self, ty: &Type) -> bool {
        self.any(ty, &|_, kind| {
            matches!(
                kind,
                Some(TypeDefKind::Handle(_) | TypeDefKind::Stream(_) | TypeDefKind::Future(_))
            )
        })
    }

    /// Which end of a stream a resource of `wasi:io` is, if it is one that crosses.
    pub(crate) fn io(&self, resource: TypeId) -> Option<Io> {
        let id = self.dealias(resource);
        let interface = self.resolve.id_of(self.owner(id)?)?;
        if !interface.starts_with("wasi:io/streams@0.2") {
            return None;
        }
        match self.resolve.types.get(id)?.name.as_deref()? {
            "input-stream" => Some(Io::Input),
            "output-stream" => Some(Io::Output),
            _ => None,
        }
    }

    /// Whether a byte list stands in the type.
    pub(crate) fn has_bytes(&self, ty: &Type) -> bool {
        self.any(ty, &|_, kind| matches!(kind, Some(TypeDefKind::List(Type::U8))))
    }

    /// Refuses an interface whose functions cannot be called of a workload.
    fn check_calls(&self, interface: InterfaceId) -> Result<(), String> {
        let Some(definition) = self.resolve.interfaces.get(interface) else { return Ok(()) };
        for function in definition.functions.values() {
            let types = function.params.iter().map(|param| &param.ty).chain(&function.result);
            let lends = |ty: &Type| {
                self.any(ty, &|_, kind| {
                    matches!(kind, Some(TypeDefKind::Handle(Handle::Borrow(_))))
                })
            };
            let what = if let Some(text) = self.unsupported(function) {
                text
            } else if function.kind.resource().is_some() {
                "it belongs to a resource of the workload's own"
            } else if types.into_iter().any(lends) {
                "it has a borrowed resource"
            } else {
                continue;
            };
            return Err(format!(
                "function `{}` of `{}` cannot be called of a workload: {what}",
                function.name,
                self.interface_name(interface)
            ));
        }
        Ok(())
    }

    /// Refuses what a function's types may not hold yet.
    pub(crate) fn check(&self, interface: InterfaceId, function: &Function) -> Result<(), String> {
        match self.unsupported(function) {
            None => Ok(()),
            Some(text) => Err(format!(
                "function `{}` of `{}` cannot be provided: {text}",
                function.name,
                self.interface_name(interface)
            )),
        }
    }

    /// What a function's types may not hold yet, if they do.
    fn unsupported(&self, function: &Function) -> Option<&'static str> {
        let types = function.params.iter().map(|param| &param.ty).chain(&function.result);
        types.filter_map(|ty| self.any_unsupported(ty)).min()
    }

    /// What a type may not hold yet, if it does.
    fn any_unsupported(&self, ty: &Type) -> Option<&'static str> {
        let holds = |test: Test| self.any(ty, &|ty, kind| test(self, ty, kind));
        let refused = UNSUPPORTED.iter().filter(|(test, _)| holds(*test));
        refused.map(|(_, text)| *text).min()
    }
}

/// A stream of `wasi:io`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Io {
    Input,
    Output,
}

type Test = fn(&Source, &Type, Option<&TypeDefKind>) -> bool;

const UNSUPPORTED: [(Test, &str); 5] = [
    (
        |_, _, kind| matches!(kind, Some(TypeDefKind::Stream(None))),
        "streams of nothing come with a later version",
    ),
    (
        |source, _, kind| match kind {
            Some(TypeDefKind::Stream(Some(of)) | TypeDefKind::Future(Some(of))) => {
                source.has_handle(of) || source.any_unsupported(of).is_some()
            }
            _ => false,
        },
        "streams and futures of what has resources, streams or futures in it come with a later version",
    ),
    (
        |source, _, kind| match kind {
            Some(TypeDefKind::Handle(Handle::Borrow(id))) => source.io(*id).is_some(),
            _ => false,
        },
        "a stream of `wasi:io` crosses only when it is given away",
    ),
    (|_, ty, _| matches!(ty, Type::ErrorContext), "no host passes an error-context on"),
    (
        |_, _, kind| matches!(kind, Some(TypeDefKind::Map(..) | TypeDefKind::FixedLengthList(..))),
        "the host has maps and fixed-length lists switched off",
    ),
];
