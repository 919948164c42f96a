//! A WIT package with random names and types, and random values of them.

use std::fmt::Write as _;

use rand::{Rng as _, rngs::StdRng};

/// A package with one interface. Every function takes a record and answers with it; the resource keeps one.
pub(crate) struct Package {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) interface: String,
    /// The name of the extension that provides it.
    pub(crate) extension: String,
    pub(crate) resource: String,
    version: String,
    types: Vec<Named>,
    /// The types that functions take and answer with, by number: records with a string in them.
    pub(crate) records: Vec<usize>,
}

struct Named {
    name: String,
    definition: Definition,
}

enum Definition {
    Record(Vec<(String, Type)>),
    Variant(Vec<(String, Option<Type>)>),
    Enum(Vec<String>),
    Flags(Vec<String>),
}

enum Type {
    Plain(&'static str),
    List(Box<Self>),
    Option(Box<Self>),
    Result(Option<Box<Self>>, Option<Box<Self>>),
    Tuple(Vec<Self>),
    Named(usize),
}

const PLAIN: [&str; 13] =
    ["bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char", "string"];

/// Random words, none of which comes twice or is a keyword of anything.
struct Words<'a> {
    rng: &'a mut StdRng,
    count: usize,
}

impl Words<'_> {
    /// Two words joined by `-`: what WIT, Rust and the ABI each write in their own way.
    fn next(&mut self) -> String {
        self.count += 1;
        let mut syllables = |count| -> String {
            let mut pick =
                |letters: &[u8]| char::from(letters[self.rng.random_range(..letters.len())]);
            (0..count).flat_map(|_| [pick(b"bdfgklmnprstvz"), pick(b"aeiou")]).collect()
        };
        let (first, second) = (syllables(3), syllables(2));
        // The number keeps names apart.
        format!("{first}-{second}x{}", self.count)
    }

    fn some(&mut self, from: usize, to: usize) -> Vec<String> {
        (0..self.rng.random_range(from..=to)).map(|_| self.next()).collect()
    }
}

impl Package {
    pub(crate) fn random(rng: &mut StdRng) -> Self {
        let version = format!(
            "{}.{}.{}",
            rng.random_range(1..9),
            rng.random_range(0..99),
            rng.random_range(0..99)
        );
        let mut words = Words { rng, count: 0 };
        let mut types: Vec<Named> = Vec::new();
        let mut records = Vec::new();
        // Each kind at least once, and each made of those before it.
        for round in 0..8 {
            let definition = match round % 4 {
                0 => Definition::Flags(words.some(1, 32)),
                1 => Definition::Enum(words.some(1, 20)),
                2 => {
                    let mut cases = Vec::new();
                    for name in words.some(1, 9) {
                        let payload = words.rng.random_bool(0.7);
                        cases.push((name, payload.then(|| ty(words.rng, types.len(), 2))));
                    }
                    Definition::Variant(cases)
                }
                _ => {
                    // A string makes both languages' records own what they have.
                    let mut fields = vec![(words.next(), Type::Plain("string"))];
                    for name in words.some(1, 20) {
                        fields.push((name, ty(words.rng, types.len(), 3)));
                    }
                    // Whatever the dice say, everything before is in there.
                    for number in types.len() - 3..types.len() {
                        fields.push((words.next(), Type::Named(number)));
                    }
                    records.push(types.len());
                    Definition::Record(fields)
                }
            };
            types.push(Named { name: words.next(), definition });
        }
        Self {
            namespace: words.next(),
            name: words.next(),
            interface: words.next(),
            extension: words.next(),
            resource: words.next(),
            version,
            types,
            records,
        }
    }

    /// The interface's full name.
    pub(crate) fn interface_name(&self) -> String {
        let Self { namespace, name, interface, version, .. } = self;
        format!("{namespace}:{name}/{interface}@{version}")
    }

    pub(crate) fn type_name(&self, number: usize) -> &str {
        &self.types[number].name
    }

    /// How many answers the guest checks.
    pub(crate) fn calls(&self) -> usize {
        self.records.len() + 4
    }

    /// The package in WIT, with a world for the provider and one for the guest.
    pub(crate) fn wit(&self) -> String {
        let Self { namespace, name, interface, version, resource, .. } = self;
        let mut wit =
            format!("package {namespace}:{name}@{version};\n\ninterface {interface} {{\n");
        for named in &self.types {
            let (keyword, lines) = match &named.definition {
                Definition::Record(fields) => (
                    "record",
                    fields.iter().map(|(name, ty)| format!("{name}: {}", self.ty(ty))).collect(),
                ),
                Definition::Variant(cases) => ("variant", self.cases(cases)),
                Definition::Enum(names) => ("enum", names.clone()),
                Definition::Flags(names) => ("flags", names.clone()),
            };
            let lines: Vec<String> = lines;
            writeln!(wit, "  {keyword} {} {{ {} }}", named.name, lines.join(", ")).unwrap();
        }
        let kept = self.type_name(self.records[0]);
        write!(
            wit,
            "  resource {resource} {{\n    constructor(kept: {kept});\n    look: func() -> {kept};\n    \
             swap: func(kept: {kept}) -> {kept};\n  }}\n  \
             join: func(all: list<borrow<{resource}>>, one: {resource}) -> {resource};\n  \
             live: func() -> u32;\n"
        )
        .unwrap();
        for &record in &self.records {
            let record = self.type_name(record);
            writeln!(wit, "  echo-{record}: func(value: {record}) -> {record};").unwrap();
        }
        write!(
            wit,
            "}}\n\nworld provider {{ export {interface}; }}\n\nworld guest {{ import {interface}; }}\n"
        )
        .unwrap();
        wit
    }

    fn cases(&self, cases: &[(String, Option<Type>)]) -> Vec<String> {
        let case = |(name, ty): &(String, Option<Type>)| match ty {
            Some(ty) => format!("{name}({})", self.ty(ty)),
            None => name.clone(),
        };
        cases.iter().map(case).collect()
    }

    fn ty(&self, ty: &Type) -> String {
        match ty {
            Type::Plain(name) => (*name).to_owned(),
            Type::List(element) => format!("list<{}>", self.ty(element)),
            Type::Option(some) => format!("option<{}>", self.ty(some)),
            Type::Result(None, None) => "result".to_owned(),
            Type::Result(Some(ok), None) => format!("result<{}>", self.ty(ok)),
            Type::Result(ok, Some(error)) => {
                let ok = ok.as_ref().map_or_else(|| "_".to_owned(), |ok| self.ty(ok));
                format!("result<{ok}, {}>", self.ty(error))
            }
            Type::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|ty| self.ty(ty)).collect();
                format!("tuple<{}>", types.join(", "))
            }
            Type::Named(number) => self.type_name(*number).to_owned(),
        }
    }

    /// A random value of a named type, as a guest writes it in Rust; its types are in `api`.
    pub(crate) fn value(&self, number: usize, rng: &mut StdRng) -> String {
        let named = &self.types[number];
        let path = format!("api::{}", camel(&named.name));
        match &named.definition {
            Definition::Record(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, ty)| format!("{}: {}", snake(name), self.literal(ty, rng)))
                    .collect();
                format!("{path} {{ {} }}", fields.join(", "))
            }
            Definition::Variant(cases) => {
                let (name, ty) = &cases[rng.random_range(..cases.len())];
                let payload = ty.as_ref().map(|ty| format!("({})", self.literal(ty, rng)));
                format!("{path}::{}{}", camel(name), payload.unwrap_or_default())
            }
            Definition::Enum(names) => {
                format!("{path}::{}", camel(&names[rng.random_range(..names.len())]))
            }
            Definition::Flags(names) => {
                let set = names.iter().filter(|_| rng.random_bool(0.5));
                let set: Vec<_> = set.map(|name| format!("{path}::{}", shouty(name))).collect();
                if set.is_empty() { format!("{path}::empty()") } else { set.join(" | ") }
            }
        }
    }

    fn literal(&self, ty: &Type, rng: &mut StdRng) -> String {
        match ty {
            Type::Plain(name) => plain(name, rng),
            Type::List(element) => {
                let elements: Vec<_> =
                    (0..rng.random_range(0..5)).map(|_| self.literal(element, rng)).collect();
                format!("vec![{}]", elements.join(", "))
            }
            Type::Option(_) if rng.random_bool(0.3) => "None".to_owned(),
            Type::Option(some) => format!("Some({})", self.literal(some, rng)),
            Type::Result(ok, error) => {
                let (case, ty) = if rng.random_bool(0.5) { ("Ok", ok) } else { ("Err", error) };
                let payload =
                    ty.as_ref().map_or_else(|| "()".to_owned(), |ty| self.literal(ty, rng));
                format!("{case}({payload})")
            }
            Type::Tuple(types) => {
                let values: Vec<_> = types.iter().map(|ty| self.literal(ty, rng)).collect();
                format!("({},)", values.join(", "))
            }
            Type::Named(number) => self.value(*number, rng),
        }
    }
}

/// A random type over the named ones before `named`.
fn ty(rng: &mut StdRng, named: usize, depth: usize) -> Type {
    let boxed = |rng: &mut StdRng| Box::new(ty(rng, named, depth - 1));
    let kind = if depth == 0 { 0 } else { rng.random_range(0..10) };
    match kind {
        0..=3 => Type::Plain(PLAIN[rng.random_range(..PLAIN.len())]),
        4 => Type::List(boxed(rng)),
        5 => Type::Option(boxed(rng)),
        6 => Type::Result(
            rng.random_bool(0.7).then(|| boxed(rng)),
            rng.random_bool(0.7).then(|| boxed(rng)),
        ),
        7 => Type::Tuple((0..rng.random_range(1..5)).map(|_| *boxed(rng)).collect()),
        _ if named > 0 => Type::Named(rng.random_range(..named)),
        _ => Type::Plain("string"),
    }
}

fn plain(name: &str, rng: &mut StdRng) -> String {
    match name {
        "bool" => rng.random::<bool>().to_string(),
        "u8" => rng.random::<u8>().to_string(),
        "u16" => rng.random::<u16>().to_string(),
        "u32" => rng.random::<u32>().to_string(),
        "u64" => rng.random::<u64>().to_string(),
        "s8" => rng.random::<i8>().to_string(),
        "s16" => rng.random::<i16>().to_string(),
        "s32" => rng.random::<i32>().to_string(),
        "s64" => rng.random::<i64>().to_string(),
        "f32" => format!("{:?}", rng.random_range(-1e9_f32..1e9)),
        "f64" => format!("{:?}", rng.random_range(-1e99_f64..1e99)),
        "char" => format!("{:?}", rng.random::<char>()),
        _ => {
            let text: String = (0..rng.random_range(0..12)).map(|_| rng.random::<char>()).collect();
            format!("{text:?}.to_owned()")
        }
    }
}

/// A name of WIT as a function, field or module of Rust.
pub(crate) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn shouty(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// A name of WIT as a type or case of Rust.
pub(crate) fn camel(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-').map(capital).collect()
}
