//! WIT types as the host compares and prints them, whichever side they came from.
//!
//! A component's types come from the runtime, a provider's from its WIT world; both end up here, and
//! the link step holds one against the other. Names of records, variants and the like are not part of
//! a type in the component model, so they are not kept.

use std::fmt;

use wasmtime::component::types as runtime;

use super::io;
use crate::name::InterfaceName;

/// The deepest nesting of types that the host links.
pub const MAX_DEPTH: usize = 64;

/// A WIT value type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the cases are WIT's own")]
pub enum Type {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    FixedLengthList(Box<Type>, u32),
    Record(Vec<(String, Type)>),
    Tuple(Vec<Type>),
    Variant(Vec<(String, Option<Type>)>),
    Enum(Vec<String>),
    Option(Box<Type>),
    Result(Option<Box<Type>>, Option<Box<Type>>),
    Flags(Vec<String>),
    Own(ResourceName),
    Borrow(ResourceName),
    Future(Option<Box<Type>>),
    Stream(Option<Box<Type>>),
    ErrorContext,
}

/// A resource type, by the interface that defines it. Two versions of an interface that may serve
/// each other define the same resources, so the version does not count when two are compared.
#[derive(Debug, Clone)]
pub struct ResourceName {
    /// The interface that defines the type; none for one that the component defines itself.
    pub interface: Option<InterfaceName>,
    /// The type's name.
    pub name: String,
}

impl PartialEq for ResourceName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && match (&self.interface, &other.interface) {
                (Some(a), Some(b)) => a.is_same_interface(b),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    }
}

impl Eq for ResourceName {}

impl ResourceName {
    /// Which stream of `wasi:io` it is, if it is one.
    pub(super) fn io(&self) -> Option<io::Kind> {
        io::Kind::of(self.interface.as_ref(), &self.name)
    }
}

/// The type of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionType {
    /// Whether it is an `async func`.
    pub is_async: bool,
    /// Parameters, in order.
    pub params: Vec<(String, Type)>,
    /// The result, where there is one.
    pub result: Option<Type>,
}

/// Where two function types differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The part that differs: ``parameter `key` ``, `the result`, `the number of parameters`.
    pub part: String,
    /// That part as the component uses it, in WIT.
    pub used: String,
    /// That part as the provider declares it, in WIT.
    pub offered: String,
}

/// A type that the host cannot carry: what it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

impl FunctionType {
    /// Where the type that a component uses differs from the one that a provider offers; none if
    /// they agree. Names of parameters do not count.
    pub fn mismatch(used: &Self, offered: &Self) -> Option<Mismatch> {
        let differ = |part: &str, used: String, offered: String| {
            Some(Mismatch { part: part.to_owned(), used, offered })
        };
        if used.is_async != offered.is_async {
            let word = |is_async| if is_async { "async func" } else { "func" };
            return differ(
                "the kind of function",
                word(used.is_async).to_owned(),
                word(offered.is_async).to_owned(),
            );
        }
        if used.params.len() != offered.params.len() {
            return differ(
                "the number of parameters",
                used.params.len().to_string(),
                offered.params.len().to_string(),
            );
        }
        for ((name, used), (_, offered)) in used.params.iter().zip(&offered.params) {
            if used != offered {
                let part = format!("parameter `{name}`");
                return differ(&part, used.to_string(), offered.to_string());
            }
        }
        if used.result != offered.result {
            let print = |ty: &Option<Type>| ty.as_ref().map_or("no result".into(), Type::to_string);
            return differ("the result", print(&used.result), print(&offered.result));
        }
        None
    }

    /// The type that a component uses. `resource` names a resource type of the component.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] when types nest too deeply.
    pub fn from_runtime(
        function: &runtime::ComponentFunc,
        resource: &dyn Fn(&wasmtime::component::ResourceType) -> ResourceName,
    ) -> Result<Self, Unsupported> {
        let convert = |ty: &runtime::Type| Type::from_runtime(ty, resource, 0);
        Ok(Self {
            is_async: function.async_(),
            params: function
                .params()
                .map(|(name, ty)| Ok((name.to_owned(), convert(&ty)?)))
                .collect::<Result<_, Unsupported>>()?,
            result: function.results().next().map(|ty| convert(&ty)).transpose()?,
        })
    }

    /// Flat core values of the parameters, or none where they are passed in memory (over 16).
    pub fn flat_params(&self) -> Option<usize> {
        let mut count = 0_usize;
        for (_, ty) in &self.params {
            count = count.checked_add(ty.flat_count(16)?)?;
        }
        (count <= 16).then_some(count)
    }

    /// Flat core values of the result, or none where it is passed in memory (over one).
    pub fn flat_result(&self) -> Option<usize> {
        self.flat_result_up_to(1)
    }

    /// The same where as many as `max` pass flat.
    pub(super) fn flat_result_up_to(&self, max: usize) -> Option<usize> {
        match &self.result {
            Some(ty) => ty.flat_count(max),
            None => Some(0),
        }
    }

    /// Whether it takes or returns a stream, of either kind.
    pub fn has_stream(&self) -> bool {
        let mut types = self.params.iter().map(|(_, ty)| ty).chain(&self.result);
        types.any(|ty| ty.has_stream() || ty.has_io())
    }

    /// What the host cannot carry across the boundary yet, if there is anything: a future, a stream of other
    /// things than numbers.
    pub fn unsupported(&self) -> Option<Unsupported> {
        self.params.iter().map(|(_, ty)| ty).chain(&self.result).find_map(Type::unsupported)
    }
}

impl Type {
    fn from_runtime(
        ty: &runtime::Type,
        resource: &dyn Fn(&wasmtime::component::ResourceType) -> ResourceName,
        depth: usize,
    ) -> Result<Self, Unsupported> {
        if depth > MAX_DEPTH {
            return Err(Unsupported(format!("types that nest deeper than {MAX_DEPTH} levels")));
        }
        let one = |ty: &runtime::Type| Self::from_runtime(ty, resource, depth + 1);
        let boxed = |ty: &runtime::Type| one(ty).map(Box::new);
        let maybe = |ty: Option<runtime::Type>| ty.as_ref().map(boxed).transpose();
        Ok(match ty {
            runtime::Type::Bool => Self::Bool,
            runtime::Type::S8 => Self::S8,
            runtime::Type::U8 => Self::U8,
            runtime::Type::S16 => Self::S16,
            runtime::Type::U16 => Self::U16,
            runtime::Type::S32 => Self::S32,
            runtime::Type::U32 => Self::U32,
            runtime::Type::S64 => Self::S64,
            runtime::Type::U64 => Self::U64,
            runtime::Type::Float32 => Self::F32,
            runtime::Type::Float64 => Self::F64,
            runtime::Type::Char => Self::Char,
            runtime::Type::String => Self::String,
            runtime::Type::List(list) => Self::List(boxed(&list.ty())?),
            runtime::Type::Map(map) => Self::Map(boxed(&map.key())?, boxed(&map.value())?),
            runtime::Type::FixedLengthList(list) => {
                Self::FixedLengthList(boxed(&list.ty())?, list.len())
            }
            runtime::Type::Record(record) => Self::Record(
                record
                    .fields()
                    .map(|field| Ok((field.name.to_owned(), one(&field.ty)?)))
                    .collect::<Result<_, Unsupported>>()?,
            ),
            runtime::Type::Tuple(tuple) => {
                Self::Tuple(tuple.types().map(|ty| one(&ty)).collect::<Result<_, _>>()?)
            }
            runtime::Type::Variant(variant) => Self::Variant(
                variant
                    .cases()
                    .map(|case| Ok((case.name.to_owned(), case.ty.as_ref().map(one).transpose()?)))
                    .collect::<Result<_, Unsupported>>()?,
            ),
            runtime::Type::Enum(names) => Self::Enum(names.names().map(str::to_owned).collect()),
            runtime::Type::Option(option) => Self::Option(boxed(&option.ty())?),
            runtime::Type::Result(result) => {
                Self::Result(maybe(result.ok())?, maybe(result.err())?)
            }
            runtime::Type::Flags(flags) => Self::Flags(flags.names().map(str::to_owned).collect()),
            runtime::Type::Own(ty) => Self::Own(resource(ty)),
            runtime::Type::Borrow(ty) => Self::Borrow(resource(ty)),
            runtime::Type::Future(future) => Self::Future(maybe(future.ty())?),
            runtime::Type::Stream(stream) => Self::Stream(maybe(stream.ty())?),
            runtime::Type::ErrorContext => Self::ErrorContext,
        })
    }

    /// The types that this one is made of.
    fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Bool
            | Self::S8
            | Self::U8
            | Self::S16
            | Self::U16
            | Self::S32
            | Self::U32
            | Self::S64
            | Self::U64
            | Self::F32
            | Self::F64
            | Self::Char
            | Self::String
            | Self::Enum(_)
            | Self::Flags(_)
            | Self::Own(_)
            | Self::Borrow(_)
            | Self::ErrorContext => Vec::new(),
            Self::List(ty) | Self::Option(ty) | Self::FixedLengthList(ty, _) => vec![ty],
            Self::Map(key, value) => vec![key, value],
            Self::Record(fields) => fields.iter().map(|(_, ty)| ty).collect(),
            Self::Tuple(types) => types.iter().collect(),
            Self::Variant(cases) => cases.iter().filter_map(|(_, ty)| ty.as_ref()).collect(),
            Self::Result(ok, err) => ok.iter().chain(err).map(|ty| &**ty).collect(),
            Self::Future(ty) | Self::Stream(ty) => ty.iter().map(|ty| &**ty).collect(),
        }
    }

    /// Whether a value of this type may hold an owned handle.
    pub fn has_own(&self) -> bool {
        matches!(self, Self::Own(_)) || self.parts().into_iter().any(Self::has_own)
    }

    /// Whether a value of this type may hold a stream or a future.
    pub(super) fn has_stream(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Future(_))
            || self.parts().into_iter().any(Self::has_stream)
    }

    /// Whether a value of this type may hold a stream of `wasi:io`, given away.
    pub(super) fn has_io(&self) -> bool {
        match self {
            Self::Own(resource) => resource.io().is_some(),
            other => other.parts().into_iter().any(Self::has_io),
        }
    }

    /// Whether it is a stream or a future that the host carries.
    pub(super) fn is_carried(&self) -> bool {
        match self {
            Self::Stream(Some(of)) | Self::Future(Some(of)) => of.is_plain(),
            Self::Future(None) => true,
            _ => false,
        }
    }

    /// How wide a number is, in bytes; none where the type is another.
    pub(crate) fn width(&self) -> Option<u8> {
        match self {
            Self::S8 | Self::U8 => Some(1),
            Self::S16 | Self::U16 => Some(2),
            Self::S32 | Self::U32 | Self::F32 => Some(4),
            Self::S64 | Self::U64 | Self::F64 => Some(8),
            _ => None,
        }
    }

    /// Whether a value of this type is its bytes and nothing besides, so that it may go through a stream, or
    /// out of the process.
    pub fn is_plain(&self) -> bool {
        !self.has_own() && !self.has_stream() && !self.has_borrow() && self.unsupported().is_none()
    }

    /// Whether a value of this type may hold a borrowed handle.
    pub(super) fn has_borrow(&self) -> bool {
        matches!(self, Self::Borrow(_)) || self.parts().into_iter().any(Self::has_borrow)
    }

    fn unsupported(&self) -> Option<Unsupported> {
        match self {
            Self::Stream(_) | Self::Future(_) if self.is_carried() => None,
            Self::Future(_)
            | Self::Stream(_)
            | Self::ErrorContext
            | Self::Map(..)
            | Self::FixedLengthList(..) => Some(Unsupported(format!("values of type `{self}`"))),
            Self::Borrow(resource) | Self::Own(resource)
                if resource.interface.as_ref().is_some_and(io::is_io)
                    && (matches!(self, Self::Borrow(_)) || resource.io().is_none()) =>
            {
                let Some(interface) = &resource.interface else { return None };
                Some(Unsupported(format!("values of type `{self}` of `{interface}`")))
            }
            other => other.parts().into_iter().find_map(Self::unsupported),
        }
    }

    /// Flat core values of this type, or none above `max`.
    fn flat_count(&self, max: usize) -> Option<usize> {
        let sum = |types: &mut dyn Iterator<Item = &Self>| {
            let mut count = 0_usize;
            for ty in types {
                count = count.checked_add(ty.flat_count(max)?)?;
                if count > max {
                    return None;
                }
            }
            Some(count)
        };
        let widest = |types: &mut dyn Iterator<Item = &Self>| {
            let mut count = 0;
            for ty in types {
                count = count.max(ty.flat_count(max)?);
            }
            Some(count + 1)
        };
        let count = match self {
            Self::Bool
            | Self::S8
            | Self::U8
            | Self::S16
            | Self::U16
            | Self::S32
            | Self::U32
            | Self::S64
            | Self::U64
            | Self::F32
            | Self::F64
            | Self::Char
            | Self::Enum(_)
            | Self::Own(_)
            | Self::Borrow(_)
            | Self::Future(_)
            | Self::Stream(_)
            | Self::ErrorContext => 1,
            Self::String | Self::List(_) | Self::Map(..) => 2,
            Self::FixedLengthList(ty, len) => {
                ty.flat_count(max)?.checked_mul(usize::try_from(*len).ok()?)?
            }
            Self::Flags(names) => names.len().div_ceil(32),
            Self::Record(fields) => sum(&mut fields.iter().map(|(_, ty)| ty))?,
            Self::Tuple(types) => sum(&mut types.iter())?,
            Self::Variant(cases) => widest(&mut cases.iter().filter_map(|(_, ty)| ty.as_ref()))?,
            Self::Option(ty) => widest(&mut std::iter::once(&**ty))?,
            Self::Result(ok, err) => widest(&mut ok.iter().chain(err).map(|ty| &**ty))?,
        };
        (count <= max).then_some(count)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::ErrorContext => f.write_str("error-context"),
            Self::List(ty) => write!(f, "list<{ty}>"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::FixedLengthList(ty, len) => write!(f, "list<{ty}, {len}>"),
            Self::Option(ty) => write!(f, "option<{ty}>"),
            Self::Own(ty) => f.write_str(&ty.name),
            Self::Borrow(ty) => write!(f, "borrow<{}>", ty.name),
            Self::Future(None) => f.write_str("future"),
            Self::Future(Some(ty)) => write!(f, "future<{ty}>"),
            Self::Stream(None) => f.write_str("stream"),
            Self::Stream(Some(ty)) => write!(f, "stream<{ty}>"),
            Self::Result(None, None) => f.write_str("result"),
            Self::Result(Some(ok), None) => write!(f, "result<{ok}>"),
            Self::Result(None, Some(err)) => write!(f, "result<_, {err}>"),
            Self::Result(Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            Self::Tuple(types) => {
                f.write_str("tuple<")?;
                separated(f, types, |f, ty| write!(f, "{ty}"))?;
                f.write_str(">")
            }
            Self::Record(fields) => {
                f.write_str("record { ")?;
                separated(f, fields, |f, (name, ty)| write!(f, "{name}: {ty}"))?;
                f.write_str(" }")
            }
            Self::Variant(cases) => {
                f.write_str("variant { ")?;
                separated(f, cases, |f, (name, ty)| match ty {
                    Some(ty) => write!(f, "{name}({ty})"),
                    None => f.write_str(name),
                })?;
                f.write_str(" }")
            }
            Self::Enum(names) => {
                f.write_str("enum { ")?;
                separated(f, names, |f, name| f.write_str(name))?;
                f.write_str(" }")
            }
            Self::Flags(names) => {
                f.write_str("flags { ")?;
                separated(f, names, |f, name| f.write_str(name))?;
                f.write_str(" }")
            }
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut print: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        print(f, item)?;
    }
    Ok(())
}
