//! What `generate!` makes of byte lists that are borrowed, of awkward names, and of wide flags.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::sync::Arc;

use backplane_sdk::wire::{Form, from_slice, to_vec};
use backplane_sdk::{Bytes, Context, Extension, Failure, Host, NoConfig, Own, Workload};
use bindings::test::odd::{awkward, types};
use support::{Handle, Loaded};

mod bindings {
    backplane_sdk::generate!({
        inline: "
            package test:odd;

            /// Types alone: exports nothing.
            interface types {
                record pair { left: list<u8>, %self: string }
                type bytes = list<u8>;
                enum one { only }
            }

            interface awkward {
                use types.{pair, bytes, one as %enum};

                resource %box {
                    constructor(content: list<u8>);
                    new: static func() -> %box;
                    %use: static func(%box: own<%box>) -> u64;
                }

                length: func(a: list<u8>, b: bytes, c: option<list<u8>>, d: list<list<u8>>) -> u64;
                join: func(a: result<list<u8>, string>, b: tuple<string, list<u8>>) -> list<u8>;
                %yield: func(%fn: pair) -> pair;
                twice: async func(%match: %enum) -> list<%enum>;
            }

            world provider {
                export awkward;
            }
        ",
        world: "provider",
        bytes: "borrowed",
        resources: { "test:odd/awkward/box": Content },
    });

    use super::Content;
}

pub struct Content(Bytes);

struct Odd;

impl Extension for Odd {
    type Config = NoConfig;
    type BindingConfig = NoConfig;
    type Binding = Self;

    async fn create(_: NoConfig, _: Host) -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn bind(&self, _: Workload, _: NoConfig) -> Result<Self, Failure> {
        Ok(Self)
    }
}

impl awkward::Handler for Odd {
    async fn box_constructor(
        &self,
        _: &Context,
        content: &[u8],
    ) -> Result<Own<awkward::Box>, Failure> {
        Ok(Own::new(Content(Bytes::copy_from_slice(content))))
    }

    async fn box_new(&self, _: &Context) -> Result<Own<awkward::Box>, Failure> {
        Ok(Own::new(Content(Bytes::new())))
    }

    async fn box_use(&self, _: &Context, box_: Arc<Content>) -> Result<u64, Failure> {
        Ok(box_.0.len() as u64)
    }

    async fn length(
        &self,
        _: &Context,
        a: &[u8],
        b: &[u8],
        c: Option<&[u8]>,
        d: Vec<&[u8]>,
    ) -> Result<u64, Failure> {
        let rest = d.iter().map(|bytes| bytes.len()).sum::<usize>();
        Ok((a.len() + b.len() + c.map_or(0, <[u8]>::len) + rest) as u64)
    }

    async fn join(
        &self,
        _: &Context,
        a: Result<&[u8], &str>,
        b: (&str, &[u8]),
    ) -> Result<Bytes, Failure> {
        let first = a.unwrap_or_else(str::as_bytes);
        Ok([first, b.0.as_bytes(), b.1].concat().into())
    }

    async fn yield_(&self, _: &Context, fn_: types::Pair) -> Result<types::Pair, Failure> {
        Ok(fn_)
    }

    async fn twice(&self, _: &Context, match_: types::One) -> Result<Vec<awkward::Enum>, Failure> {
        Ok(vec![match_, match_])
    }
}

backplane_sdk::export! {
    name: "odd",
    extension: Odd,
    world: bindings::World,
}

#[test]
fn byte_lists_are_borrowed_wherever_they_stand() {
    let loaded = Loaded::new(module(), "").unwrap();
    let binding = loaded.bind("").unwrap();
    let (a, b, c) = (vec![1_u8; 3], vec![2_u8; 2000], Some(vec![3_u8; 10]));
    let arguments = (a.clone(), b, c, vec![vec![4_u8; 7], vec![]]);
    assert_eq!(binding.call::<u64>("odd/awkward#length", &arguments).unwrap(), 2020);
    let arguments = (Err::<Vec<u8>, _>("no"), ("way", vec![b'!']));
    assert_eq!(binding.call::<Vec<u8>>("odd/awkward#join", &arguments).unwrap(), b"noway!");
    let pair = types::Pair { left: a.into(), self_: "right".to_owned() };
    assert_eq!(binding.call::<types::Pair>("odd/awkward#yield", &pair).unwrap(), pair);
}

#[test]
fn names_that_rust_keeps_for_itself_get_an_underscore() {
    let loaded = Loaded::new(module(), "").unwrap();
    let binding = loaded.bind("").unwrap();
    let made: Handle = binding.call("odd/awkward#[constructor]box", &(vec![1_u8; 5000],)).unwrap();
    assert_eq!(binding.call::<u64>("odd/awkward#[static]box.use", &(made,)).unwrap(), 5000);
    let empty: Handle = binding.call("odd/awkward#[static]box.new", &()).unwrap();
    assert_eq!(binding.call::<u64>("odd/awkward#[static]box.use", &(empty,)).unwrap(), 0);
    let twice: Vec<types::One> = binding.call("odd/awkward#twice", &types::One::Only).unwrap();
    assert_eq!(twice, [types::One::Only, types::One::Only]);
}

backplane_sdk::__flags! {
    pub struct Seventy: 70 flags in 9 bytes {
        FIRST = 0;
        EIGHTH = 8;
        LAST = 69;
    }
}

#[test]
fn flags_wider_than_a_word_are_read_as_they_were_written() {
    let flags = Seventy::FIRST | Seventy::LAST;
    let bytes = to_vec(&flags, Form::Local);
    assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 0b10_0000]);
    assert_eq!(from_slice(&bytes, Form::Local), Ok(flags));
    assert!(flags.contains(Seventy::LAST) && !flags.contains(Seventy::EIGHTH));
    assert!(from_slice::<Seventy>(&[0, 0, 0, 0, 0, 0, 0, 0, 0b100_0000], Form::Local).is_err());
}
