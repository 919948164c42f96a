//! Lifting: values in a guest's memory, or in its flat arguments, become wire values.
//!
//! See the safety argument in the parent module.

use std::{cell::Cell, slice};

use backplane_wire::{BLOCK_OVERHEAD, Writer};
use smallvec::SmallVec;
use wasmtime::{
    Result, ValRaw, bail,
    component::{
        __internal::{
            CanonicalAbiInfo, ComponentTypes, InstanceType, InterfaceType, LiftContext,
            wasmtime_environ::component::{StringEncoding, TypeResourceTableIndex, VariantInfo},
        },
        ComponentNamedList, ComponentType, Lift, ResourceType,
    },
};

use super::{
    ABI_BY_RUNTIME_TYPE, FORM,
    layout::{Layout, flat_count, is_number, lone_numbers},
    message::{self, Message},
    unlinked,
};

/// The arguments of a call as wire values.
pub(super) struct Args {
    pub(super) message: Message,
    pub(super) handles: LiftedHandles,
}

/// The arguments of a call, as the runtime hands them over. `N` is the number of flat core values of the
/// parameters, or 0 where they always come in memory.
pub(super) struct RawArgs<const N: usize, H>(H);

impl<const N: usize, H: Hold> RawArgs<N, H> {
    #[inline]
    pub(super) fn take(self) -> Result<Args> {
        self.0.take()
    }
}

/// Where arguments are on their way through the runtime.
pub(super) trait Hold: Send + Sync + Sized + 'static {
    fn hold(args: Args) -> Self;

    fn take(self) -> Result<Args>;
}

/// They go along.
impl Hold for Args {
    #[inline]
    fn hold(args: Args) -> Self {
        args
    }

    #[inline]
    fn take(self) -> Result<Args> {
        Ok(self)
    }
}

/// They stay with the thread, for a call that is made in the same step in which they are lifted: each
/// move of what was written a moment before costs as much as some calls do.
pub(super) struct Kept(());

thread_local! {
    static KEPT: Cell<Option<Args>> = const { Cell::new(None) };
}

impl Hold for Kept {
    #[inline]
    fn hold(args: Args) -> Self {
        // Those of a call that was never made are dropped. A thread that ends makes none.
        drop(KEPT.try_with(|kept| kept.replace(Some(args))));
        Self(())
    }

    #[inline]
    fn take(self) -> Result<Args> {
        match KEPT.try_with(Cell::take) {
            Ok(Some(args)) => Ok(args),
            Ok(None) | Err(_) => bail!("the arguments of a call are gone"),
        }
    }
}

/// A word where there are none: arguments are moved several times on their way through the runtime.
pub(super) type LiftedHandles = Option<Box<SmallVec<[LiftedHandle; 2]>>>;

/// A handle among the arguments. Its eight bytes in the message are zero until the store's table has
/// told what it stands for.
pub(super) struct LiftedHandle {
    /// Where its eight bytes begin in the message.
    pub(super) position: usize,
    /// The representation that the host gave to the runtime.
    pub(super) rep: u32,
    /// The type that the guest's type stands for; not checked yet.
    pub(super) ty: ResourceType,
    /// Whether the guest gave the resource away.
    pub(super) owned: bool,
}

// SAFETY: `Lower` is an array of `ValRaw`, which is `Copy` and takes every bit pattern. `typecheck`
// accepts every type because the link step has compared the function's type and chosen `N` to be the
// flat count of its parameters (see `link`). The constant size of 0 is never used to touch memory: the
// size and alignment of the runtime type are, and both are checked in `load_root`.
unsafe impl<const N: usize, H: Hold> ComponentType for RawArgs<N, H> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = ABI_BY_RUNTIME_TYPE;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as for `ComponentType`: the link step has checked that the runtime type is a parameter list.
unsafe impl<const N: usize, H: Hold> ComponentNamedList for RawArgs<N, H> {}

// SAFETY: both functions read only the arguments they are given and the guest's memory, the latter
// through checked slices, and follow the runtime type.
unsafe impl<const N: usize, H: Hold> Lift for RawArgs<N, H> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &[ValRaw; N],
    ) -> Result<Self> {
        let room = room(cx, ty, src);
        let mut lifter = Lifter::new(cx, room);
        let mut flat = src.iter();
        match lone_numbers(lifter.types, ty) {
            Some(element) => {
                let (pointer, length) = flat_pair(&mut flat)?;
                lifter.numbers(element, pointer, length)?;
            }
            None => lifter.flat(ty, &mut flat)?,
        }
        Ok(Self(H::hold(lifter.finish())))
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        // The constant size is 0, so `bytes` is empty; it tells where the parameters are.
        let offset = (bytes.as_ptr() as usize).checked_sub(cx.memory().as_ptr() as usize);
        let Some(offset) = offset else { bail!("the parameters lie outside of the memory") };
        let mut lifter = Lifter::new(cx, TYPICAL_MESSAGE);
        lifter.load_root(ty, offset)?;
        Ok(Self(H::hold(lifter.finish())))
    }
}

/// Room that most messages fit in, the bytes of their strings and lists apart.
const TYPICAL_MESSAGE: usize = 96;

/// Room for a message with what its strings and lists hold, as far as the flat arguments tell: a
/// message should be allocated once. Made on the guest's word, and so never more than it could have.
#[inline]
fn room(cx: &LiftContext<'_>, ty: InterfaceType, src: &[ValRaw]) -> usize {
    let types: &ComponentTypes = cx.types;
    let InterfaceType::Tuple(tuple) = ty else { return TYPICAL_MESSAGE };
    let most = cx.memory().len();
    let mut room = TYPICAL_MESSAGE;
    let mut at = 0;
    for ty in &types[tuple].types {
        let length = || src.get(at + 1).map_or(0, |length| length.get_u32() as usize);
        match *ty {
            InterfaceType::String => room += length().min(most) + BLOCK_OVERHEAD,
            InterfaceType::List(list) => {
                let element = Layout::of(types, types[list].element);
                room += length().saturating_mul(element.size).min(most) + BLOCK_OVERHEAD;
            }
            _ => {}
        }
        at += flat_count(types, *ty).unwrap_or_default();
    }
    room.min(most.max(TYPICAL_MESSAGE) + BLOCK_OVERHEAD)
}

struct Lifter<'c, 'm> {
    cx: &'c mut LiftContext<'m>,
    types: &'m ComponentTypes,
    memory: &'m [u8],
    out: Writer,
    /// Of the guest's strings, once it was asked for.
    encoding: Option<StringEncoding>,
    handles: LiftedHandles,
}

impl<'c, 'm> Lifter<'c, 'm> {
    fn new(cx: &'c mut LiftContext<'m>, room: usize) -> Self {
        // Without a memory option `memory()` would panic, so it is taken only when first needed:
        // a function whose types need no memory may be lowered without one.
        let types: &'m ComponentTypes = cx.types;
        Self {
            cx,
            types,
            memory: &[],
            out: Writer::append_to(message::room(room), FORM),
            encoding: None,
            handles: None,
        }
    }

    #[inline]
    fn finish(self) -> Args {
        Args { message: Message::new(self.out.into_vec()), handles: self.handles }
    }

    /// The guest's memory. Only types that lie in memory ask for it, and the runtime has refused
    /// functions with such types and no memory.
    fn memory(&mut self) -> &'m [u8] {
        if self.memory.is_empty() {
            self.memory = self.cx.memory();
        }
        self.memory
    }

    fn bytes(&mut self, offset: usize, length: usize) -> Result<&'m [u8]> {
        match offset.checked_add(length).and_then(|end| self.memory().get(offset..end)) {
            Some(bytes) => Ok(bytes),
            None => bail!("a value lies outside of the memory"),
        }
    }

    fn array<const LEN: usize>(&mut self, offset: usize) -> Result<[u8; LEN]> {
        match self.memory().get(offset..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => Ok(*bytes),
            None => bail!("a value lies outside of the memory"),
        }
    }

    /// Parameters that come in memory.
    fn load_root(&mut self, ty: InterfaceType, offset: usize) -> Result<()> {
        let layout = Layout::of(self.types, ty);
        if !offset.is_multiple_of(layout.align) {
            bail!("the parameters are not aligned");
        }
        self.bytes(offset, layout.size)?;
        match lone_numbers(self.types, ty) {
            Some(element) => {
                let (pointer, length) = self.pair(offset)?;
                self.numbers(element, pointer, length)
            }
            None => self.load(ty, offset),
        }
    }

    /// A value in memory. `offset` is aligned: the root's was checked, and so is every list's.
    #[inline(always)]
    fn load(&mut self, ty: InterfaceType, offset: usize) -> Result<()> {
        match ty {
            InterfaceType::Bool => {
                let [byte] = self.array(offset)?;
                self.out.bool(byte != 0);
            }
            InterfaceType::U8 | InterfaceType::S8 => {
                let [byte] = self.array(offset)?;
                self.out.u8(byte);
            }
            InterfaceType::U16 | InterfaceType::S16 => self.number::<2>(offset)?,
            InterfaceType::U32 | InterfaceType::S32 | InterfaceType::Float32 => {
                self.number::<4>(offset)?;
            }
            InterfaceType::U64 | InterfaceType::S64 | InterfaceType::Float64 => {
                self.number::<8>(offset)?;
            }
            InterfaceType::Char => {
                let value = char_from(u32::from_le_bytes(self.array(offset)?))?;
                self.out.char(value);
            }
            InterfaceType::String => {
                let (pointer, length) = self.pair(offset)?;
                self.string(pointer, length)?;
            }
            InterfaceType::List(list) => {
                let (pointer, length) = self.pair(offset)?;
                self.list(self.types[list].element, pointer, length)?;
            }
            InterfaceType::Record(_)
            | InterfaceType::Tuple(_)
            | InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_)
            | InterfaceType::Flags(_) => return self.load_nested(ty, offset),
            InterfaceType::Own(resource) => {
                let index = u32::from_le_bytes(self.array(offset)?);
                self.own(resource, index)?;
            }
            InterfaceType::Borrow(resource) => {
                let index = u32::from_le_bytes(self.array(offset)?);
                self.borrow(resource, index)?;
            }
            InterfaceType::Map(_)
            | InterfaceType::Future(_)
            | InterfaceType::Stream(_)
            | InterfaceType::ErrorContext(_)
            | InterfaceType::FixedLengthList(_) => return unlinked(ty),
        }
        Ok(())
    }

    /// A value that has others in it, or cases.
    fn load_nested(&mut self, ty: InterfaceType, offset: usize) -> Result<()> {
        match ty {
            InterfaceType::Record(record) => {
                let mut next = offset;
                for field in &self.types[record].fields {
                    self.field(field.ty, &mut next)?;
                }
            }
            InterfaceType::Tuple(tuple) => {
                let mut next = offset;
                for ty in &self.types[tuple].types {
                    self.field(*ty, &mut next)?;
                }
            }
            InterfaceType::Variant(variant) => {
                let variant = &self.types[variant];
                let case = self.discriminant(&variant.info, offset, variant.cases.len())?;
                self.out.discriminant(case);
                let payload = variant.cases.get_index(case as usize).and_then(|(_, ty)| *ty);
                self.payload(payload, &variant.info, offset)?;
            }
            InterfaceType::Enum(names) => {
                let names = &self.types[names];
                let case = self.discriminant(&names.info, offset, names.names.len())?;
                self.out.discriminant(case);
            }
            InterfaceType::Option(option) => {
                let option = &self.types[option];
                let case = self.discriminant(&option.info, offset, 2)?;
                self.out.bool(case == 1);
                self.payload((case == 1).then_some(option.ty), &option.info, offset)?;
            }
            InterfaceType::Result(result) => {
                let result = &self.types[result];
                let case = self.discriminant(&result.info, offset, 2)?;
                self.out.bool(case == 1);
                let payload = if case == 1 { result.err } else { result.ok };
                self.payload(payload, &result.info, offset)?;
            }
            InterfaceType::Flags(flags) => {
                let count = self.types[flags].names.len();
                let width = self.types[flags].abi.size32 as usize;
                let bytes = self.bytes(offset, width)?;
                self.flags(count, bytes);
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
            | InterfaceType::FixedLengthList(_) => return self.load(ty, offset),
        }
        Ok(())
    }

    /// A number in memory, which is in a local message as it is there.
    #[inline(always)]
    fn number<const WIDTH: usize>(&mut self, offset: usize) -> Result<()> {
        let bytes = self.array::<WIDTH>(offset)?;
        self.out.raw(&bytes);
        Ok(())
    }

    fn field(&mut self, ty: InterfaceType, next: &mut usize) -> Result<()> {
        let offset = Layout::of(self.types, ty).place(next);
        self.load(ty, offset)
    }

    fn payload(
        &mut self,
        ty: Option<InterfaceType>,
        info: &VariantInfo,
        offset: usize,
    ) -> Result<()> {
        match ty {
            // Inside the size of the variant, which was checked: no overflow.
            Some(ty) => self.load(ty, offset + info.payload_offset32 as usize),
            None => Ok(()),
        }
    }

    fn discriminant(&mut self, info: &VariantInfo, offset: usize, cases: usize) -> Result<u32> {
        let case = match u32::from(info.size) {
            1 => u32::from(u8::from_le_bytes(self.array(offset)?)),
            2 => u32::from(u16::from_le_bytes(self.array(offset)?)),
            _ => u32::from_le_bytes(self.array(offset)?),
        };
        check_case(case, cases)?;
        Ok(case)
    }

    /// The pointer and length of a string or list in memory.
    fn pair(&mut self, offset: usize) -> Result<(usize, usize)> {
        let pair = u64::from_le_bytes(self.array(offset)?);
        Ok((pair as u32 as usize, (pair >> 32) as usize))
    }

    /// A value in flat arguments.
    #[inline(always)]
    fn flat(&mut self, ty: InterfaceType, src: &mut slice::Iter<'_, ValRaw>) -> Result<()> {
        match ty {
            InterfaceType::Bool => self.out.bool(next(src)?.get_u32() != 0),
            InterfaceType::U8 | InterfaceType::S8 => self.out.u8(next(src)?.get_u32() as u8),
            InterfaceType::U16 | InterfaceType::S16 => {
                self.out.raw(&(next(src)?.get_u32() as u16).to_le_bytes());
            }
            InterfaceType::U32 | InterfaceType::S32 => {
                self.out.raw(&next(src)?.get_u32().to_le_bytes());
            }
            InterfaceType::U64 | InterfaceType::S64 => {
                self.out.raw(&next(src)?.get_u64().to_le_bytes());
            }
            InterfaceType::Float32 => self.out.raw(&next(src)?.get_f32().to_le_bytes()),
            InterfaceType::Float64 => self.out.raw(&next(src)?.get_f64().to_le_bytes()),
            InterfaceType::Char => self.out.char(char_from(next(src)?.get_u32())?),
            InterfaceType::String => {
                let (pointer, length) = flat_pair(src)?;
                self.string(pointer, length)?;
            }
            InterfaceType::List(list) => {
                let (pointer, length) = flat_pair(src)?;
                self.list(self.types[list].element, pointer, length)?;
            }
            InterfaceType::Record(_)
            | InterfaceType::Tuple(_)
            | InterfaceType::Variant(_)
            | InterfaceType::Enum(_)
            | InterfaceType::Option(_)
            | InterfaceType::Result(_)
            | InterfaceType::Flags(_) => return self.flat_nested(ty, src),
            InterfaceType::Own(resource) => self.own(resource, next(src)?.get_u32())?,
            InterfaceType::Borrow(resource) => self.borrow(resource, next(src)?.get_u32())?,
            InterfaceType::Map(_)
            | InterfaceType::Future(_)
            | InterfaceType::Stream(_)
            | InterfaceType::ErrorContext(_)
            | InterfaceType::FixedLengthList(_) => return unlinked(ty),
        }
        Ok(())
    }

    /// A value that has others in it, or cases.
    fn flat_nested(&mut self, ty: InterfaceType, src: &mut slice::Iter<'_, ValRaw>) -> Result<()> {
        match ty {
            InterfaceType::Record(record) => {
                for field in &self.types[record].fields {
                    self.flat(field.ty, src)?;
                }
            }
            InterfaceType::Tuple(tuple) => {
                for ty in &self.types[tuple].types {
                    self.flat(*ty, src)?;
                }
            }
            InterfaceType::Variant(index) => {
                let variant = &self.types[index];
                let case = next(src)?.get_u32();
                check_case(case, variant.cases.len())?;
                self.out.discriminant(case);
                let payload = variant.cases.get_index(case as usize).and_then(|(_, ty)| *ty);
                self.flat_payload(ty, payload, src)?;
            }
            InterfaceType::Enum(names) => {
                let case = next(src)?.get_u32();
                check_case(case, self.types[names].names.len())?;
                self.out.discriminant(case);
            }
            InterfaceType::Option(option) => {
                let case = next(src)?.get_u32();
                check_case(case, 2)?;
                self.out.bool(case == 1);
                self.flat_payload(ty, (case == 1).then_some(self.types[option].ty), src)?;
            }
            InterfaceType::Result(result) => {
                let case = next(src)?.get_u32();
                check_case(case, 2)?;
                self.out.bool(case == 1);
                let result = &self.types[result];
                let payload = if case == 1 { result.err } else { result.ok };
                self.flat_payload(ty, payload, src)?;
            }
            InterfaceType::Flags(flags) => {
                let count = self.types[flags].names.len();
                let mut bytes = SmallVec::<[u8; 16]>::new();
                for _ in 0..count.div_ceil(32) {
                    bytes.extend_from_slice(&next(src)?.get_u32().to_le_bytes());
                }
                self.flags(count, &bytes);
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
            | InterfaceType::FixedLengthList(_) => return self.flat(ty, src),
        }
        Ok(())
    }

    /// The payload of a variant's case. The variant takes as many flat values as its widest case, so
    /// those that this case does not use are passed over.
    fn flat_payload(
        &mut self,
        variant: InterfaceType,
        payload: Option<InterfaceType>,
        src: &mut slice::Iter<'_, ValRaw>,
    ) -> Result<()> {
        let count = |types: &ComponentTypes, ty| match flat_count(types, ty) {
            Some(count) => Ok(count),
            None => bail!("a type without flat values among flat arguments"),
        };
        let mut unused = count(self.types, variant)?.saturating_sub(1);
        if let Some(payload) = payload {
            unused = unused.saturating_sub(count(self.types, payload)?);
            self.flat(payload, src)?;
        }
        for _ in 0..unused {
            next(src)?;
        }
        Ok(())
    }

    fn flags(&mut self, count: usize, bytes: &[u8]) {
        let (whole, rest) = (count / 8, count % 8);
        for (index, byte) in bytes.iter().take(count.div_ceil(8)).enumerate() {
            // The canonical ABI ignores the bits that name no flag.
            let mask = if index == whole { (1_u8 << rest) - 1 } else { 0xff };
            self.out.u8(byte & mask);
        }
    }

    fn own(&mut self, resource: TypeResourceTableIndex, index: u32) -> Result<()> {
        let (rep, _, _) = self.cx.guest_resource_lift_own(resource, index)?;
        self.handle(resource, rep, true);
        Ok(())
    }

    fn borrow(&mut self, resource: TypeResourceTableIndex, index: u32) -> Result<()> {
        let rep = self.cx.guest_resource_lift_borrow(resource, index)?;
        self.handle(resource, rep, false);
        Ok(())
    }

    fn handle(&mut self, resource: TypeResourceTableIndex, rep: u32, owned: bool) {
        let ty = self.cx.resource_type(resource);
        self.out.handle(0);
        let position = self.out.len() - size_of::<u64>();
        let handle = LiftedHandle { position, rep, ty, owned };
        self.handles.get_or_insert_default().push(handle);
    }

    fn string(&mut self, pointer: usize, length: usize) -> Result<()> {
        /// Set in the length of a string of the `latin1+utf16` encoding that is UTF-16.
        const UTF16: usize = 1 << 31;
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => *self.encoding.insert(self.cx.options().string_encoding),
        };
        match encoding {
            StringEncoding::Utf8 => {
                let bytes = self.text(pointer, Some(length), 1)?;
                self.out.string(std::str::from_utf8(bytes)?);
            }
            StringEncoding::Utf16 => self.utf16(pointer, length)?,
            StringEncoding::CompactUtf16 if length & UTF16 != 0 => {
                self.utf16(pointer, length ^ UTF16)?;
            }
            StringEncoding::CompactUtf16 => {
                let bytes = self.text(pointer, Some(length), 2)?;
                self.out.string(&encoding_rs::mem::decode_latin1(bytes));
            }
        }
        Ok(())
    }

    fn utf16(&mut self, pointer: usize, units: usize) -> Result<()> {
        let bytes = self.text(pointer, units.checked_mul(2), 2)?;
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let text: String = char::decode_utf16(units).collect::<Result<_, _>>()?;
        self.out.string(&text);
        Ok(())
    }

    /// The bytes of a string.
    fn text(&mut self, pointer: usize, length: Option<usize>, align: usize) -> Result<&'m [u8]> {
        if !pointer.is_multiple_of(align) {
            bail!("a string is not aligned");
        }
        let Some(length) = length else { bail!("a string lies outside of the memory") };
        let bytes = self.bytes(pointer, length)?;
        self.cx.consume_fuel(length)?;
        Ok(bytes)
    }

    fn list(&mut self, element: InterfaceType, pointer: usize, length: usize) -> Result<()> {
        self.out.length(length);
        if is_number(element) {
            return self.numbers(element, pointer, length);
        }
        let size = Layout::of(self.types, element).size;
        let bytes = self.elements(element, pointer, length)?;
        self.out.reserve(bytes.len());
        for index in 0..length {
            // Within `bytes`, which lie in memory: no overflow.
            self.load(element, pointer + index * size)?;
        }
        Ok(())
    }

    /// A list of numbers without its length: as a block, they are in the message as they are in memory.
    fn numbers(&mut self, element: InterfaceType, pointer: usize, length: usize) -> Result<()> {
        let bytes = self.elements(element, pointer, length)?;
        self.out.block(bytes);
        Ok(())
    }

    /// The memory of a list's elements.
    fn elements(
        &mut self,
        element: InterfaceType,
        pointer: usize,
        length: usize,
    ) -> Result<&'m [u8]> {
        let layout = Layout::of(self.types, element);
        if !pointer.is_multiple_of(layout.align) {
            bail!("a list is not aligned");
        }
        let Some(total) = length.checked_mul(layout.size) else {
            bail!("a list lies outside of the memory");
        };
        let bytes = self.bytes(pointer, total)?;
        // Fuel bounds what overlapping lists can amplify; an element costs at least one.
        self.cx.consume_fuel(total.max(length))?;
        Ok(bytes)
    }
}

fn next<'a>(src: &mut slice::Iter<'a, ValRaw>) -> Result<&'a ValRaw> {
    match src.next() {
        Some(value) => Ok(value),
        None => bail!("too few flat arguments"),
    }
}

fn flat_pair(src: &mut slice::Iter<'_, ValRaw>) -> Result<(usize, usize)> {
    Ok((next(src)?.get_u32() as usize, next(src)?.get_u32() as usize))
}

fn char_from(value: u32) -> Result<char> {
    match char::from_u32(value) {
        Some(value) => Ok(value),
        None => bail!("{value:#x} is not a Unicode scalar value"),
    }
}

fn check_case(case: u32, cases: usize) -> Result<()> {
    if case as usize >= cases {
        bail!("discriminant {case} of a type with {cases} cases");
    }
    Ok(())
}
