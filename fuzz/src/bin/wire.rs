//! Values off arbitrary bytes: whatever is read can be written and read again, in both forms.

#![no_main]
#![allow(missing_docs, reason = "the macro's items")]

use std::fmt::Debug;

use backplane_wire::{Decode, Encode, Form, Reader, from_slice, to_vec};
use libfuzzer_sys::fuzz_target;

fn there_and_back<T>(bytes: &[u8])
where
    T: Encode + for<'a> Decode<'a> + PartialEq + Debug,
{
    for form in [Form::Local, Form::Wrpc] {
        if let Ok(value) = from_slice::<T>(bytes, form) {
            let again = to_vec(&value, form);
            assert_eq!(from_slice::<T>(&again, form).as_ref(), Ok(&value));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    there_and_back::<(u8, i16, u32, i64)>(bytes);
    there_and_back::<(String, char, bool)>(bytes);
    there_and_back::<Vec<u8>>(bytes);
    there_and_back::<Vec<u32>>(bytes);
    there_and_back::<(Vec<u64>, String)>(bytes);
    there_and_back::<Vec<Vec<String>>>(bytes);
    there_and_back::<Option<Result<Vec<(u16, String)>, String>>>(bytes);
    there_and_back::<(Option<Option<u8>>, Result<(), Vec<i8>>)>(bytes);
    // Each step by itself, from wherever the one before has stopped.
    for form in [Form::Local, Form::Wrpc] {
        let mut reader = Reader::new(bytes, form);
        while reader.remaining() > 0 {
            let before = reader.remaining();
            let read = match before % 7 {
                0 => reader.discriminant(300).is_ok(),
                1 => reader.string().is_ok(),
                2 => reader.byte_list().is_ok(),
                3 => reader.handle().is_ok(),
                4 => reader.length().is_ok(),
                5 => reader.raw(3).is_ok(),
                _ => reader.u64().is_ok(),
            };
            if !read || reader.remaining() == before {
                break;
            }
        }
    }
});
