//! Lowering: wire values become values in a guest's memory, or its flat results.
//!
//! See the safety argument in the parent module.

use std::{any::Any, marker::PhantomData, mem::MaybeUninit, slice};

use backplane_abi::Buffer;
use backplane_wire::Reader;
use smallvec::SmallVec;
use wasmtime::{
    Result, ValRaw, bail,
    component::{
        __internal::{
            CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext,
            wasmtime_environ::component::{StringEncoding, TypeResourceTableIndex},
        },
        ComponentNamedList, ComponentType, Lower, ResourceAny,
    },
};

use super::{
    ABI_BY_RUNTIME_TYPE, FORM, MOST_FLAT, StoreData, is_aligned, misfit,
    names::bad_answer,
    plan::{self, Cases, Flags, Layout, Number, Offset, Plan, Root, Step},
    readable::Readable,
    value::Value,
};

/// Wire values on their way into a guest: the results of a call that it made, or the arguments of one that is
/// made of it.
pub(super) struct ToLower {
    pub(super) message: Buffer,
    /// Representations of the owned handles in the message, in order.
    pub(super) handles: LoweredHandles,
    /// The streams in the message, in order.
    pub(super) streams: LoweredStreams,
    /// The guest's own resources that the message gives back or lends to it, in order; then it has no others.
    pub(super) own: LoweredOwn,
    /// The function's number: it finds the plan of the values, and the names for the message when an answer is
    /// malformed.
    pub(super) function: u32,
}

/// A word where there are none.
pub(super) type LoweredStreams = Option<Box<Vec<Readable>>>;

/// A word where there are none.
pub(super) type LoweredOwn = Option<Box<SmallVec<[ResourceAny; 2]>>>;

/// Most calls return one handle or none.
pub(super) type LoweredHandles = SmallVec<[u32; 2]>;

/// The results of an `async func`, or the arguments of a guest's export. Others of the store may be lowered
/// before they are, so that each has its own. `M` is the number of flat core values, or 0 where they always go
/// to memory; arguments may have fewer.
pub(super) struct RawLowered<const M: usize>(pub(super) ToLower);

/// Arguments of a guest's export that are too many to pass flat. The runtime asks the guest for `SIZE` bytes,
/// aligned to 8, and has them written there: it knows no size but this.
pub(super) struct Spilled<const SIZE: u32>(pub(super) ToLower);

/// The results of a `func`, which wait in the store (`StoreState`) until they are lowered: the guest
/// has nothing else to do meanwhile. It has no size, so that the future which returns it needs no
/// memory, and moving it through the runtime costs nothing. `S` is the store's data, `M` as above.
pub(super) struct KeptResults<S, const M: usize>(PhantomData<fn() -> S>);

impl<S, const M: usize> KeptResults<S, M> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S: StoreData, const M: usize> KeptResults<S, M> {
    fn take<T: 'static>(cx: &mut LowerContext<'_, T>) -> Result<ToLower> {
        let data: &mut dyn Any = cx.store.data_mut();
        match data.downcast_mut::<S>() {
            Some(data) => Ok(data.boundary().take_results()),
            None => bail!("a call was made from a store of another kind"),
        }
    }
}

// SAFETY: as for `RawLifted`: an array of `ValRaw`, types compared by the link step, `M` chosen there, and
// the constant size never used to touch memory.
unsafe impl<const M: usize> ComponentType for RawLowered<M> {
    type Lower = [ValRaw; M];
    const ABI: CanonicalAbiInfo = ABI_BY_RUNTIME_TYPE;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as for `RawLowered`.
unsafe impl<S: StoreData, const M: usize> ComponentType for KeptResults<S, M> {
    type Lower = [ValRaw; M];
    const ABI: CanonicalAbiInfo = ABI_BY_RUNTIME_TYPE;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as for `RawLowered`. `Lower` has more values than are passed flat, so that the runtime takes the way
// through memory, and its constant size is no less than the runtime type's: the link step has chosen it by
// that, and `linear_lower_to_memory` checks it again.
unsafe impl<const SIZE: u32> ComponentType for Spilled<SIZE> {
    type Lower = [ValRaw; MOST_FLAT + 1];
    const ABI: CanonicalAbiInfo =
        CanonicalAbiInfo { size32: SIZE, align32: 8, size64: SIZE, align64: 8, flat_count: None };

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: the link step has checked that the runtime type is a result or parameter list.
unsafe impl<const M: usize> ComponentNamedList for RawLowered<M> {}
// SAFETY: as above.
unsafe impl<const SIZE: u32> ComponentNamedList for Spilled<SIZE> {}
// SAFETY: as above.
unsafe impl<S: StoreData, const M: usize> ComponentNamedList for KeptResults<S, M> {}

// SAFETY: both functions are those of `ToLower`, which initialise all of their destination or fail, and
// write to the guest's memory only through checked slices, following the runtime type.
unsafe impl<const M: usize> Lower for RawLowered<M> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; M]>,
    ) -> Result<()> {
        self.0.lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        self.0.lower_to_memory(cx, ty, offset)
    }
}

// SAFETY: as for `RawLowered`; nothing is written flat.
unsafe impl<const SIZE: u32> Lower for Spilled<SIZE> {
    fn linear_lower_to_flat<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        misfit()
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        if cx.types.canonical_abi(&ty).size32 > SIZE {
            return misfit();
        }
        self.0.lower_to_memory(cx, ty, offset)
    }
}

// SAFETY: as for `RawLowered`; nothing is written flat.
unsafe impl Lower for Value {
    fn linear_lower_to_flat<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        misfit()
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        Self::linear_store_list_to_memory(cx, ty, offset, slice::from_ref(self))
    }

    fn linear_store_list_to_memory<T>(
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
        values: &[Self],
    ) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let types = cx.types;
        Self::chunk(values)?.take(types, ty, values.len(), |plan, reader| {
            let mut lowerer = Lowerer::reading(cx, reader.clone());
            lowerer.values(plan, offset, values.len())?;
            *reader = lowerer.input;
            Ok(())
        })
    }
}

// SAFETY: as for `RawLowered`.
unsafe impl<S: StoreData, const M: usize> Lower for KeptResults<S, M> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; M]>,
    ) -> Result<()> {
        Self::take(cx)?.lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        Self::take(cx)?.lower_to_memory(cx, ty, offset)
    }
}

impl ToLower {
    fn lower_to_flat<T, const M: usize>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; M]>,
    ) -> Result<()> {
        let root = plan::of_results(self.function, cx.types, ty)?;
        let mut flat = [ValRaw::u64(0); M];
        let mut slots = flat.iter_mut();
        let mut lowerer = Lowerer::new(cx, self);
        match lowerer.flat_root(&root, &mut slots).and_then(|()| lowerer.finish()) {
            Ok(()) => {
                dst.write(flat);
                Ok(())
            }
            Err(error) => Err(explain(self.function, error)),
        }
    }

    fn lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        let root = plan::of_results(self.function, cx.types, ty)?;
        let Layout { size, align } = root.plan.layout;
        if !is_aligned(offset, align) {
            bail!("the place for the results is not aligned");
        }
        // The fixed part is made here and copied into the guest at once: storing a part that it points
        // to calls the guest's `realloc`, which may move the memory.
        let (mut small, mut large);
        let scratch: &mut [u8] = match size {
            0..=SCRATCH => {
                small = [0; SCRATCH];
                small.split_at_mut(size).0
            }
            _ => {
                large = vec![0; size];
                &mut large
            }
        };
        let mut lowerer = Lowerer::new(cx, self);
        match lowerer.store_root(&root, scratch).and_then(|()| lowerer.finish()) {
            Ok(()) => write(cx, offset, scratch),
            Err(error) => Err(explain(self.function, error)),
        }
    }
}

/// The size of results, in bytes, up to which nothing is allocated for them.
const SCRATCH: usize = 128;

/// Names the provider of a malformed answer. Errors of the guest's own `realloc` stay as they are.
#[cold]
fn explain(function: u32, error: wasmtime::Error) -> wasmtime::Error {
    if error.is::<backplane_wire::Error>() { bad_answer(function, error) } else { error }
}

struct Lowerer<'c, 'a, 'r, T: 'static> {
    cx: &'c mut LowerContext<'a, T>,
    input: Reader<'r>,
    handles: slice::Iter<'r, u32>,
    streams: slice::Iter<'r, Readable>,
    own: slice::Iter<'r, ResourceAny>,
    /// Whether the guest's strings are UTF-8, once it was asked for.
    is_utf8: Option<bool>,
}

impl<'c, 'a, 'r, T: 'static> Lowerer<'c, 'a, 'r, T> {
    fn new(cx: &'c mut LowerContext<'a, T>, results: &'r ToLower) -> Self {
        let input = Reader::new(&results.message, FORM);
        let streams = results.streams.as_deref().map_or([].as_slice(), Vec::as_slice).iter();
        let handles = results.handles.iter();
        let own = results.own.as_deref().map_or([].as_slice(), |own| own.as_slice()).iter();
        Self { cx, input, handles, streams, own, is_utf8: None }
    }

    /// One of values without handles, which begin where a reader stands.
    fn reading(cx: &'c mut LowerContext<'a, T>, input: Reader<'r>) -> Self {
        Self { cx, input, handles: [].iter(), streams: [].iter(), own: [].iter(), is_utf8: None }
    }

    fn finish(self) -> Result<()> {
        self.input.finish()?;
        Ok(())
    }

    /// All results into `dst`, which is as long as their type is large.
    fn store_root(&mut self, root: &Root, dst: &mut [u8]) -> Result<()> {
        match root.lone {
            Some(width) => put(dst, 0, self.lone(width)?.to_le_bytes()),
            None => self.store(&root.plan.steps, dst),
        }
    }

    /// All results as flat values.
    fn flat_root(&mut self, root: &Root, dst: &mut slice::IterMut<'_, ValRaw>) -> Result<()> {
        match root.lone {
            Some(width) => flat_pair(dst, self.lone(width)?),
            None => self.flat(&root.plan.steps, dst),
        }
    }

    /// A list of numbers that is the whole message.
    fn lone(&mut self, width: u8) -> Result<u64> {
        // What is left over is found when the message ends.
        let length = self.input.remaining().checked_div(width.into()).unwrap_or_default();
        self.numbers(width, length)
    }

    /// A value's fixed part into `dst`, which is as long as the type is large.
    fn store(&mut self, steps: &[Step], dst: &mut [u8]) -> Result<()> {
        for step in steps {
            match *step {
                Step::Number(Number { offset, width, .. }) => {
                    number(dst, offset, self.input.raw(width.into())?)?;
                }
                Step::Numbers(ref run) => {
                    let mut bytes = self.input.raw(run.bytes)?;
                    for Number { offset, width, .. } in &run.numbers {
                        let split = bytes.split_at_checked((*width).into());
                        let Some((taken, rest)) = split else { return misfit() };
                        number(dst, *offset, taken)?;
                        bytes = rest;
                    }
                }
                Step::Bool(offset) => put(dst, offset, [u8::from(self.input.bool()?)])?,
                Step::Char(offset) => {
                    put(dst, offset, u32::from(self.input.char()?).to_le_bytes())?;
                }
                Step::String(offset) => put(dst, offset, self.string()?.to_le_bytes())?,
                Step::ListOfNumbers(offset, width) => {
                    let length = self.input.length()?;
                    put(dst, offset, self.numbers(width, length)?.to_le_bytes())?;
                }
                Step::List(offset, ref element) => {
                    put(dst, offset, self.list(element)?.to_le_bytes())?;
                }
                Step::Cases(offset, ref cases) => self.store_case(cases, offset, dst)?,
                Step::Flags(offset, flags) => {
                    let bits = self.flags(flags)?;
                    let begins = offset as usize;
                    let place = dst.get_mut(begins..begins + flags.size as usize);
                    match place.zip(bits.get(..flags.size as usize)) {
                        Some((place, bits)) => place.copy_from_slice(bits),
                        None => return misfit(),
                    }
                }
                Step::Own(offset, resource) => put(dst, offset, self.own(resource)?.to_le_bytes())?,
                Step::Borrow(offset, resource) => {
                    put(dst, offset, self.borrow(resource)?.to_le_bytes())?;
                }
                Step::Stream(offset, stream, _) => {
                    put(dst, offset, self.stream(stream)?.to_le_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn store_case(&mut self, cases: &Cases, offset: Offset, dst: &mut [u8]) -> Result<()> {
        let (case, payload) = self.case(cases)?;
        match cases.width {
            1 => put(dst, offset, (case as u8).to_le_bytes())?,
            2 => put(dst, offset, (case as u16).to_le_bytes())?,
            _ => put(dst, offset, case.to_le_bytes())?,
        }
        let Some(plan) = payload else { return Ok(()) };
        let begins = offset as usize + cases.payload;
        match dst.get_mut(begins..begins + plan.layout.size) {
            Some(dst) => self.store(&plan.steps, dst),
            None => misfit(),
        }
    }

    /// Which case a variant has, and its payload's plan.
    fn case<'p>(&mut self, cases: &'p Cases) -> Result<(u32, Option<&'p Plan>)> {
        let case = match cases.is_bool {
            true => u32::from(self.input.bool()?),
            false => self.input.discriminant(u32::try_from(cases.payloads.len())?)?,
        };
        match cases.payloads.get(case as usize) {
            Some(payload) => Ok((case, payload.as_ref())),
            None => misfit(),
        }
    }

    /// A value into flat results.
    fn flat(&mut self, steps: &[Step], dst: &mut slice::IterMut<'_, ValRaw>) -> Result<()> {
        for step in steps {
            match *step {
                Step::Number(number) => next(dst, self.flat_number(number)?)?,
                Step::Numbers(ref run) => {
                    for number in &run.numbers {
                        next(dst, self.flat_number(*number)?)?;
                    }
                }
                Step::Bool(_) => next(dst, ValRaw::u32(u32::from(self.input.bool()?)))?,
                Step::Char(_) => next(dst, ValRaw::u32(u32::from(self.input.char()?)))?,
                Step::String(_) => flat_pair(dst, self.string()?)?,
                Step::ListOfNumbers(_, width) => {
                    let length = self.input.length()?;
                    flat_pair(dst, self.numbers(width, length)?)?;
                }
                Step::List(_, ref element) => flat_pair(dst, self.list(element)?)?,
                Step::Cases(_, ref cases) => self.flat_case(cases, dst)?,
                Step::Flags(_, flags) => {
                    let bits = self.flags(flags)?;
                    for word in bits.as_chunks::<4>().0.iter().take(step.flat()) {
                        next(dst, ValRaw::u32(u32::from_le_bytes(*word)))?;
                    }
                }
                Step::Own(_, resource) => next(dst, ValRaw::u32(self.own(resource)?))?,
                Step::Borrow(_, resource) => next(dst, ValRaw::u32(self.borrow(resource)?))?,
                Step::Stream(_, stream, _) => next(dst, ValRaw::u32(self.stream(stream)?))?,
            }
        }
        Ok(())
    }

    /// A number as a flat value. A float is the integer of the same bits: all 64 are then written.
    fn flat_number(&mut self, Number { width, is_signed, .. }: Number) -> Result<ValRaw> {
        Ok(match (width, is_signed) {
            (1, false) => ValRaw::u32(u32::from(self.input.u8()?)),
            (1, true) => ValRaw::i32(i32::from(self.input.s8()?)),
            (2, false) => ValRaw::u32(u32::from(self.input.u16()?)),
            (2, true) => ValRaw::i32(i32::from(self.input.s16()?)),
            (4, _) => ValRaw::u32(self.input.u32()?),
            (_, _) => ValRaw::u64(self.input.u64()?),
        })
    }

    /// A variant takes as many flat values as its widest case; those beyond this one's are zero.
    fn flat_case(&mut self, cases: &Cases, dst: &mut slice::IterMut<'_, ValRaw>) -> Result<()> {
        let (case, payload) = self.case(cases)?;
        let left = dst.len();
        next(dst, ValRaw::u32(case))?;
        if let Some(plan) = payload {
            self.flat(&plan.steps, dst)?;
        }
        for _ in left - dst.len()..cases.flat {
            next(dst, ValRaw::u64(0))?;
        }
        Ok(())
    }

    /// The bits of a flags value, padded with zeroes to whole words.
    fn flags(&mut self, flags: Flags) -> Result<SmallVec<[u8; 16]>> {
        let count = flags.count as usize;
        let bytes = self.input.raw(count.div_ceil(8))?;
        if let Some(last) = bytes.last()
            && !count.is_multiple_of(8)
            && last >> (count % 8) != 0
        {
            return Err(self.input.error(backplane_wire::Problem::UnknownFlags).into());
        }
        let mut bits = SmallVec::from_slice(bytes);
        bits.resize(count.div_ceil(32) * 4, 0);
        Ok(bits)
    }

    fn own(&mut self, resource: TypeResourceTableIndex) -> Result<u32> {
        self.input.handle()?;
        if let Some(own) = self.own.next() {
            return self.back(*own, InterfaceType::Own(resource));
        }
        match self.handles.next() {
            Some(rep) => self.cx.guest_resource_lower_own(resource, *rep),
            None => bail!("a handle among the results that the link step did not expect"),
        }
    }

    fn borrow(&mut self, resource: TypeResourceTableIndex) -> Result<u32> {
        self.input.handle()?;
        match self.own.next() {
            Some(own) => self.back(*own, InterfaceType::Borrow(resource)),
            None => lent(),
        }
    }

    /// A resource of the guest's own goes back to it. The runtime compares its type, instance included.
    fn back(&mut self, own: ResourceAny, ty: InterfaceType) -> Result<u32> {
        let mut index = MaybeUninit::new(ValRaw::u32(0));
        own.linear_lower_to_flat(self.cx, ty, &mut index)?;
        // SAFETY: it was made from a value, and the runtime has written another over it.
        Ok(unsafe { index.assume_init() }.get_u32())
    }

    fn stream(&mut self, stream: InterfaceType) -> Result<u32> {
        self.input.handle()?;
        match self.streams.next() {
            Some(readable) => readable.lower(self.cx, stream),
            None => bail!("a stream among the results that the link step did not expect"),
        }
    }

    /// A string into the guest's memory, in its encoding: the pointer below, the length above.
    fn string(&mut self) -> Result<u64> {
        let text = self.input.string()?;
        let is_utf8 = match self.is_utf8 {
            Some(is_utf8) => is_utf8,
            None => {
                let encoding = self.cx.options().string_encoding;
                *self.is_utf8.insert(matches!(encoding, StringEncoding::Utf8))
            }
        };
        if is_utf8 {
            let pointer = self.cx.realloc(0, 0, 1, text.len())?;
            write(self.cx, pointer, text.as_bytes())?;
            return pair(pointer, text.len());
        }
        let mut pair = MaybeUninit::<[ValRaw; 2]>::uninit();
        text.linear_lower_to_flat(self.cx, InterfaceType::String, &mut pair)?;
        // SAFETY: lowering a string to flat values initialises both, or fails.
        let [pointer, length] = unsafe { pair.assume_init() };
        Ok(u64::from(pointer.get_u32()) | u64::from(length.get_u32()) << 32)
    }

    /// A list into the guest's memory: the pointer below, the length above.
    fn list(&mut self, element: &Plan) -> Result<u64> {
        let length = self.input.length()?;
        let Layout { size, align } = element.layout;
        let (pointer, total) = self.elements(size, align, length)?;
        self.fill(element, pointer, total)?;
        pair(pointer, length)
    }

    /// So many elements to where the guest wants them.
    fn values(&mut self, element: &Plan, place: usize, length: usize) -> Result<()> {
        let Layout { size, align } = element.layout;
        if !is_aligned(place, align) {
            bail!("the place for a stream's values is not aligned");
        }
        let total = length.checked_mul(size);
        let total = total.filter(|total| *total <= self.cx.as_slice_mut().len());
        match total {
            Some(total) => self.fill(element, place, total),
            None => bail!("the place for a stream's values lies outside of the memory"),
        }
    }

    /// Elements of so many bytes together. The guest has room for as many.
    fn fill(&mut self, element: &Plan, place: usize, total: usize) -> Result<()> {
        let size = element.layout.size;
        if size == 0 {
            bail!("a list of elements without a size");
        }
        let mut elements = vec![0; total];
        for slot in elements.chunks_exact_mut(size) {
            self.store(&element.steps, slot)?;
        }
        write(self.cx, place, &elements)
    }

    /// A list of numbers, which are in memory as they are in the message, as a block.
    fn numbers(&mut self, width: u8, length: usize) -> Result<u64> {
        let width = usize::from(width);
        let (pointer, total) = self.elements(width, width, length)?;
        let bytes = self.input.block(total)?;
        write(self.cx, pointer, bytes)?;
        pair(pointer, length)
    }

    /// Room in the guest's memory for so many elements: where it begins, and its size.
    fn elements(&mut self, size: usize, align: usize, length: usize) -> Result<(usize, usize)> {
        let total = length.checked_mul(size).filter(|total| u32::try_from(*total).is_ok());
        let Some(total) = total else {
            bail!("a list of {length} elements is too large for the memory");
        };
        Ok((self.cx.realloc(0, 0, u32::try_from(align)?, total)?, total))
    }
}

/// A pointer and a length as they lie in memory, little-endian.
fn pair(pointer: usize, length: usize) -> Result<u64> {
    Ok(u64::from(u32::try_from(pointer)?) | u64::from(u32::try_from(length)?) << 32)
}

/// Copies into the guest's memory, of which the slice is taken anew each time.
fn write<T>(cx: &mut LowerContext<'_, T>, offset: usize, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let memory = cx.as_slice_mut();
    match offset.checked_add(bytes.len()).and_then(|end| memory.get_mut(offset..end)) {
        Some(dst) => {
            dst.copy_from_slice(bytes);
            Ok(())
        }
        None => bail!("a value would lie outside of the memory"),
    }
}

/// A number's bytes to where it is.
#[inline]
fn number(dst: &mut [u8], offset: Offset, bytes: &[u8]) -> Result<()> {
    // By each width of its own, so that none is a call.
    if let Ok(bytes) = bytes.try_into() {
        put::<8>(dst, offset, bytes)
    } else if let Ok(bytes) = bytes.try_into() {
        put::<4>(dst, offset, bytes)
    } else if let Ok(bytes) = bytes.try_into() {
        put::<2>(dst, offset, bytes)
    } else if let Ok(bytes) = bytes.try_into() {
        put::<1>(dst, offset, bytes)
    } else {
        misfit()
    }
}

#[inline]
fn put<const LEN: usize>(dst: &mut [u8], offset: Offset, bytes: [u8; LEN]) -> Result<()> {
    match dst.get_mut(offset as usize..).and_then(<[u8]>::first_chunk_mut) {
        Some(dst) => {
            *dst = bytes;
            Ok(())
        }
        None => misfit(),
    }
}

fn next(dst: &mut slice::IterMut<'_, ValRaw>, value: ValRaw) -> Result<()> {
    match dst.next() {
        Some(slot) => {
            *slot = value;
            Ok(())
        }
        None => misfit(),
    }
}

fn flat_pair(dst: &mut slice::IterMut<'_, ValRaw>, pair: u64) -> Result<()> {
    next(dst, ValRaw::u32(pair as u32))?;
    next(dst, ValRaw::u32((pair >> 32) as u32))
}

/// The link step refuses functions that return what they have borrowed.
#[cold]
fn lent<T>() -> Result<T> {
    bail!("a borrowed handle among results")
}
