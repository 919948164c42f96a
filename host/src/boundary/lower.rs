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
            CanonicalAbiInfo, ComponentTypes, InstanceType, InterfaceType, LowerContext,
            wasmtime_environ::component::{TypeResourceTableIndex, VariantInfo},
        },
        ComponentNamedList, ComponentType, Lower,
    },
};

use super::{
    ABI_BY_RUNTIME_TYPE, FORM, StoreData,
    layout::{Layout, flat_count, is_number, lone_numbers},
    names::bad_answer,
    unlinked,
};

/// The results of a call as wire values.
pub(super) struct Results {
    pub(super) message: Buffer,
    /// Representations of the owned handles in the message, in order.
    pub(super) handles: LoweredHandles,
    /// The function that answered, for the message when the answer is malformed.
    pub(super) function: u32,
}

/// Most calls return one handle or none.
pub(super) type LoweredHandles = SmallVec<[u32; 2]>;

/// The results of an `async func`. Others of the store may end before they are lowered, so that each
/// has its own. `M` is the number of flat core values of the results, or 0 where they always go to
/// memory.
pub(super) struct RawResults<const M: usize>(pub(super) Results);

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
    fn take<T: 'static>(cx: &mut LowerContext<'_, T>) -> Result<Results> {
        let data: &mut dyn Any = cx.store.data_mut();
        match data.downcast_mut::<S>() {
            Some(data) => Ok(data.boundary().take_results()),
            None => bail!("a call was made from a store of another kind"),
        }
    }
}

// SAFETY: as for `RawArgs`: an array of `ValRaw`, types compared by the link step, `M` chosen there, and
// the constant size never used to touch memory.
unsafe impl<const M: usize> ComponentType for RawResults<M> {
    type Lower = [ValRaw; M];
    const ABI: CanonicalAbiInfo = ABI_BY_RUNTIME_TYPE;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as for `RawResults`.
unsafe impl<S: StoreData, const M: usize> ComponentType for KeptResults<S, M> {
    type Lower = [ValRaw; M];
    const ABI: CanonicalAbiInfo = ABI_BY_RUNTIME_TYPE;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: the link step has checked that the runtime type is a result list.
unsafe impl<const M: usize> ComponentNamedList for RawResults<M> {}
// SAFETY: as above.
unsafe impl<S: StoreData, const M: usize> ComponentNamedList for KeptResults<S, M> {}

// SAFETY: both functions are those of `Results`, which initialise all of their destination or fail, and
// write to the guest's memory only through checked slices, following the runtime type.
unsafe impl<const M: usize> Lower for RawResults<M> {
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

// SAFETY: as for `RawResults`.
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

impl Results {
    fn lower_to_flat<T, const M: usize>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; M]>,
    ) -> Result<()> {
        let mut flat = [ValRaw::u64(0); M];
        let mut slots = flat.iter_mut();
        let mut lowerer = Lowerer::new(cx, self);
        match lowerer.flat_root(ty, &mut slots).and_then(|()| lowerer.finish()) {
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
        let Layout { size, align } = Layout::of(cx.types, ty);
        if !offset.is_multiple_of(align) {
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
        match lowerer.store_root(ty, scratch).and_then(|()| lowerer.finish()) {
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
    types: &'a ComponentTypes,
    input: Reader<'r>,
    handles: slice::Iter<'r, u32>,
}

impl<'c, 'a, 'r, T: 'static> Lowerer<'c, 'a, 'r, T> {
    fn new(cx: &'c mut LowerContext<'a, T>, results: &'r Results) -> Self {
        let types = cx.types;
        let input = Reader::new(&results.message, FORM);
        Self { cx, types, input, handles: results.handles.iter() }
    }

    fn finish(self) -> Result<()> {
        self.input.finish()?;
        Ok(())
    }

    /// All results into `dst`, which is as long as their type is large.
    fn store_root(&mut self, ty: InterfaceType, dst: &mut [u8]) -> Result<()> {
        match lone_numbers(self.types, ty) {
            Some(element) => put(dst, self.lone(element)?.to_le_bytes()),
            None => self.store(ty, dst),
        }
    }

    /// All results as flat values.
    fn flat_root(&mut self, ty: InterfaceType, dst: &mut slice::IterMut<'_, ValRaw>) -> Result<()> {
        match lone_numbers(self.types, ty) {
            Some(element) => flat_pair(dst, self.lone(element)?),
            None => self.flat(ty, dst),
        }
    }

    /// A list of numbers that is the whole message.
    fn lone(&mut self, element: InterfaceType) -> Result<u64> {
        let size = Layout::of(self.types, element).size;
        // What is left over is found when the message ends.
        self.numbers(element, self.input.remaining().checked_div(size).unwrap_or_default())
    }

    /// A value's fixed part into `dst`, which is as long as the type is large.
    #[inline(always)]
    fn store(&mut self, ty: InterfaceType, dst: &mut [u8]) -> Result<()> {
        match ty {
            InterfaceType::Bool => put(dst, [u8::from(self.input.bool()?)]),
            InterfaceType::U8 | InterfaceType::S8 => put(dst, [self.input.u8()?]),
            InterfaceType::U16 => put(dst, self.input.u16()?.to_le_bytes()),
            InterfaceType::S16 => put(dst, self.input.s16()?.to_le_bytes()),
            InterfaceType::U32 => put(dst, self.input.u32()?.to_le_bytes()),
            InterfaceType::S32 => put(dst, self.input.s32()?.to_le_bytes()),
            InterfaceType::U64 => put(dst, self.input.u64()?.to_le_bytes()),
            InterfaceType::S64 => put(dst, self.input.s64()?.to_le_bytes()),
            InterfaceType::Float32 => put(dst, self.input.f32()?.to_bits().to_le_bytes()),
            InterfaceType::Float64 => put(dst, self.input.f64()?.to_bits().to_le_bytes()),
            InterfaceType::Char => put(dst, u32::from(self.input.char()?).to_le_bytes()),
            InterfaceType::String => {
                let pair = self.string()?;
                put(dst, pair.to_le_bytes())
            }
            InterfaceType::List(list) => {
                let pair = self.list(self.types[list].element)?;
                put(dst, pair.to_le_bytes())
            }
            InterfaceType::Record(_)
            | InterfaceType::Tuple(_)
            | InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_)
            | InterfaceType::Flags(_) => self.store_nested(ty, dst),
            InterfaceType::Own(resource) => {
                let index = self.own(resource)?;
                put(dst, index.to_le_bytes())
            }
            InterfaceType::Borrow(_)
            | InterfaceType::Map(_)
            | InterfaceType::Future(_)
            | InterfaceType::Stream(_)
            | InterfaceType::ErrorContext(_)
            | InterfaceType::FixedLengthList(_) => unlinked(ty),
        }
    }

    /// A value that has others in it, or cases.
    fn store_nested(&mut self, ty: InterfaceType, dst: &mut [u8]) -> Result<()> {
        match ty {
            InterfaceType::Record(record) => {
                let mut next = 0;
                for field in &self.types[record].fields {
                    self.field(field.ty, &mut next, dst)?;
                }
                Ok(())
            }
            InterfaceType::Tuple(tuple) => {
                let mut next = 0;
                for ty in &self.types[tuple].types {
                    self.field(*ty, &mut next, dst)?;
                }
                Ok(())
            }
            InterfaceType::Variant(variant) => {
                let variant = &self.types[variant];
                let case = self.case(variant.cases.len())?;
                let payload = variant.cases.get_index(case as usize).and_then(|(_, ty)| *ty);
                self.variant(case, &variant.info, payload, dst)
            }
            InterfaceType::Enum(names) => {
                let names = &self.types[names];
                let case = self.case(names.names.len())?;
                self.variant(case, &names.info, None, dst)
            }
            InterfaceType::Option(option) => {
                let option = &self.types[option];
                let some = self.input.bool()?;
                self.variant(u32::from(some), &option.info, some.then_some(option.ty), dst)
            }
            InterfaceType::Result(result) => {
                let result = &self.types[result];
                let err = self.input.bool()?;
                let payload = if err { result.err } else { result.ok };
                self.variant(u32::from(err), &result.info, payload, dst)
            }
            InterfaceType::Flags(flags) => {
                let count = self.types[flags].names.len();
                let width = self.types[flags].abi.size32 as usize;
                let bits = self.flags(count)?;
                let Some(dst) = dst.get_mut(..width.min(bits.len())) else { return misfit() };
                match bits.get(..dst.len()) {
                    Some(bits) => dst.copy_from_slice(bits),
                    None => return misfit(),
                }
                Ok(())
            }
            InterfaceType::Bool
            | InterfaceType::U8
            | InterfaceType::S8
            | InterfaceType::U16
            | InterfaceType::S16
            | InterfaceType::U32
            | InterfaceType::S32
            | InterfaceType::U64
            | InterfaceType::S64
            | InterfaceType::Float32
            | InterfaceType::Float64
            | InterfaceType::Char
            | InterfaceType::String
            | InterfaceType::List(_)
            | InterfaceType::Own(_)
            | InterfaceType::Borrow(_)
            | InterfaceType::Map(_)
            | InterfaceType::Future(_)
            | InterfaceType::Stream(_)
            | InterfaceType::ErrorContext(_)
            | InterfaceType::FixedLengthList(_) => self.store(ty, dst),
        }
    }

    /// A field of a record. Numbers are in the message as they are in memory.
    #[inline(always)]
    fn field(&mut self, ty: InterfaceType, next: &mut usize, dst: &mut [u8]) -> Result<()> {
        match ty {
            InterfaceType::U8 | InterfaceType::S8 => self.number::<1>(next, dst),
            InterfaceType::U16 | InterfaceType::S16 => self.number::<2>(next, dst),
            InterfaceType::U32 | InterfaceType::S32 | InterfaceType::Float32 => {
                self.number::<4>(next, dst)
            }
            InterfaceType::U64 | InterfaceType::S64 | InterfaceType::Float64 => {
                self.number::<8>(next, dst)
            }
            InterfaceType::Bool
            | InterfaceType::Char
            | InterfaceType::String
            | InterfaceType::List(_)
            | InterfaceType::Record(_)
            | InterfaceType::Tuple(_)
            | InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_)
            | InterfaceType::Flags(_)
            | InterfaceType::Own(_)
            | InterfaceType::Borrow(_)
            | InterfaceType::Map(_)
            | InterfaceType::Future(_)
            | InterfaceType::Stream(_)
            | InterfaceType::ErrorContext(_)
            | InterfaceType::FixedLengthList(_) => self.field_of(ty, next, dst),
        }
    }

    #[inline(always)]
    fn number<const WIDTH: usize>(&mut self, next: &mut usize, dst: &mut [u8]) -> Result<()> {
        let offset = Layout::scalar(WIDTH).place(next);
        let bytes = *self.input.array::<WIDTH>()?;
        match dst.get_mut(offset..) {
            Some(dst) => put(dst, bytes),
            None => misfit(),
        }
    }

    fn field_of(&mut self, ty: InterfaceType, next: &mut usize, dst: &mut [u8]) -> Result<()> {
        let layout = Layout::of(self.types, ty);
        let offset = layout.place(next);
        match dst.get_mut(offset..offset + layout.size) {
            Some(dst) => self.store(ty, dst),
            None => misfit(),
        }
    }

    fn variant(
        &mut self,
        case: u32,
        info: &VariantInfo,
        payload: Option<InterfaceType>,
        dst: &mut [u8],
    ) -> Result<()> {
        match u32::from(info.size) {
            1 => put(dst, (case as u8).to_le_bytes())?,
            2 => put(dst, (case as u16).to_le_bytes())?,
            _ => put(dst, case.to_le_bytes())?,
        }
        let Some(ty) = payload else { return Ok(()) };
        let offset = info.payload_offset32 as usize;
        let size = Layout::of(self.types, ty).size;
        match dst.get_mut(offset..offset + size) {
            Some(dst) => self.store(ty, dst),
            None => misfit(),
        }
    }

    fn case(&mut self, cases: usize) -> Result<u32> {
        Ok(self.input.discriminant(u32::try_from(cases)?)?)
    }

    /// A value into flat results.
    fn flat(&mut self, ty: InterfaceType, dst: &mut slice::IterMut<'_, ValRaw>) -> Result<()> {
        let value = match ty {
            InterfaceType::Bool => ValRaw::u32(u32::from(self.input.bool()?)),
            InterfaceType::U8 => ValRaw::u32(u32::from(self.input.u8()?)),
            InterfaceType::S8 => ValRaw::i32(i32::from(self.input.s8()?)),
            InterfaceType::U16 => ValRaw::u32(u32::from(self.input.u16()?)),
            InterfaceType::S16 => ValRaw::i32(i32::from(self.input.s16()?)),
            InterfaceType::U32 => ValRaw::u32(self.input.u32()?),
            InterfaceType::S32 => ValRaw::i32(self.input.s32()?),
            InterfaceType::U64 => ValRaw::u64(self.input.u64()?),
            InterfaceType::S64 => ValRaw::i64(self.input.s64()?),
            // As the integer of the same bits: all 64 are then written.
            InterfaceType::Float32 => ValRaw::u32(self.input.f32()?.to_bits()),
            InterfaceType::Float64 => ValRaw::u64(self.input.f64()?.to_bits()),
            InterfaceType::Char => ValRaw::u32(u32::from(self.input.char()?)),
            InterfaceType::String => {
                let pair = self.string()?;
                return flat_pair(dst, pair);
            }
            InterfaceType::List(list) => {
                let pair = self.list(self.types[list].element)?;
                return flat_pair(dst, pair);
            }
            InterfaceType::Record(record) => {
                for field in &self.types[record].fields {
                    self.flat(field.ty, dst)?;
                }
                return Ok(());
            }
            InterfaceType::Tuple(tuple) => {
                for ty in &self.types[tuple].types {
                    self.flat(*ty, dst)?;
                }
                return Ok(());
            }
            InterfaceType::Variant(variant) => {
                let variant = &self.types[variant];
                let case = self.case(variant.cases.len())?;
                let payload = variant.cases.get_index(case as usize).and_then(|(_, ty)| *ty);
                return self.flat_variant(ty, case, payload, dst);
            }
            InterfaceType::Enum(names) => {
                let cases = self.types[names].names.len();
                ValRaw::u32(self.case(cases)?)
            }
            InterfaceType::Option(option) => {
                let some = self.input.bool()?;
                let payload = some.then_some(self.types[option].ty);
                return self.flat_variant(ty, u32::from(some), payload, dst);
            }
            InterfaceType::Result(result) => {
                let result = &self.types[result];
                let err = self.input.bool()?;
                let payload = if err { result.err } else { result.ok };
                return self.flat_variant(ty, u32::from(err), payload, dst);
            }
            InterfaceType::Flags(flags) => {
                let count = self.types[flags].names.len();
                let bits = self.flags(count)?;
                for word in bits.as_chunks::<4>().0.iter().take(count.div_ceil(32)) {
                    next(dst, ValRaw::u32(u32::from_le_bytes(*word)))?;
                }
                return Ok(());
            }
            InterfaceType::Own(resource) => ValRaw::u32(self.own(resource)?),
            InterfaceType::Borrow(_)
            | InterfaceType::Map(_)
            | InterfaceType::Future(_)
            | InterfaceType::Stream(_)
            | InterfaceType::ErrorContext(_)
            | InterfaceType::FixedLengthList(_) => return unlinked(ty),
        };
        next(dst, value)
    }

    /// A variant takes as many flat values as its widest case; those beyond this one's are zero.
    fn flat_variant(
        &mut self,
        variant: InterfaceType,
        case: u32,
        payload: Option<InterfaceType>,
        dst: &mut slice::IterMut<'_, ValRaw>,
    ) -> Result<()> {
        let Some(count) = flat_count(self.types, variant) else { return misfit() };
        let left = dst.len();
        next(dst, ValRaw::u32(case))?;
        if let Some(payload) = payload {
            self.flat(payload, dst)?;
        }
        for _ in left - dst.len()..count {
            next(dst, ValRaw::u64(0))?;
        }
        Ok(())
    }

    /// The bits of a flags value, padded with zeroes to whole words.
    fn flags(&mut self, count: usize) -> Result<SmallVec<[u8; 16]>> {
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
        match self.handles.next() {
            Some(rep) => self.cx.guest_resource_lower_own(resource, *rep),
            None => bail!("a handle among the results that the link step did not expect"),
        }
    }

    /// A string into the guest's memory, in its encoding: the pointer below, the length above.
    fn string(&mut self) -> Result<u64> {
        let text = self.input.string()?;
        let mut pair = MaybeUninit::<[ValRaw; 2]>::uninit();
        text.linear_lower_to_flat(self.cx, InterfaceType::String, &mut pair)?;
        // SAFETY: lowering a string to flat values initialises both, or fails.
        let [pointer, length] = unsafe { pair.assume_init() };
        Ok(u64::from(pointer.get_u32()) | u64::from(length.get_u32()) << 32)
    }

    /// A list into the guest's memory: the pointer below, the length above.
    fn list(&mut self, element: InterfaceType) -> Result<u64> {
        let length = self.input.length()?;
        if is_number(element) {
            return self.numbers(element, length);
        }
        let (pointer, total) = self.elements(element, length)?;
        let size = Layout::of(self.types, element).size;
        if size == 0 {
            bail!("a list of elements without a size");
        }
        // Not larger than what the guest has just found room for.
        let mut elements = vec![0; total];
        for slot in elements.chunks_exact_mut(size) {
            self.store(element, slot)?;
        }
        write(self.cx, pointer, &elements)?;
        pair(pointer, length)
    }

    /// A list of numbers, which are in memory as they are in the message, as a block.
    fn numbers(&mut self, element: InterfaceType, length: usize) -> Result<u64> {
        let (pointer, total) = self.elements(element, length)?;
        let bytes = self.input.block(total)?;
        write(self.cx, pointer, bytes)?;
        pair(pointer, length)
    }

    /// Room in the guest's memory for so many elements: where it begins, and its size.
    fn elements(&mut self, element: InterfaceType, length: usize) -> Result<(usize, usize)> {
        let layout = Layout::of(self.types, element);
        let total = length.checked_mul(layout.size);
        let Some(total) = total.filter(|total| u32::try_from(*total).is_ok()) else {
            bail!("a list of {length} elements is too large for the memory");
        };
        let align = u32::try_from(layout.align)?;
        Ok((self.cx.realloc(0, 0, align, total)?, total))
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

fn put<const LEN: usize>(dst: &mut [u8], bytes: [u8; LEN]) -> Result<()> {
    match dst.first_chunk_mut() {
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

/// The runtime's layout disagrees with itself; no guest can cause it.
#[cold]
fn misfit() -> Result<()> {
    bail!("a value does not fit the place that its type has")
}
