//! Which of the two engines a component needs, read from its binary.

use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentDefinedType, ComponentType,
    ComponentTypeDeclaration, InstanceTypeDeclaration, Parser, Payload,
};

/// The two kinds of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Without component-model async: for components of WASI 0.2 and plain functions.
    Sync,
    /// With component-model async: for components that use `async func`, `stream`, `future` or WASI 0.3.
    Concurrent,
}

impl EngineKind {
    /// The engine that a component needs. Reads types, imports and canonical functions, and skips
    /// code: some microseconds.
    pub(super) fn of(component: &[u8]) -> Result<Self, BinaryReaderError> {
        for payload in Parser::new(0).parse_all(component) {
            if needs_concurrency(payload?)? {
                return Ok(Self::Concurrent);
            }
        }
        Ok(Self::Sync)
    }
}

fn needs_concurrency(payload: Payload<'_>) -> Result<bool, BinaryReaderError> {
    match payload {
        Payload::ComponentTypeSection(types) => {
            for ty in types {
                if in_type(&ty?) {
                    return Ok(true);
                }
            }
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports {
                let name = import?.name;
                if is_wasi_0_3(name.name) || name.implements.is_some_and(is_wasi_0_3) {
                    return Ok(true);
                }
            }
        }
        Payload::ComponentCanonicalSection(functions) => {
            for function in functions {
                if in_canonical(&function?) {
                    return Ok(true);
                }
            }
        }
        _ => {}
    }
    Ok(false)
}

/// Some interfaces of WASI 0.3 have only plain functions; the host has them in the concurrent engine.
fn is_wasi_0_3(name: &str) -> bool {
    name.starts_with("wasi:")
        && name.split_once('@').is_some_and(|(_, version)| version.starts_with("0.3."))
}

fn in_type(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Defined(
            ComponentDefinedType::Stream(_) | ComponentDefinedType::Future(_),
        ) => true,
        ComponentType::Defined(_) | ComponentType::Resource { .. } => false,
        ComponentType::Func(function) => function.async_,
        ComponentType::Component(declarations) => declarations.iter().any(
            |declaration| matches!(declaration, ComponentTypeDeclaration::Type(ty) if in_type(ty)),
        ),
        ComponentType::Instance(declarations) => declarations.iter().any(
            |declaration| matches!(declaration, InstanceTypeDeclaration::Type(ty) if in_type(ty)),
        ),
    }
}

/// Every canonical function but the plain ones is about tasks, streams or futures.
fn in_canonical(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().any(|option| matches!(option, CanonicalOption::Async))
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> EngineKind {
        EngineKind::of(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn plain_types_and_functions_run_in_the_sync_engine() {
        assert_eq!(kind("(component)"), EngineKind::Sync);
        assert_eq!(
            kind(r#"(component (import "wasi:io/poll@0.2.0" (instance (export "poll" (func)))))"#),
            EngineKind::Sync
        );
        assert_eq!(
            kind(
                r#"(component (type $r (resource (rep i32))) (core func (canon resource.drop $r)))"#
            ),
            EngineKind::Sync
        );
    }

    #[test]
    fn whatever_waits_or_streams_runs_in_the_concurrent_engine() {
        for text in [
            r#"(component (import "a" (func async)))"#,
            r#"(component (import "a:b/c" (instance (export "f" (func async)))))"#,
            r#"(component (type (stream u8)))"#,
            r#"(component (type (future)))"#,
            r#"(component (component (type (future))))"#,
            r#"(component (core func (canon backpressure.inc)))"#,
            r#"(component (import "wasi:clocks/types@0.3.0" (instance)))"#,
            r#"(component (import "f" (func $f))
                (core func (canon lower (func $f) async)))"#,
        ] {
            assert_eq!(kind(text), EngineKind::Concurrent, "{text}");
        }
    }
}
