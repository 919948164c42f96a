//! What the generated code is made of: one function's arguments in, its result out.

use backplane_abi::{CallContext, Exchange, Outcome};
use backplane_wire::{Encode, Error, Reader, Writer};
use bytes::Bytes;

use crate::{
    Failure, FailureKind, List, Number, failure::to_failed, frame::CallRef, local,
    module::BoundRef, resource::with_table,
};

/// The exports of a WIT world, and the way from a function's number to its handler.
pub trait World<B> {
    /// The functions, by number.
    const FUNCTIONS: &'static [FunctionName];
    /// The resource types, by number.
    const RESOURCES: &'static [ResourceName];

    /// Answers a call.
    fn call(
        bound: BoundRef<B>,
        function: u32,
        context: &CallContext,
        exchange: &mut Exchange,
    ) -> Outcome;
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
/// the wire encoding of the function's result, in the call's [form](crate::Context::form).
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

/// Takes arguments of which byte lists may outlive the call, where they are large.
#[inline]
pub fn share(call: &mut CallRef) -> Option<Bytes> {
    if call.arguments().len() < SHARE_FROM {
        None
    } else {
        Some(Bytes::from_owner(call.take_arguments()))
    }
}

/// Decodes the arguments, all of them. `shared` is what [`share`] took, if it was asked.
#[inline]
pub fn decode<'a, T>(
    function: &FunctionName,
    call: &'a CallRef,
    shared: &'a Option<Bytes>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<T, Failure> {
    let form = call.context().form();
    let mut reader = match shared {
        Some(bytes) => Reader::sharing(bytes, form),
        None => Reader::new(call.arguments(), form),
    };
    let values = read(&mut reader).and_then(|values| reader.finish().map(|()| values));
    values.map_err(|error| bad_arguments(function, error))
}

/// Decodes arguments that have handles inside of other values.
pub fn decode_with_handles<'a, T>(
    function: &FunctionName,
    call: &'a CallRef,
    shared: &'a Option<Bytes>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<T, Failure> {
    with_table(call.context().table(), || decode(function, call, shared, read))
}

/// Takes the argument of a function whose only parameter is a list of numbers.
#[inline]
pub fn decode_list<T: Number>(
    function: &FunctionName,
    call: &mut CallRef,
) -> Result<List<T>, Failure> {
    let form = call.context().form();
    List::from_message(call.take_arguments(), form).map_err(|error| bad_arguments(function, error))
}

#[cold]
fn bad_arguments(function: &FunctionName, error: Error) -> Failure {
    let FunctionName { interface, name } = function;
    Failure::of(
        FailureKind::BadArguments,
        format_args!("arguments of `{interface}` function `{name}`: {error}"),
    )
}

/// Answers with a result.
#[inline]
pub fn encode<T: Encode>(call: &mut CallRef, result: &T) {
    let room = call.room(result.size_hint());
    let mut writer = Writer::append_to(room, call.context().form());
    result.encode_message(&mut writer);
    call.answer(local::answer(writer.into_vec()));
}

/// Answers with a result that is a list of numbers.
#[inline]
pub fn encode_list<T: Number>(call: &mut CallRef, result: List<T>) {
    let form = call.context().form();
    call.answer(result.into_message(form));
}

/// Answers with a result that has resources in it, which get their handles here.
pub fn encode_with_handles<T: Encode>(call: &mut CallRef, result: &T) {
    let table = call.context().table();
    with_table(table, || encode(call, result));
}

/// The answer to a number that names no function.
#[cold]
pub fn unimplemented(function: u32) -> Outcome {
    Outcome::Failed(to_failed(Failure::of(
        FailureKind::Unimplemented,
        format_args!("the extension has no function number {function}"),
    )))
}
