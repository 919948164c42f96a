//! Random WIT types and values, from a seed.

use wasmtime::component::Val;

/// A small generator: the same seed gives the same case on every machine.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    /// Mostly small, sometimes at an edge, sometimes anything.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next() & 0x7f,
            1 => [0, 1, u64::MAX, 1 << 63, 0x7fff_ffff, 0x8000, 0xffff_ffff][self.below(7)],
            _ => self.next(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Encoding {
    Utf8,
    Utf16,
    CompactUtf16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lowering {
    Sync,
    Async,
}

#[derive(Clone, Debug)]
pub enum Ty {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Box<Ty>),
    Record(Vec<Ty>),
    Tuple(Vec<Ty>),
    Variant(Vec<Option<Ty>>),
    Enum(usize),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Flags(usize),
}

impl Ty {
    pub fn random(rng: &mut Rng, depth: usize) -> Self {
        let sub = |rng: &mut Rng| Box::new(Self::random(rng, depth.saturating_sub(1)));
        let some = |rng: &mut Rng, most: usize| {
            let count = 1 + rng.below(most);
            (0..count).map(|_| *sub(rng)).collect::<Vec<_>>()
        };
        let kinds = if depth == 0 { 15 } else { 22 };
        match rng.below(kinds) {
            0 => Self::Bool,
            1 => Self::S8,
            2 => Self::U8,
            3 => Self::S16,
            4 => Self::U16,
            5 => Self::S32,
            6 => Self::U32,
            7 => Self::S64,
            8 => Self::U64,
            9 => Self::F32,
            10 => Self::F64,
            11 => Self::Char,
            12 => Self::String,
            13 => Self::Enum([1, 2, 5, 256, 257, 300][rng.below(6)]),
            14 => Self::Flags([1, 7, 8, 9, 16, 17, 32][rng.below(7)]),
            15 | 16 => Self::List(sub(rng)),
            17 => Self::Record(some(rng, 12)),
            18 => Self::Tuple(some(rng, 5)),
            19 => {
                let cases = some(rng, 5);
                Self::Variant(cases.into_iter().map(|t| (rng.below(3) > 0).then_some(t)).collect())
            }
            20 => Self::Option(sub(rng)),
            _ => {
                let maybe = |rng: &mut Rng| (rng.below(3) > 0).then(|| sub(rng));
                Self::Result(maybe(rng), maybe(rng))
            }
        }
    }

    pub fn value(&self, rng: &mut Rng) -> Val {
        match self {
            Self::Bool => Val::Bool(rng.below(2) == 1),
            Self::S8 => Val::S8(rng.number() as i8),
            Self::U8 => Val::U8(rng.number() as u8),
            Self::S16 => Val::S16(rng.number() as i16),
            Self::U16 => Val::U16(rng.number() as u16),
            Self::S32 => Val::S32(rng.number() as i32),
            Self::U32 => Val::U32(rng.number() as u32),
            Self::S64 => Val::S64(rng.number() as i64),
            Self::U64 => Val::U64(rng.number()),
            // Not NaN, which compares unequal to itself.
            Self::F32 => Val::Float32(rng.number() as i32 as f32 / 3.0),
            Self::F64 => Val::Float64(rng.number() as i64 as f64 / 3.0),
            Self::Char => Val::Char(char_of(rng)),
            Self::String => {
                let count = [0, 1, 5, 40][rng.below(4)];
                let latin = rng.below(2) == 0;
                Val::String(
                    (0..count)
                        .map(|_| {
                            if latin { (b'!' + rng.below(90) as u8) as char } else { char_of(rng) }
                        })
                        .collect(),
                )
            }
            Self::List(ty) => {
                let count = [0, 1, 3, 17][rng.below(4)];
                Val::List((0..count).map(|_| ty.value(rng)).collect())
            }
            Self::Record(types) => Val::Record(
                types.iter().enumerate().map(|(i, ty)| (format!("f{i}"), ty.value(rng))).collect(),
            ),
            Self::Tuple(types) => Val::Tuple(types.iter().map(|ty| ty.value(rng)).collect()),
            Self::Variant(cases) => {
                let case = rng.below(cases.len());
                let payload = cases[case].as_ref().map(|ty| Box::new(ty.value(rng)));
                Val::Variant(format!("c{case}"), payload)
            }
            Self::Enum(count) => Val::Enum(format!("c{}", rng.below(*count))),
            Self::Option(ty) => Val::Option((rng.below(3) > 0).then(|| Box::new(ty.value(rng)))),
            Self::Result(ok, err) => {
                let value = |ty: &Option<Box<Self>>, rng: &mut Rng| {
                    ty.as_ref().map(|ty| Box::new(ty.value(rng)))
                };
                Val::Result(if rng.below(2) == 0 {
                    Ok(value(ok, rng))
                } else {
                    Err(value(err, rng))
                })
            }
            Self::Flags(count) => Val::Flags(
                (0..*count).filter(|_| rng.below(2) == 0).map(|i| format!("b{i}")).collect(),
            ),
        }
    }
}

fn char_of(rng: &mut Rng) -> char {
    let edges = [
        'a',
        '\0',
        '\u{7f}',
        '\u{80}',
        '\u{ff}',
        '\u{100}',
        '\u{7ff}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{ffff}',
        '\u{10000}',
        '\u{10ffff}',
    ];
    match rng.below(3) {
        0 => edges[rng.below(edges.len())],
        _ => char::from_u32(rng.next() as u32 % 0x11_0000).unwrap_or('z'),
    }
}

/// A function's type.
#[derive(Clone, Debug)]
pub struct Signature {
    pub params: Vec<Ty>,
    pub result: Option<Ty>,
}

impl Signature {
    pub fn random(rng: &mut Rng) -> Self {
        let count = [0, 1, 1, 2, 3, 4, 5, 9, 16, 17][rng.below(10)];
        let depth = if count > 5 { 1 } else { 3 };
        Self {
            params: (0..count).map(|_| Ty::random(rng, depth)).collect(),
            result: (rng.below(5) > 0).then(|| Ty::random(rng, 3)),
        }
    }

    pub fn of_u32s(count: usize) -> Self {
        Self { params: vec![Ty::U32; count], result: Some(Ty::Tuple(vec![Ty::U64, Ty::U8])) }
    }

    /// Whether the component can hand the call on by an async-lowered import: it writes its result to
    /// memory, and the component does not store the parameters one by one.
    pub fn forwards_async(&self) -> bool {
        let params: usize = self.params.iter().map(|ty| flatten(ty).len()).sum();
        let result = self.result.as_ref().map_or(0, |ty| flatten(ty).len());
        result > 1 && (params <= 4 || params > 16)
    }
}

/// The size and the alignment of a type, per the canonical ABI.
pub fn layout(ty: &Ty) -> (usize, usize) {
    fn record<'a>(fields: impl Iterator<Item = &'a Ty>) -> (usize, usize) {
        let (mut end, mut most) = (0_usize, 1);
        for (size, align) in fields.map(layout) {
            end = end.next_multiple_of(align) + size;
            most = most.max(align);
        }
        (end.next_multiple_of(most), most)
    }
    fn cases<'a>(count: usize, payloads: impl Iterator<Item = &'a Ty>) -> (usize, usize) {
        let discriminant: usize = if count > 256 { 2 } else { 1 };
        let (sizes, aligns): (Vec<_>, Vec<_>) = payloads.map(layout).unzip();
        let align = aligns.into_iter().max().unwrap_or(1);
        let end = discriminant.next_multiple_of(align) + sizes.into_iter().max().unwrap_or(0);
        let align = align.max(discriminant);
        (end.next_multiple_of(align), align)
    }
    match ty {
        Ty::Bool | Ty::S8 | Ty::U8 => (1, 1),
        Ty::S16 | Ty::U16 => (2, 2),
        Ty::S32 | Ty::U32 | Ty::F32 | Ty::Char => (4, 4),
        Ty::S64 | Ty::U64 | Ty::F64 => (8, 8),
        Ty::String | Ty::List(_) => (8, 4),
        Ty::Record(types) | Ty::Tuple(types) => record(types.iter()),
        Ty::Variant(payloads) => cases(payloads.len(), payloads.iter().flatten()),
        Ty::Enum(count) => cases(*count, [].into_iter()),
        Ty::Option(ty) => cases(2, [&**ty].into_iter()),
        Ty::Result(ok, err) => cases(2, ok.iter().chain(err).map(|ty| &**ty)),
        Ty::Flags(count) => match count {
            0..=8 => (1, 1),
            9..=16 => (2, 2),
            _ => (4, 4),
        },
    }
}

/// The flat core types of a type, per the canonical ABI.
pub fn flatten(ty: &Ty) -> Vec<&'static str> {
    let cases = |payloads: &mut dyn Iterator<Item = Option<&Ty>>| {
        let mut joined = Vec::<&'static str>::new();
        for payload in payloads.flatten() {
            for (i, flat) in flatten(payload).into_iter().enumerate() {
                match joined.get_mut(i) {
                    None => joined.push(flat),
                    Some(have) if *have == flat => {}
                    Some(have) => {
                        let narrow = |t: &str| t == "i32" || t == "f32";
                        *have = if narrow(have) && narrow(flat) { "i32" } else { "i64" };
                    }
                }
            }
        }
        joined.insert(0, "i32");
        joined
    };
    match ty {
        Ty::Bool | Ty::S8 | Ty::U8 | Ty::S16 | Ty::U16 | Ty::S32 | Ty::U32 | Ty::Char => {
            vec!["i32"]
        }
        Ty::S64 | Ty::U64 => vec!["i64"],
        Ty::F32 => vec!["f32"],
        Ty::F64 => vec!["f64"],
        Ty::String | Ty::List(_) => vec!["i32", "i32"],
        Ty::Record(types) | Ty::Tuple(types) => types.iter().flat_map(flatten).collect(),
        Ty::Variant(payloads) => cases(&mut payloads.iter().map(Option::as_ref)),
        Ty::Enum(_) => vec!["i32"],
        Ty::Option(ty) => cases(&mut [None, Some(&**ty)].into_iter()),
        Ty::Result(ok, err) => cases(&mut [ok.as_deref(), err.as_deref()].into_iter()),
        Ty::Flags(count) => vec!["i32"; count.div_ceil(32)],
    }
}
