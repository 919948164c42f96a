//! The boundary between a guest's memory and wire values.
//!
//! A call of an import that is not core goes through here, and so does a call of an export by a provider
//! ([`invoke`], the same with the roles swapped): its arguments are lifted out of the guest
//! (`lift`) into one message, the message goes to whoever is linked ([`call`]), and the answer is
//! lowered into the guest (`lower`). Nothing here knows any interface, any provider or any transport.
//!
//! # Safety
//!
//! This is the one module of the host that implements the runtime's `ComponentType`, `Lift` and `Lower`
//! by hand. They are not sealed, their hidden methods are not documented for the purpose, and a new
//! release of the runtime may change them: its version is pinned to one line, and the property test in
//! `tests/boundary.rs` holds every lift and lower against the runtime's own dynamic path.
//!
//! What could go wrong, and what prevents it:
//!
//! - *A value of another type than the function's.* `typecheck` accepts everything, so the runtime's
//!   check is void here. Instead the walks take nothing from Rust types: they follow the runtime type
//!   that the runtime passes with each call, for the layout and for the values alike. The link step has
//!   held that type against the provider's; were it wrong, the message would be malformed for its
//!   reader, which checks every byte, and no memory would be touched that the guest does not own.
//! - *A plan of another type.* The walks follow a plan made of the runtime type (`plan`), which a thread
//!   keeps by that type's place: for parameters by the component's types, whose address cannot become
//!   another's while the plan is kept, for results by the function, which is linked for one component. Were
//!   it another's, what holds for another type would hold: checked slices, a malformed message or result.
//! - *Flat arguments of another number.* The runtime hands over a slice of the runtime type's flat
//!   count and asserts that `[ValRaw; N]` fits in it; the link step computes the same `N`. The walks use
//!   checked iterators: too few values are an error.
//! - *Values of a guest's export.* Arguments that pass flat are written as the most that there may be: the
//!   runtime has room for so many and passes on those that the function has, as it does for its own dynamic
//!   calls. Arguments that pass in memory are the one place where the runtime goes by a constant size: the link
//!   step takes one that is no smaller than the type's, and lowering compares the two again. Results pass flat
//!   in as many values as the type has, or through memory by its own size.
//! - *Memory.* Elsewhere the constant size is 0, so the runtime itself accesses nothing by it. Every read and
//!   write goes through a checked slice of the guest's memory; pointers come with the checks of bounds
//!   and alignment that the canonical ABI asks for. Lowering fetches the slice again after each call of
//!   the guest's `realloc`, because it fetches it for each write.
//! - *Arguments of another call.* Those of a `func` wait with the thread (`lift::Kept`) from the end of their
//!   lift until the closure that it is for takes them. The runtime calls that closure next, on the same
//!   thread, and nothing is lifted in between; a lift puts its own in the place of any that were left. Were
//!   it not so, a provider would get a message that is not its function's, which its reader checks.
//! - *Results of another call.* Those of a `func` wait in the store (`KeptResults`) from its answer until
//!   they are lowered. The runtime lowers them in the same step in which the call's future ends, and lets
//!   nothing else of the store run while it waits for that. Were it not so, a guest would get another
//!   call's results, read by its own function's type; no memory would be touched that is not the guest's.
//! - *Uninitialised flat results.* They are made from zeroes and written whole.
//! - *Streams of numbers.* The runtime checks a stream's index and takes it over as it does for its own types. Their
//!   elements are copied as the bytes that they are; the element type's size and alignment are those of the runtime
//!   type, by which the plan has chosen it.
//! - *Streams of other values, and futures* (`value`). Their elements have the constant size 0, so that the runtime
//!   finds each at the place of the first. The first is therefore lifted, or lowered, with all that follow in the same
//!   step, as a list is: by the runtime type, its size and alignment, through checked slices. The runtime lifts no more
//!   than it says beforehand, and lowers what it was given at once: were it not so, values would be missing, which is
//!   an error, for only the first knows them; no memory would be touched that the guest does not own.
//! - *Values that the guest made up.* Discriminants, chars and strings are checked before they reach a
//!   message. Every string and list costs hostcall fuel by its size in memory.
//! - *A component's own resources.* Where a component is a provider, others hold resources that live in its
//!   instance. Each is lifted and lowered as the runtime's `ResourceAny`, by that type's own lift and lower, which
//!   compare the type, instance included; it is in the table of its store (`owned`) as long as others hold it,
//!   under a number that no other has. What names one that is not there is refused before the guest is entered.
//! - *Handles.* The runtime's own tables turn a guest's index into the representation that this module
//!   gave out, for the resource type of the function's signature; the type is compared with the
//!   binding's, the owner with the one in the store's table (`handles`). The runtime's typed lift of
//!   host resources is not used, since it panics on a foreign one.

pub mod call;
pub mod channel;
mod crossing;
pub mod exports;
mod function;
mod handles;
pub mod imports;
pub mod invoke;
pub mod io;
mod kind;
mod lift;
pub mod link;
mod lower;
mod message;
pub mod names;
mod numbers;
mod owned;
mod pipe;
mod plan;
mod readable;
mod resource;
mod shape;
mod size;
pub mod streams;
mod tally;
pub mod types;
mod value;
mod values;

use std::mem;

use backplane_abi::{CallContext, Exchange};
use backplane_wire::Form;
use wasmtime::component::{__internal::CanonicalAbiInfo, GuestTaskId, ResourceTable};

pub use handles::{Binding, HandleError};

/// What the boundary keeps in a store. The store's data owns one and hands it out.
pub trait StoreData: Send + 'static {
    /// The boundary's part of this store's data.
    fn boundary(&mut self) -> &mut StoreState;

    /// Where the streams of `wasi:io` are that the guest has.
    fn table(&mut self) -> &mut ResourceTable;
}

/// The boundary's part of a store's data: the live handles and what travels with each call.
#[derive(Debug)]
pub struct StoreState {
    /// Deadline and trace of the request that the store serves; of the last that began, where it
    /// serves several.
    pub context: CallContext,
    /// The same of each request that has a task of its own, since the store was last without.
    tasks: Vec<(GuestTaskId, CallContext)>,
    handles: handles::HandleTable,
    /// The guest's own resources that others hold.
    owned: owned::OwnedTable,
    /// What the call that is made passes. Its results stay here until they are lowered.
    exchange: Exchange,
    /// Representations of the owned handles in the results, in order.
    returned: lower::LoweredHandles,
    /// The streams in the results, in order.
    streams: lower::LoweredStreams,
    /// Whether the guest is about to be ended early.
    ending: streams::Ending,
    /// The function that answered.
    function: u32,
    tally: tally::Tally,
}

impl StoreState {
    /// Resource handles that one store may hold.
    pub const MAX_HANDLES: usize = 16_384;

    /// Takes the results of the call that was made last.
    #[inline]
    fn take_results(&mut self) -> lower::ToLower {
        lower::ToLower {
            message: mem::take(&mut self.exchange.results),
            handles: match self.returned.is_empty() {
                true => lower::LoweredHandles::new(),
                false => mem::take(&mut self.returned),
            },
            streams: self.streams.take(),
            own: None,
            function: self.function,
        }
    }

    /// The state of a new store, without handles. `ending` says when its guest is ended early.
    pub fn new(context: CallContext, ending: streams::Ending) -> Self {
        Self {
            context,
            tasks: Vec::new(),
            handles: handles::HandleTable::new(Self::MAX_HANDLES),
            owned: owned::OwnedTable::default(),
            exchange: Exchange::default(),
            returned: lower::LoweredHandles::new(),
            streams: None,
            ending,
            function: 0,
            tally: tally::Tally::default(),
        }
    }

    /// Says that a request begins, and which of the guest's tasks is for it.
    pub fn begin(&mut self, context: CallContext, task: Option<GuestTaskId>) {
        self.context = context;
        self.tasks.extend(task.map(|task| (task, context)));
    }

    /// How many tasks it can tell apart.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Forgets all other tasks: what they still call is charged to the last that began. Called now and
    /// then while requests come, and when all have ended.
    pub fn keep_only(&mut self, tasks: &[GuestTaskId]) {
        self.tally.tell();
        self.tasks.retain(|(task, _)| tasks.contains(task));
    }

    /// Whether a call may be another request's than the last that began.
    fn is_shared(&self) -> bool {
        self.tasks.len() > 1
    }

    /// Where deadline and trace of the request stand that this task is for.
    fn place_of(&self, task: GuestTaskId) -> Option<usize> {
        self.tasks.iter().position(|(known, _)| *known == task)
    }
}

impl Default for StoreState {
    fn default() -> Self {
        Self::new(CallContext::default(), streams::Ending::default())
    }
}

/// The constants of the types that lift and lower by the runtime type. A size of 0 keeps the runtime
/// from touching memory by it.
const ABI_BY_RUNTIME_TYPE: CanonicalAbiInfo =
    CanonicalAbiInfo { size32: 0, align32: 1, size64: 0, align64: 1, flat_count: None };

/// The form of the messages made and read here. Numbers are in it as they are in a guest's memory.
const FORM: Form = Form::Local;

/// How many values the canonical ABI passes flat to a function, and from one whose results a guest returns by
/// `task.return`.
const MOST_FLAT: usize = 16;

/// Whether an address is a multiple of an alignment, which is a power of two.
#[inline]
const fn is_aligned(address: usize, align: usize) -> bool {
    address & (align - 1) == 0
}

/// The runtime's layout disagrees with itself; no guest can cause it.
#[cold]
fn misfit<T>() -> wasmtime::Result<T> {
    wasmtime::bail!("a value does not fit the place that its type has")
}
