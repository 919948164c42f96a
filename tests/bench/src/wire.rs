//! `wire`: what it costs to encode and decode a list of integers, in the form that calls in the process
//! use and in wRPC's.

use std::hint::black_box;

use anyhow::{Result, ensure};
use backplane_wire::{Encode, Form, Writer, from_slice};

use crate::{
    measure::{Clock, Timed, medians},
    row::{Key, Report},
};

const ELEMENTS: u32 = 1000;

pub(crate) fn run(only: &str) -> Result<Report> {
    // As hashes are, and as small counts are.
    let spread: Vec<u32> = (0..ELEMENTS).map(|at| at.wrapping_mul(0x9e37_79b9)).collect();
    let small: Vec<u32> = (0..ELEMENTS).map(|at| at % 100).collect();
    let mut report = Report::default();
    let mut keys = Vec::new();
    for (name, list) in [("list-u32, full range", &spread), ("list-u32, below 100", &small)] {
        if !name.contains(only) {
            continue;
        }
        let key = Key {
            bench: "wire",
            case: name.to_owned(),
            bytes: ELEMENTS * 4,
            subject: "local",
            baseline: "wrpc",
        };
        let times =
            medians(&mut [there_and_back(list, Form::Local), there_and_back(list, Form::Wrpc)])?;
        if let [local, wrpc] = times.as_slice() {
            report.rows.push(key.nanoseconds(*local, *wrpc));
        }
        keys.push(key);
    }
    report.expect(&keys);
    Ok(report)
}

fn there_and_back(list: &[u32], form: Form) -> Timed<'_> {
    Box::new(move |times| {
        let begun = Clock::Thread.now();
        for _ in 0..times {
            let mut writer = Writer::with_capacity(form, list.size_hint());
            black_box(list).encode(&mut writer);
            let back: Vec<u32> = from_slice(black_box(&writer.into_vec()), form)?;
            ensure!(back.len() == list.len(), "the list comes back shorter");
        }
        Ok(Clock::Thread.now().saturating_sub(begun))
    })
}
