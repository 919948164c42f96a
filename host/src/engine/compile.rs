//! From a file's bytes to a compiled component, with an error that says what the file is instead.

use wasmparser::{Validator, WasmFeatures};
use wasmtime::{Engine, component::Component};

use super::{EngineError, EngineKind, Engines, MEMORIES, TABLES};

/// A component ready to be linked.
#[derive(Clone)]
pub struct Compiled {
    /// The compiled component; its engine is the one of `kind`.
    pub component: Component,
    /// Which engine it is for.
    pub kind: EngineKind,
}

impl Compiled {
    /// What an instance takes of its engine's pool, in instances: more than one if it has more memories
    /// or tables than the pool has for each.
    pub fn places(&self) -> u32 {
        // None for components that import modules, which the host has not to give.
        self.component.resources_required().map_or(1, |needs| {
            let (memories, tables) = (needs.num_memories, needs.num_tables);
            memories.div_ceil(MEMORIES).max(tables.div_ceil(TABLES)).max(1)
        })
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why bytes are not a component that runs here. The caller adds the file's name.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Nothing is in it.
    #[error("the file is empty; expected a WebAssembly component; build it again")]
    Empty,
    /// It does not begin as WebAssembly does.
    #[error(
        "not WebAssembly: the file begins with {start}; expected a component, which begins with `\\0asm`"
    )]
    NotWasm {
        /// The first bytes, as text.
        start: String,
    },
    /// It is WebAssembly in text form.
    #[error(
        "WebAssembly text; expected a component in binary form; convert it with `wasm-tools parse FILE -o OUT.wasm`"
    )]
    Text,
    /// It is a core module.
    #[error(
        "a core WebAssembly module; expected a component; build for the target `wasm32-wasip2`, \
         or convert it with `wasm-tools component new FILE -o OUT.wasm` (with `--adapt` where it imports WASI 0.1)"
    )]
    CoreModule,
    /// It has a version of the binary format that is not known.
    #[error(
        "WebAssembly of version {version} and layer {layer}; expected version 13, layer 1, a component; \
         build it with current tools or use a newer host"
    )]
    Version {
        /// Its version.
        version: u16,
        /// Its layer.
        layer: u16,
    },
    /// It ends before it should.
    #[error(
        "the component is cut off after {length} bytes (0x{length:x}); expected more; copy or build it again"
    )]
    Truncated {
        /// The bytes there are.
        length: usize,
    },
    /// It uses a feature that the engine has switched off.
    #[error(
        "the component uses a feature that this host has not; expected WASI 0.2 or 0.3; build it without, or use a newer host"
    )]
    Feature(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is damaged.
    #[error(
        "the component is not valid; expected what `wasm-tools validate` accepts; build it again"
    )]
    Invalid(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is valid, and could not be compiled.
    #[error(
        "the component could not be compiled; its engine has too small a pool for it, or this is a fault of the host"
    )]
    Compile(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine that it needs cannot be made.
    #[error("its engine cannot be made")]
    Engine(#[from] EngineError),
    /// The thread that compiled is gone.
    #[error("compiling was stopped: {0}")]
    Stopped(String),
}

pub(super) fn compile(engines: &Engines, bytes: &[u8]) -> Result<Compiled, CompileError> {
    check_header(bytes)?;
    check_length(bytes)?;
    let kind = EngineKind::of(bytes).map_err(|error| CompileError::Invalid(error.into()))?;
    let engine = engines.make(kind)?;
    let component = Component::from_binary(engine, bytes)
        .map_err(|error| why_refused(engine, bytes, error.into()))?;
    // Now, and not by its first request: by then there may be no file left for it.
    component
        .initialize_copy_on_write_image()
        .map_err(|error| CompileError::Compile(error.into()))?;
    Ok(Compiled { component, kind })
}

fn check_header(bytes: &[u8]) -> Result<(), CompileError> {
    if bytes.is_empty() {
        return Err(CompileError::Empty);
    }
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(if b"\0asm".starts_with(bytes) {
            CompileError::Truncated { length: bytes.len() }
        } else {
            not_wasm(bytes)
        });
    };
    if magic != b"\0asm" {
        return Err(not_wasm(bytes));
    }
    let Some(&[v0, v1, l0, l1]) = rest.first_chunk::<4>() else {
        return Err(CompileError::Truncated { length: bytes.len() });
    };
    match (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([l0, l1])) {
        (13, 1) => Ok(()),
        (1, 0) => Err(CompileError::CoreModule),
        (version, layer) => Err(CompileError::Version { version, layer }),
    }
}

fn not_wasm(bytes: &[u8]) -> CompileError {
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"(component") || text.starts_with(b"(module") || text.starts_with(b";;") {
        return CompileError::Text;
    }
    let start: String = bytes
        .iter()
        .take(8)
        .flat_map(|byte| std::ascii::escape_default(*byte))
        .map(char::from)
        .collect();
    CompileError::NotWasm { start: format!("`{start}`") }
}

/// Walks the sections by their lengths, to tell a file that was cut off from one that is damaged.
fn check_length(bytes: &[u8]) -> Result<(), CompileError> {
    let truncated = || CompileError::Truncated { length: bytes.len() };
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((_id, after)) = rest.split_first() {
        let (size, after) = match read_u32(after) {
            Leb::Value(size, after) => (size, after),
            Leb::CutOff => return Err(truncated()),
            // The validation says what is wrong with it.
            Leb::Damaged => return Ok(()),
        };
        rest =
            usize::try_from(size).ok().and_then(|size| after.get(size..)).ok_or_else(truncated)?;
    }
    Ok(())
}

enum Leb<'a> {
    Value(u32, &'a [u8]),
    CutOff,
    Damaged,
}

fn read_u32(bytes: &[u8]) -> Leb<'_> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return match (u32::try_from(value), bytes.get(at + 1..)) {
                (Ok(value), Some(rest)) => Leb::Value(value, rest),
                _ => Leb::Damaged,
            };
        }
    }
    if bytes.len() < 5 { Leb::CutOff } else { Leb::Damaged }
}

/// wasmtime has one error for all. What every feature together would accept, lacks one here.
fn why_refused(
    engine: &Engine,
    bytes: &[u8],
    error: Box<dyn std::error::Error + Send + Sync>,
) -> CompileError {
    let accepts = |features| Validator::new_with_features(features).validate_all(bytes).is_ok();
    if accepts(engine.get_wasm_features()) {
        CompileError::Compile(error)
    } else if accepts(WasmFeatures::all()) {
        CompileError::Feature(error)
    } else {
        CompileError::Invalid(error)
    }
}
