//! What to do for each part of a type, in order: made once for a type, followed by every call.
//!
//! The runtime's types are a tree of indices into its tables. Walking it anew in each call cost as much as
//! all else that the boundary does with a record.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
};

use wasmtime::{
    Result, bail,
    component::__internal::{
        ComponentTypes, InterfaceType,
        wasmtime_environ::component::{TypeResourceTableIndex, VariantInfo},
    },
};

use super::kind::Kind;

/// A type's place in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) size: usize,
    /// A power of two.
    pub(super) align: usize,
}

impl Layout {
    fn of(types: &ComponentTypes, ty: InterfaceType) -> Self {
        let abi = types.canonical_abi(&ty);
        Self { size: abi.size32 as usize, align: (abi.align32 as usize).max(1) }
    }
}

/// The parts of a type. Records and tuples are their fields: only where those are matters.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Box<[Step]>,
    pub(super) layout: Layout,
    /// How many flat core values it has, whether or not so many are passed flat.
    pub(super) flat: usize,
}

/// One part of a type.
#[derive(Debug)]
pub(super) enum Step {
    Number(Number),
    /// Several numbers, one after another.
    Numbers(Box<Run>),
    Bool(Offset),
    Char(Offset),
    String(Offset),
    /// A list of numbers of that width in bytes. It lies in memory as its block does in a local message:
    /// numbers are little-endian in both.
    ListOfNumbers(Offset, u8),
    List(Offset, Box<Plan>),
    Cases(Offset, Box<Cases>),
    Flags(Offset, Flags),
    Own(Offset, TypeResourceTableIndex),
    Borrow(Offset, TypeResourceTableIndex),
    /// The readable end of a stream or a future.
    Stream(Offset, InterfaceType, Kind),
}

/// Where a part is, in bytes from where the value begins in memory.
pub(super) type Offset = u32;

/// A number. In a local message it is as in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    pub(super) offset: Offset,
    /// In bytes: 1, 2, 4 or 8.
    pub(super) width: u8,
    /// Whether it is a signed integer: one narrower than a flat core value fills that up with its sign.
    pub(super) is_signed: bool,
}

/// Numbers that follow one another in the message.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) numbers: Vec<Number>,
    /// All their bytes in the message: at most [`Run::MOST`].
    pub(super) bytes: usize,
}

impl Run {
    pub(super) const MOST: usize = 56;
}

/// A variant, an enum, an option or a result.
#[derive(Debug)]
pub(super) struct Cases {
    /// Of each case its payload.
    pub(super) payloads: Box<[Option<Plan>]>,
    /// Whether the message has a `bool` for the case.
    pub(super) is_bool: bool,
    /// Bytes of the discriminant in memory.
    pub(super) width: u8,
    /// Where a payload is, from where the value begins.
    pub(super) payload: usize,
    /// How many flat core values it has: as many as its widest case, and one.
    pub(super) flat: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) count: u32,
    /// Bytes in memory.
    pub(super) size: u32,
}

impl Plan {
    pub(super) fn new(types: &ComponentTypes, ty: InterfaceType) -> Result<Self> {
        let mut steps = Vec::new();
        add(types, ty, 0, &mut steps)?;
        let flat = steps.iter().map(Step::flat).sum();
        Ok(Self { steps: steps.into(), layout: Layout::of(types, ty), flat })
    }

    fn of_some(types: &ComponentTypes, ty: Option<InterfaceType>) -> Result<Option<Self>> {
        ty.map(|ty| Self::new(types, ty)).transpose()
    }
}

impl Step {
    /// How many flat core values it has.
    pub(super) fn flat(&self) -> usize {
        match self {
            Self::Number(_)
            | Self::Bool(_)
            | Self::Char(_)
            | Self::Own(..)
            | Self::Borrow(..)
            | Self::Stream(..) => 1,
            Self::Numbers(run) => run.numbers.len(),
            Self::String(_) | Self::ListOfNumbers(..) | Self::List(..) => 2,
            Self::Cases(_, cases) => cases.flat,
            Self::Flags(_, flags) => flags.count.div_ceil(32) as usize,
        }
    }
}

/// Adds the steps of a type that stands at `at`.
fn add(types: &ComponentTypes, ty: InterfaceType, at: Offset, steps: &mut Vec<Step>) -> Result<()> {
    let step = match ty {
        InterfaceType::U8
        | InterfaceType::S8
        | InterfaceType::U16
        | InterfaceType::S16
        | InterfaceType::U32
        | InterfaceType::S32
        | InterfaceType::U64
        | InterfaceType::S64
        | InterfaceType::Float32
        | InterfaceType::Float64 => return add_number(ty, at, steps),
        InterfaceType::Bool => Step::Bool(at),
        InterfaceType::Char => Step::Char(at),
        InterfaceType::String => Step::String(at),
        InterfaceType::List(list) => match width(types[list].element) {
            Some(width) => Step::ListOfNumbers(at, width),
            None => Step::List(at, Box::new(Plan::new(types, types[list].element)?)),
        },
        InterfaceType::Record(record) => {
            return add_all(types, types[record].fields.iter().map(|field| field.ty), at, steps);
        }
        InterfaceType::Tuple(tuple) => {
            return add_all(types, types[tuple].types.iter().copied(), at, steps);
        }
        InterfaceType::Variant(variant) => {
            let variant = &types[variant];
            let payloads = variant.cases.values().map(|ty| Plan::of_some(types, *ty));
            Step::Cases(at, Box::new(Cases::new(payloads, &variant.info, false)?))
        }
        InterfaceType::Enum(names) => {
            let names = &types[names];
            let payloads = names.names.iter().map(|_| Ok(None));
            Step::Cases(at, Box::new(Cases::new(payloads, &names.info, false)?))
        }
        InterfaceType::Option(option) => {
            let option = &types[option];
            let payloads = [None, Some(option.ty)].map(|ty| Plan::of_some(types, ty));
            Step::Cases(at, Box::new(Cases::new(payloads, &option.info, true)?))
        }
        InterfaceType::Result(result) => {
            let result = &types[result];
            let payloads = [result.ok, result.err].map(|ty| Plan::of_some(types, ty));
            Step::Cases(at, Box::new(Cases::new(payloads, &result.info, true)?))
        }
        InterfaceType::Flags(flags) => {
            let flags = &types[flags];
            let count = u32::try_from(flags.names.len())?;
            Step::Flags(at, Flags { count, size: flags.abi.size32 })
        }
        InterfaceType::Own(resource) => Step::Own(at, resource),
        InterfaceType::Borrow(resource) => Step::Borrow(at, resource),
        InterfaceType::Stream(stream) => {
            let Some(element) = types[types[stream].ty].payload else { return unlinked(ty) };
            let number =
                width(element).and_then(|width| Kind::of(width, element == InterfaceType::U8));
            let values = || Kind::Values(types.canonical_abi(&element).size32);
            Step::Stream(at, ty, number.unwrap_or_else(values))
        }
        InterfaceType::Future(future) => match types[types[future].ty].payload {
            Some(_) => Step::Stream(at, ty, Kind::Future),
            None => Step::Stream(at, ty, Kind::Signal),
        },
        InterfaceType::Map(_)
        | InterfaceType::ErrorContext(_)
        | InterfaceType::FixedLengthList(_) => return unlinked(ty),
    };
    steps.push(step);
    Ok(())
}

/// Adds the fields of a record that stands at `at`.
fn add_all(
    types: &ComponentTypes,
    fields: impl Iterator<Item = InterfaceType>,
    at: Offset,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let mut next = 0_usize;
    for ty in fields {
        let Layout { size, align } = Layout::of(types, ty);
        let offset = next.next_multiple_of(align);
        add(types, ty, at + u32::try_from(offset)?, steps)?;
        next = offset + size;
    }
    Ok(())
}

/// Adds a number: to the run of those that it follows, where there is one.
fn add_number(ty: InterfaceType, offset: Offset, steps: &mut Vec<Step>) -> Result<()> {
    let Some(width) = width(ty) else { return unlinked(ty) };
    let is_signed = matches!(
        ty,
        InterfaceType::S8 | InterfaceType::S16 | InterfaceType::S32 | InterfaceType::S64
    );
    let number = Number { offset, width, is_signed };
    match steps.last_mut() {
        Some(Step::Numbers(run)) if run.bytes + usize::from(width) <= Run::MOST => run.add(number),
        Some(Step::Number(before)) => {
            let mut run = Run::default();
            run.add(*before);
            run.add(number);
            steps.pop();
            steps.push(Step::Numbers(Box::new(run)));
        }
        Some(_) | None => steps.push(Step::Number(number)),
    }
    Ok(())
}

impl Run {
    fn add(&mut self, number: Number) {
        self.bytes += usize::from(number.width);
        self.numbers.push(number);
    }
}

impl Cases {
    fn new(
        payloads: impl IntoIterator<Item = Result<Option<Plan>>>,
        info: &VariantInfo,
        is_bool: bool,
    ) -> Result<Self> {
        let payloads: Box<[Option<Plan>]> = payloads.into_iter().collect::<Result<_>>()?;
        let widest = payloads.iter().flatten().map(|payload| payload.flat).max();
        Ok(Self {
            payloads,
            is_bool,
            width: u8::try_from(u32::from(info.size))?,
            payload: info.payload_offset32 as usize,
            flat: 1 + widest.unwrap_or_default(),
        })
    }
}

/// How wide a number is, in bytes; none where the type is another.
fn width(ty: InterfaceType) -> Option<u8> {
    match ty {
        InterfaceType::U8 | InterfaceType::S8 => Some(1),
        InterfaceType::U16 | InterfaceType::S16 => Some(2),
        InterfaceType::U32 | InterfaceType::S32 | InterfaceType::Float32 => Some(4),
        InterfaceType::U64 | InterfaceType::S64 | InterfaceType::Float64 => Some(8),
        _ => None,
    }
}

/// The plan of all parameters, or of all results.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) plan: Plan,
    /// The width of the numbers of a list that is all of it: the message is that list's block alone.
    pub(super) lone: Option<u8>,
    /// The strings and lists among the parameters.
    pub(super) lengths: Box<[Length]>,
}

/// The length of a string or list among flat parameters.
#[derive(Debug)]
pub(super) struct Length {
    /// Which flat value it is.
    pub(super) place: usize,
    /// Bytes of an element.
    pub(super) element: usize,
}

impl Root {
    fn new(types: &ComponentTypes, ty: InterfaceType) -> Result<Self> {
        let plan = Plan::new(types, ty)?;
        let lone = match ty {
            InterfaceType::Tuple(tuple) => match *types[tuple].types {
                [InterfaceType::List(list)] => width(types[list].element),
                _ => None,
            },
            _ => None,
        };
        let mut lengths = Vec::new();
        let mut place = 0;
        for step in &plan.steps {
            let element = match step {
                Step::String(_) => Some(1),
                Step::ListOfNumbers(_, width) => Some(usize::from(*width)),
                Step::List(_, element) => Some(element.layout.size),
                _ => None,
            };
            lengths.extend(element.map(|element| Length { place: place + 1, element }));
            place += step.flat();
        }
        Ok(Self { plan, lone, lengths: lengths.into() })
    }
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct For {
    /// The address of a component's types.
    types: usize,
    which: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    /// The parameters of a function: a tuple, by its number among the types.
    Parameters(u32),
    /// The results of a linked function. It is linked for one component: the address says no more.
    Results(u32),
}

/// The plans that a thread has made.
struct Plans {
    /// Those that were followed last, each in the one place that it can be in.
    front: [Option<(For, Rc<Root>)>; FRONT],
    all: HashMap<For, Held>,
}

struct Held {
    root: Rc<Root>,
    /// Keeps the address from becoming another component's, and nothing else of its component.
    _types: Option<Weak<ComponentTypes>>,
}

const FRONT: usize = 256;

/// The most plans that a thread has: then it forgets them all, those of workloads that have ended among them.
const MOST: usize = 1 << 14;

thread_local! {
    static PLANS: RefCell<Plans> = RefCell::new(Plans { front: [const { None }; FRONT], all: HashMap::new() });
}

/// The plan of parameters of type `ty`.
#[inline]
pub(super) fn of_parameters(types: &Arc<ComponentTypes>, ty: InterfaceType) -> Result<Rc<Root>> {
    let InterfaceType::Tuple(tuple) = ty else { return unlinked(ty) };
    let wanted = For { types: Arc::as_ptr(types).addr(), which: Which::Parameters(tuple.as_u32()) };
    match find(wanted) {
        Some(root) => Ok(root),
        None => fetch(wanted, types, ty, || Some(Arc::downgrade(types))),
    }
}

/// The plan of a linked function's results, which are of type `ty`.
#[inline]
pub(super) fn of_results(
    function: u32,
    types: &ComponentTypes,
    ty: InterfaceType,
) -> Result<Rc<Root>> {
    let wanted = For { types: std::ptr::from_ref(types).addr(), which: Which::Results(function) };
    match find(wanted) {
        Some(root) => Ok(root),
        None => fetch(wanted, types, ty, || None),
    }
}

impl For {
    #[inline]
    fn place(self) -> usize {
        let number = match self.which {
            Which::Parameters(number) => number as usize * 2,
            Which::Results(number) => number as usize * 2 + 1,
        };
        (self.types >> 4).wrapping_add(number) % FRONT
    }
}

/// A plan that was followed lately.
#[inline]
fn find(wanted: For) -> Option<Rc<Root>> {
    let found = PLANS.try_with(|plans| match plans.borrow().front.get(wanted.place()) {
        Some(Some((of, root))) if *of == wanted => Some(Rc::clone(root)),
        Some(_) | None => None,
    });
    found.ok().flatten()
}

/// A plan that was made before, or is made now.
#[cold]
fn fetch(
    wanted: For,
    types: &ComponentTypes,
    ty: InterfaceType,
    hold: impl FnOnce() -> Option<Weak<ComponentTypes>>,
) -> Result<Rc<Root>> {
    let made = PLANS.try_with(|plans| -> Result<Rc<Root>> {
        let mut plans = plans.borrow_mut();
        let known = plans.all.get(&wanted).map(|held| Rc::clone(&held.root));
        let root = match known {
            Some(root) => root,
            None => {
                if plans.all.len() >= MOST {
                    plans.forget();
                }
                let root = Rc::new(Root::new(types, ty)?);
                plans.all.insert(wanted, Held { root: Rc::clone(&root), _types: hold() });
                root
            }
        };
        if let Some(place) = plans.front.get_mut(wanted.place()) {
            *place = Some((wanted, Rc::clone(&root)));
        }
        Ok(root)
    });
    match made {
        Ok(made) => made,
        // A thread that ends keeps none.
        Err(_) => Root::new(types, ty).map(Rc::new),
    }
}

impl Plans {
    /// All of them: what is in front is right only while its address is held.
    fn forget(&mut self) {
        self.front.fill_with(|| None);
        self.all.clear();
    }
}

/// The link step refuses functions with such a type.
#[cold]
fn unlinked<T>(ty: InterfaceType) -> Result<T> {
    bail!("a value of a type that is not linked: {ty:?}")
}
