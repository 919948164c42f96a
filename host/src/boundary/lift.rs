//! Lifting: values in a guest's memory, or in its flat arguments, become wire values.
//!
//! See the safety argument in the parent module.

use std::{cell::Cell, slice, sync::Arc};

use backplane_wire::{BLOCK_OVERHEAD, Writer};
use smallvec::SmallVec;
use wasmtime::{
    Result, ValRaw, bail,
    component::{
        __internal::{
            CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext,
            wasmtime_environ::component::{StringEncoding, TypeResourceTableIndex},
        },
        ComponentNamedList, ComponentType, Lift, ResourceAny, ResourceType,
    },
};

use super::{
    ABI_BY_RUNTIME_TYPE, FORM, is_aligned,
    kind::Kind,
    message::{self, Message},
    misfit,
    plan::{self, Cases, Flags, Layout, Number, Offset, Plan, Root, Run, Step},
    readable::Readable,
    value::{self, Value},
};

/// Wire values that came out of a guest: the arguments of a call that it makes, or the results of one that was
/// made of it.
pub(super) struct Lifted {
    pub(super) message: Message,
    pub(super) handles: LiftedHandles,
}

/// The same, as the runtime hands it over. `N` is the number of flat core values, or 0 where arguments always
/// come in memory; results that do have more than pass flat.
pub(super) struct RawLifted<const N: usize, H>(H);

impl<const N: usize, H: Hold> RawLifted<N, H> {
    #[inline(always)]
    pub(super) fn take(self) -> Result<Lifted> {
        self.0.take()
    }
}

/// Where arguments are on their way through the runtime.
pub(super) trait Hold: Send + Sync + Sized + 'static {
    /// Whether the resources among the values are the guest's own, and not those of others that it holds.
    const IS_OWN: bool = false;

    fn hold(args: Lifted) -> Self;

    fn take(self) -> Result<Lifted>;
}

/// They go along.
impl Hold for Lifted {
    #[inline]
    fn hold(args: Lifted) -> Self {
        args
    }

    #[inline]
    fn take(self) -> Result<Lifted> {
        Ok(self)
    }
}

/// Values that a component returns whose resources are its own.
pub(super) struct Offered(Lifted);

impl Hold for Offered {
    const IS_OWN: bool = true;

    fn hold(args: Lifted) -> Self {
        Self(args)
    }

    fn take(self) -> Result<Lifted> {
        Ok(self.0)
    }
}

/// They stay with the thread, for a call that is made in the same step in which they are lifted: each
/// move of what was written a moment before costs as much as some calls do.
pub(super) struct Kept(());

/// The parts of [`Lifted`], each with a place of its own: they are written one by one.
struct Places {
    message: Cell<Vec<u8>>,
    handles: Cell<LiftedHandles>,
    are_there: Cell<bool>,
}

thread_local! {
    static KEPT: Places = const {
        Places {
            message: Cell::new(Vec::new()),
            handles: Cell::new(None),
            are_there: Cell::new(false),
        }
    };
}

impl Hold for Kept {
    #[inline(always)]
    fn hold(args: Lifted) -> Self {
        let Lifted { message, handles } = args;
        // Those of a call that was never made are dropped. A thread that ends makes none.
        let kept = KEPT.try_with(|kept| {
            kept.are_there.set(true);
            (kept.message.replace(message.into_vec()), kept.handles.replace(handles))
        });
        drop(kept);
        Self(())
    }

    #[inline(always)]
    fn take(self) -> Result<Lifted> {
        let kept = KEPT.try_with(|kept| match kept.are_there.replace(false) {
            true => Some(Lifted {
                message: Message::new(kept.message.take()),
                handles: kept.handles.take(),
            }),
            false => None,
        });
        match kept {
            Ok(Some(args)) => Ok(args),
            Ok(None) | Err(_) => bail!("the arguments of a call are gone"),
        }
    }
}

/// A word where there are none: arguments are moved several times on their way through the runtime.
pub(super) type LiftedHandles = Option<Box<Handles>>;

/// What a message stands for that is not its bytes.
#[derive(Default)]
pub(super) struct Handles {
    pub(super) resources: SmallVec<[LiftedHandle; 2]>,
    pub(super) streams: SmallVec<[LiftedStream; 1]>,
    /// The guest's own resources.
    pub(super) own: SmallVec<[LiftedOwn; 1]>,
}

/// A resource of the guest's own that it returns. Its eight bytes in the message are zero until it has a handle.
pub(super) struct LiftedOwn {
    /// Where its eight bytes begin in the message.
    pub(super) position: usize,
    pub(super) resource: ResourceAny,
}

/// A stream that the guest gives away. Its eight bytes in the message are zero until it has a channel.
pub(super) struct LiftedStream {
    /// Where its eight bytes begin in the message.
    pub(super) position: usize,
    pub(super) stream: Readable,
}

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
unsafe impl<const N: usize, H: Hold> ComponentType for RawLifted<N, H> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = ABI_BY_RUNTIME_TYPE;

    fn typecheck(_: &InterfaceType, _: &InstanceType<'_>) -> Result<()> {
        Ok(())
    }
}

// SAFETY: as for `ComponentType`: the link step has checked that the runtime type is a parameter list.
unsafe impl<const N: usize, H: Hold> ComponentNamedList for RawLifted<N, H> {}

// SAFETY: both functions read only the arguments they are given and the guest's memory, the latter
// through checked slices, and follow the runtime type.
unsafe impl<const N: usize, H: Hold> Lift for RawLifted<N, H> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &[ValRaw; N],
    ) -> Result<Self> {
        let root = plan::of_parameters(cx.types, ty)?;
        let room = room(cx, &root, src);
        let mut lifter = Lifter::new(cx, room, H::IS_OWN);
        let mut flat = src.iter();
        match root.lone {
            Some(width) => {
                let (pointer, length) = flat_pair(&mut flat)?;
                lifter.numbers(width, pointer, length)?;
            }
            None => lifter.flat(&root.plan.steps, &mut flat)?,
        }
        Ok(Self(H::hold(lifter.finish())))
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        let offset = offset(cx, bytes)?;
        let root = plan::of_parameters(cx.types, ty)?;
        let mut lifter = Lifter::new(cx, TYPICAL_MESSAGE, H::IS_OWN);
        lifter.load_root(&root, offset)?;
        Ok(Self(H::hold(lifter.finish())))
    }
}

// SAFETY: as for `RawLifted`: the values are read through checked slices, by the runtime type.
unsafe impl Lift for Value {
    fn linear_lift_from_flat(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &Self::Lower,
    ) -> Result<Self> {
        misfit()
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        let offset = offset(cx, bytes)?;
        let types = Arc::clone(cx.types);
        value::lifting(&types, ty, |plan, count| {
            let mut lifter = Lifter::new(cx, TYPICAL_MESSAGE, false);
            lifter.list(plan, offset, count)?;
            match lifter.finish() {
                Lifted { message, handles: None } => Ok(message.into_vec()),
                Lifted { handles: Some(_), .. } => misfit(),
            }
        })
    }
}

/// Where bytes are in the guest's memory. The constant size of what is lifted is 0, so they are none; the place that
/// they have is what they tell.
fn offset(cx: &LiftContext<'_>, bytes: &[u8]) -> Result<usize> {
    match (bytes.as_ptr() as usize).checked_sub(cx.memory().as_ptr() as usize) {
        Some(offset) => Ok(offset),
        None => bail!("a value lies outside of the memory"),
    }
}

/// Room that most messages fit in, the bytes of their strings and lists apart.
const TYPICAL_MESSAGE: usize = 96;

/// Room for a message with what its strings and lists hold, as far as the flat arguments tell: a
/// message should be allocated once. Made on the guest's word, and so never more than it could have.
#[inline]
fn room(cx: &LiftContext<'_>, root: &Root, src: &[ValRaw]) -> usize {
    let most = cx.memory().len();
    let mut room = TYPICAL_MESSAGE;
    for length in &root.lengths {
        let elements = src.get(length.place).map_or(0, |length| length.get_u32() as usize);
        room += elements.saturating_mul(length.element).min(most) + BLOCK_OVERHEAD;
    }
    room.min(most.max(TYPICAL_MESSAGE) + BLOCK_OVERHEAD)
}

struct Lifter<'c, 'm> {
    cx: &'c mut LiftContext<'m>,
    memory: &'m [u8],
    out: Writer,
    /// Of the guest's strings, once it was asked for.
    encoding: Option<StringEncoding>,
    handles: LiftedHandles,
    is_own: bool,
}

impl<'c, 'm> Lifter<'c, 'm> {
    #[inline]
    fn new(cx: &'c mut LiftContext<'m>, room: usize, is_own: bool) -> Self {
        // Without a memory option `memory()` would panic, so it is taken only when first needed:
        // a function whose types need no memory may be lowered without one.
        Self {
            cx,
            memory: &[],
            out: Writer::append_to(message::room(room), FORM),
            encoding: None,
            handles: None,
            is_own,
        }
    }

    #[inline]
    fn finish(self) -> Lifted {
        Lifted { message: Message::new(self.out.into_vec()), handles: self.handles }
    }

    /// Bytes of the guest's memory. Only types that lie in memory ask for it, and the runtime has refused
    /// functions with such types and no memory.
    fn bytes(&mut self, offset: usize, length: usize) -> Result<&'m [u8]> {
        if self.memory.is_empty() {
            self.memory = self.cx.memory();
        }
        match offset.checked_add(length).and_then(|end| self.memory.get(offset..end)) {
            Some(bytes) => Ok(bytes),
            None => bail!("a value lies outside of the memory"),
        }
    }

    /// Parameters that come in memory.
    fn load_root(&mut self, root: &Root, offset: usize) -> Result<()> {
        let Layout { size, align } = root.plan.layout;
        if !is_aligned(offset, align) {
            bail!("the parameters are not aligned");
        }
        let value = self.bytes(offset, size)?;
        match root.lone {
            Some(width) => {
                let (pointer, length) = pair(value, 0)?;
                self.numbers(width, pointer, length)
            }
            None => self.load(&root.plan.steps, value),
        }
    }

    /// A value in memory.
    fn load(&mut self, steps: &[Step], value: &[u8]) -> Result<()> {
        for step in steps {
            match *step {
                Step::Number(Number { offset, width, .. }) => match width {
                    1 => self.out.raw(&array::<1>(value, offset)?),
                    2 => self.out.raw(&array::<2>(value, offset)?),
                    4 => self.out.raw(&array::<4>(value, offset)?),
                    _ => self.out.raw(&array::<8>(value, offset)?),
                },
                Step::Numbers(ref run) => {
                    let numbers = run.numbers.iter();
                    self.run(run, numbers.map(|number| bits(value, number)))?;
                }
                Step::Bool(offset) => {
                    let [byte] = array(value, offset)?;
                    self.out.bool(byte != 0);
                }
                Step::Char(offset) => {
                    let value = char_from(u32::from_le_bytes(array(value, offset)?))?;
                    self.out.char(value);
                }
                Step::String(offset) => {
                    let (pointer, length) = pair(value, offset)?;
                    self.string(pointer, length)?;
                }
                Step::ListOfNumbers(offset, width) => {
                    let (pointer, length) = pair(value, offset)?;
                    self.out.length(length);
                    self.numbers(width, pointer, length)?;
                }
                Step::List(offset, ref element) => {
                    let (pointer, length) = pair(value, offset)?;
                    self.list(element, pointer, length)?;
                }
                Step::Cases(offset, ref cases) => self.load_case(cases, value, offset)?,
                Step::Flags(offset, flags) => {
                    self.flags(flags, part(value, offset, flags.size as usize)?);
                }
                Step::Own(offset, resource) => {
                    self.own(resource, u32::from_le_bytes(array(value, offset)?))?;
                }
                Step::Borrow(offset, resource) => {
                    self.borrow(resource, u32::from_le_bytes(array(value, offset)?))?;
                }
                Step::Stream(offset, stream, kind) => {
                    self.stream(stream, kind, u32::from_le_bytes(array(value, offset)?))?;
                }
            }
        }
        Ok(())
    }

    fn load_case(&mut self, cases: &Cases, value: &[u8], offset: Offset) -> Result<()> {
        let case = match cases.width {
            1 => u32::from(u8::from_le_bytes(array(value, offset)?)),
            2 => u32::from(u16::from_le_bytes(array(value, offset)?)),
            _ => u32::from_le_bytes(array(value, offset)?),
        };
        match self.case(cases, case)? {
            Some(plan) => {
                let begins = offset as usize + cases.payload;
                let payload = value.get(begins..begins + plan.layout.size);
                let Some(payload) = payload else { return misfit() };
                self.load(&plan.steps, payload)
            }
            None => Ok(()),
        }
    }

    /// Which case a variant has; its payload's plan.
    fn case<'p>(&mut self, cases: &'p Cases, case: u32) -> Result<Option<&'p Plan>> {
        let Some(payload) = cases.payloads.get(case as usize) else {
            bail!("discriminant {case} of a type with {} cases", cases.payloads.len());
        };
        if cases.is_bool {
            self.out.bool(case == 1)
        } else {
            self.out.discriminant(case)
        }
        Ok(payload.as_ref())
    }

    /// Numbers by their bits.
    #[inline]
    fn run(&mut self, run: &Run, bits: impl Iterator<Item = Result<u64>>) -> Result<()> {
        const ROOM: usize = Run::MOST + size_of::<u64>();
        let mut written = Ok(());
        self.out.fixed::<ROOM>(run.bytes, |room| {
            let mut at = 0;
            written = run.numbers.iter().zip(bits).try_for_each(|(number, bits)| {
                // Eight bytes of each: those that it does not have, the next one is written over.
                let place = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
                let Some(place) = place else { return misfit() };
                *place = bits?.to_le_bytes();
                at += usize::from(number.width);
                Ok(())
            });
        });
        written
    }

    /// A value in flat arguments.
    fn flat(&mut self, steps: &[Step], src: &mut slice::Iter<'_, ValRaw>) -> Result<()> {
        for step in steps {
            match *step {
                Step::Number(Number { width, .. }) => {
                    let value = next(src)?;
                    match width {
                        1 => self.out.u8(value.get_u32() as u8),
                        2 => self.out.raw(&(value.get_u32() as u16).to_le_bytes()),
                        4 => self.out.raw(&value.get_u32().to_le_bytes()),
                        _ => self.out.raw(&value.get_u64().to_le_bytes()),
                    }
                }
                Step::Numbers(ref run) => {
                    let Some((values, rest)) = src.as_slice().split_at_checked(run.numbers.len())
                    else {
                        return too_few();
                    };
                    *src = rest.iter();
                    let numbers = run.numbers.iter().zip(values);
                    self.run(run, numbers.map(|(number, value)| Ok(flat_bits(value, number))))?;
                }
                Step::Bool(_) => self.out.bool(next(src)?.get_u32() != 0),
                Step::Char(_) => self.out.char(char_from(next(src)?.get_u32())?),
                Step::String(_) => {
                    let (pointer, length) = flat_pair(src)?;
                    self.string(pointer, length)?;
                }
                Step::ListOfNumbers(_, width) => {
                    let (pointer, length) = flat_pair(src)?;
                    self.out.length(length);
                    self.numbers(width, pointer, length)?;
                }
                Step::List(_, ref element) => {
                    let (pointer, length) = flat_pair(src)?;
                    self.list(element, pointer, length)?;
                }
                Step::Cases(_, ref cases) => self.flat_case(cases, src)?,
                Step::Flags(_, flags) => {
                    let mut bytes = SmallVec::<[u8; 16]>::new();
                    for _ in 0..step.flat() {
                        bytes.extend_from_slice(&next(src)?.get_u32().to_le_bytes());
                    }
                    self.flags(flags, &bytes);
                }
                Step::Own(_, resource) => self.own(resource, next(src)?.get_u32())?,
                Step::Borrow(_, resource) => self.borrow(resource, next(src)?.get_u32())?,
                Step::Stream(_, stream, kind) => self.stream(stream, kind, next(src)?.get_u32())?,
            }
        }
        Ok(())
    }

    /// A variant takes as many flat values as its widest case, so those that this case does not use are
    /// passed over.
    fn flat_case(&mut self, cases: &Cases, src: &mut slice::Iter<'_, ValRaw>) -> Result<()> {
        let case = next(src)?.get_u32();
        let mut unused = cases.flat - 1;
        if let Some(plan) = self.case(cases, case)? {
            unused -= plan.flat;
            self.flat(&plan.steps, src)?;
        }
        for _ in 0..unused {
            next(src)?;
        }
        Ok(())
    }

    fn flags(&mut self, flags: Flags, bytes: &[u8]) {
        let (whole, rest) = (flags.count as usize / 8, flags.count % 8);
        for (index, byte) in bytes.iter().take(flags.count.div_ceil(8) as usize).enumerate() {
            // The canonical ABI ignores the bits that name no flag.
            let mask = if index == whole { (1_u8 << rest) - 1 } else { 0xff };
            self.out.u8(byte & mask);
        }
    }

    fn own(&mut self, resource: TypeResourceTableIndex, index: u32) -> Result<()> {
        if self.is_own {
            let (ty, index) = (InterfaceType::Own(resource), ValRaw::u32(index));
            let resource = ResourceAny::linear_lift_from_flat(self.cx, ty, &index)?;
            self.out.handle(0);
            let position = self.out.len() - size_of::<u64>();
            self.handles.get_or_insert_default().own.push(LiftedOwn { position, resource });
            return Ok(());
        }
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
        self.handles.get_or_insert_default().resources.push(handle);
    }

    fn stream(&mut self, ty: InterfaceType, kind: Kind, index: u32) -> Result<()> {
        let stream = Readable::lift(self.cx, ty, kind, index)?;
        self.out.handle(0);
        let position = self.out.len() - size_of::<u64>();
        self.handles.get_or_insert_default().streams.push(LiftedStream { position, stream });
        Ok(())
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
        if !is_aligned(pointer, align) {
            bail!("a string is not aligned");
        }
        let Some(length) = length else { bail!("a string lies outside of the memory") };
        let bytes = self.bytes(pointer, length)?;
        self.cx.consume_fuel(length)?;
        Ok(bytes)
    }

    fn list(&mut self, element: &Plan, pointer: usize, length: usize) -> Result<()> {
        self.out.length(length);
        let Layout { size, align } = element.layout;
        let bytes = self.elements(size, align, pointer, length)?;
        self.out.reserve(bytes.len());
        if size == 0 {
            bail!("a list of elements without a size");
        }
        for value in bytes.chunks_exact(size) {
            self.load(&element.steps, value)?;
        }
        Ok(())
    }

    /// A list of numbers without its length: as a block, they are in the message as they are in memory.
    fn numbers(&mut self, width: u8, pointer: usize, length: usize) -> Result<()> {
        let width = usize::from(width);
        let bytes = self.elements(width, width, pointer, length)?;
        self.out.block(bytes);
        Ok(())
    }

    /// The memory of a list's elements.
    fn elements(
        &mut self,
        size: usize,
        align: usize,
        pointer: usize,
        length: usize,
    ) -> Result<&'m [u8]> {
        if !is_aligned(pointer, align) {
            bail!("a list is not aligned");
        }
        let Some(total) = length.checked_mul(size) else {
            bail!("a list lies outside of the memory");
        };
        let bytes = self.bytes(pointer, total)?;
        // Fuel bounds what overlapping lists can amplify; an element costs at least one.
        self.cx.consume_fuel(total.max(length))?;
        Ok(bytes)
    }
}

/// A part of a value in memory.
#[inline]
fn part(value: &[u8], offset: Offset, length: usize) -> Result<&[u8]> {
    let begins = offset as usize;
    match value.get(begins..begins + length) {
        Some(part) => Ok(part),
        None => misfit(),
    }
}

#[inline]
fn array<const LEN: usize>(value: &[u8], offset: Offset) -> Result<[u8; LEN]> {
    match value.get(offset as usize..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok(*bytes),
        None => misfit(),
    }
}

/// The pointer and length of a string or list in memory.
#[inline]
fn pair(value: &[u8], offset: Offset) -> Result<(usize, usize)> {
    let pair = u64::from_le_bytes(array(value, offset)?);
    Ok((pair as u32 as usize, (pair >> 32) as usize))
}

/// The bits of a number in memory; above them may be others.
#[inline]
fn bits(value: &[u8], number: &Number) -> Result<u64> {
    if let Ok(bits) = array(value, number.offset) {
        return Ok(u64::from_le_bytes(bits));
    }
    Ok(match number.width {
        1 => u64::from(u8::from_le_bytes(array(value, number.offset)?)),
        2 => u64::from(u16::from_le_bytes(array(value, number.offset)?)),
        4 => u64::from(u32::from_le_bytes(array(value, number.offset)?)),
        _ => return misfit(),
    })
}

/// The bits of a number among flat arguments.
#[inline]
fn flat_bits(value: &ValRaw, number: &Number) -> u64 {
    if number.width == 8 { value.get_u64() } else { u64::from(value.get_u32()) }
}

fn next<'a>(src: &mut slice::Iter<'a, ValRaw>) -> Result<&'a ValRaw> {
    match src.next() {
        Some(value) => Ok(value),
        None => too_few(),
    }
}

#[cold]
fn too_few<T>() -> Result<T> {
    bail!("too few flat arguments")
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
