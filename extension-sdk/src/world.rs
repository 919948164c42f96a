//! What the generated code is made of: one function's arguments in, its result out.

use backplane_abi::{Buffer, CallContext, Outcome};
use backplane_wire::{Encode, Error, Form, Reader, Writer};
use bytes::Bytes;

use crate::{
    Context, Failure, FailureKind, List, Number, failure::to_failed, local, module::BoundRef,
    resource::with_table,
};

/// The exports of a WIT world, and the way from a function's number to its handler.
pub trait World<B> {
    /// The functions, by number.
    const FUNCTIONS: &'static [FunctionName];
    /// The resource types, by number.
    const RESOURCES: &'static [ResourceName];

    /// Answers a call.
    fn call(bound: BoundRef<B>, function: u32, arguments: Buffer, call: &CallContext) -> Outcome;
}

/// A function of the world.
#[derive(Clone, Copy, Debug)]
pub struct FunctionName {
    /// The interface, `ns:package/name@version`.
    pub interface: &'static str,
    /// The name, such as `open` or `[method]bucket.get`.
    pub name: &'static str,
}

/// A resource type of the world.
#[derive(Clone, Copy, Debug)]
pub struct ResourceName {
    /// The interface, `ns:package/name@version`.
    pub interface: &'static str,
    /// The name.
    pub name: &'static str,
}

/// A result that its handler has encoded itself, for functions named under `encoded` in
/// [`generate!`](crate::generate): for a cache or a proxy that has the bytes already. They must be
/// the wire encoding of the function's result, in the call's [form](Context::form).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(pub Vec<u8>);

impl Encode for Encoded {
    fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }

    fn size_hint(&self) -> usize {
        self.0.len()
    }
}

/// From this size on, arguments are shared by the `Bytes` taken from them; below, a copy is cheaper.
const SHARE_FROM: usize = 1024;

/// A call's arguments, held for as long as its handler runs.
#[derive(Debug)]
pub enum Arguments {
    /// Borrowed from.
    Plain(Buffer),
    /// Shared.
    Shared(Bytes),
}

impl Arguments {
    /// Arguments of which nothing outlives the call.
    #[inline]
    pub fn plain(buffer: Buffer) -> Self {
        Self::Plain(buffer)
    }

    /// Arguments of which byte lists may outlive the call.
    #[inline]
    pub fn shared(buffer: Buffer) -> Self {
        if buffer.len() < SHARE_FROM {
            Self::Plain(buffer)
        } else {
            Self::Shared(Bytes::from_owner(buffer))
        }
    }

    #[inline]
    fn reader(&self, form: Form) -> Reader<'_> {
        match self {
            Self::Plain(buffer) => Reader::new(buffer, form),
            Self::Shared(bytes) => Reader::sharing(bytes, form),
        }
    }
}

/// Decodes the arguments, all of them.
#[inline]
pub fn decode<'a, T>(
    function: &FunctionName,
    arguments: &'a Arguments,
    cx: &Context,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<T, Failure> {
    let mut reader = arguments.reader(cx.form());
    let values = read(&mut reader).and_then(|values| reader.finish().map(|()| values));
    values.map_err(|error| bad_arguments(function, error))
}

/// Decodes arguments that have handles inside of other values.
pub fn decode_with_handles<'a, T>(
    function: &FunctionName,
    arguments: &'a Arguments,
    cx: &Context,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<T, Failure> {
    with_table(cx.table(), || decode(function, arguments, cx, read))
}

/// Takes the argument of a function whose only parameter is a list of numbers.
#[inline]
pub fn decode_list<T: Number>(
    function: &FunctionName,
    arguments: Buffer,
    cx: &Context,
) -> Result<List<T>, Failure> {
    List::from_message(arguments, cx.form()).map_err(|error| bad_arguments(function, error))
}

#[cold]
fn bad_arguments(function: &FunctionName, error: Error) -> Failure {
    let FunctionName { interface, name } = function;
    Failure::of(
        FailureKind::BadArguments,
        format_args!("arguments of `{interface}` function `{name}`: {error}"),
    )
}

/// Encodes a result.
#[inline]
pub fn encode<T: Encode>(cx: &Context, result: &T) -> Buffer {
    let mut writer = Writer::append_to(local::room(result.size_hint()), cx.form());
    result.encode_message(&mut writer);
    local::answer(writer.into_vec())
}

/// The answer of a function whose result is a list of numbers.
#[inline]
pub fn encode_list<T: Number>(cx: &Context, result: List<T>) -> Buffer {
    result.into_message(cx.form())
}

/// Encodes a result that has resources in it, which get their handles here.
pub fn encode_with_handles<T: Encode>(cx: &Context, result: &T) -> Buffer {
    with_table(cx.table(), || encode(cx, result))
}

/// The answer to a number that names no function.
#[cold]
pub fn unimplemented(function: u32) -> Outcome {
    Outcome::Failed(to_failed(Failure::of(
        FailureKind::Unimplemented,
        format_args!("the extension has no function number {function}"),
    )))
}
