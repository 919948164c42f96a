//! `bench:kv/calls`, from memory, and what `bench:streams` and `bench:files` move.

use std::{collections::HashMap, sync::PoisonError};

use backplane_sdk::{Bytes, Context, Element, Failure, List, Own, StreamReader, StreamWriter};

use crate::{
    Binding,
    bindings::bench::{
        files::files,
        kv::calls::{self, Handler, TenFields},
        streams::moving::{self, Small},
    },
};

/// A resource that holds a number.
#[derive(Clone, Copy, Debug)]
pub struct Cell(u32);

/// The values that are there from the beginning, by their size.
pub(crate) fn values() -> HashMap<String, Bytes> {
    let sizes = [16, 1024, 64 * 1024, 1024 * 1024];
    sizes.into_iter().map(|size: usize| (size.to_string(), vec![0x5a; size].into())).collect()
}

impl Handler for Binding {
    async fn cell_new(&self, cx: &Context, v: u32) -> Result<Own<calls::Cell>, Failure> {
        Ok(cx.own(Cell(v)))
    }

    async fn cell_value(&self, _: &Context, this: &Cell) -> Result<u32, Failure> {
        Ok(this.0)
    }

    async fn get(&self, _: &Context, key: &str) -> Result<Result<Option<Bytes>, String>, Failure> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Ok(values.get(key).cloned()))
    }

    async fn set(
        &self,
        _: &Context,
        key: &str,
        value: Bytes,
    ) -> Result<Result<(), String>, Failure> {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        match values.get_mut(key) {
            Some(old) => *old = value,
            None => drop(values.insert(key.to_owned(), value)),
        }
        Ok(Ok(()))
    }

    async fn list_u32(&self, _: &Context, v: List<u32>) -> Result<List<u32>, Failure> {
        Ok(v)
    }

    async fn list_pairs(
        &self,
        _: &Context,
        v: Vec<(&str, u64)>,
    ) -> Result<Vec<(String, u64)>, Failure> {
        Ok(v.into_iter().map(|(name, number)| (name.to_owned(), number)).collect())
    }

    async fn rec(&self, _: &Context, r: TenFields) -> Result<TenFields, Failure> {
        Ok(r)
    }

    async fn pending(&self, _: &Context, v: u32) -> Result<u32, Failure> {
        // Not at hand in any case, though the task below may be quick.
        tokio::task::yield_now().await;
        // A task of the extension's runtime has to run before this one goes on.
        Ok(tokio::spawn(async move { v }).await?)
    }
}

/// Reads all of a stream: how many elements.
async fn count<T: Element>(mut stream: StreamReader<T>) -> Result<u64, Failure> {
    let mut count = 0;
    while let Some(chunk) = stream.next().await? {
        count += chunk.len() as u64;
    }
    Ok(count)
}

/// Writes the same chunk again and again, until it is so many elements.
async fn write<T: Element>(
    mut writer: StreamWriter<T>,
    count: u64,
    chunk: impl Fn(usize) -> T::Chunk,
) -> Result<(), Failure> {
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    while left > 0 {
        let next = chunk(left);
        left -= next.len();
        if !writer.write(next).await? {
            return Ok(());
        }
    }
    writer.finish();
    Ok(())
}

/// A stream of bytes.
fn bytes(cx: &Context, count: u64, chunk: u32) -> Result<StreamReader<u8>, Failure> {
    let (writer, reader) = cx.stream()?;
    let chunk = Bytes::from(vec![0x5a; chunk as usize]);
    tokio::spawn(write(writer, count, move |left| chunk.slice(..left.min(chunk.len()))));
    Ok(reader)
}

impl moving::Handler for Binding {
    async fn take_bytes(&self, _: &Context, bytes: StreamReader<u8>) -> Result<u64, Failure> {
        count(bytes).await
    }

    async fn make_bytes(
        &self,
        cx: &Context,
        count: u64,
        chunk: u32,
    ) -> Result<StreamReader<u8>, Failure> {
        bytes(cx, count, chunk)
    }

    async fn take_records(
        &self,
        _: &Context,
        records: StreamReader<Small>,
    ) -> Result<u64, Failure> {
        count(records).await
    }

    async fn make_records(
        &self,
        cx: &Context,
        count: u64,
        chunk: u32,
    ) -> Result<StreamReader<Small>, Failure> {
        let (writer, reader) = cx.stream()?;
        let chunk = (0..chunk).map(|at| Small { a: at, b: u64::from(at) << 40, c: at & 1 == 1 });
        let chunk: Vec<_> = chunk.collect();
        let next = move |left| chunk.get(..left).unwrap_or(&chunk).to_vec();
        tokio::spawn(write(writer, count, next));
        Ok(reader)
    }
}

impl files::Handler for Binding {
    async fn open(
        &self,
        cx: &Context,
        count: u64,
        chunk: u32,
    ) -> Result<StreamReader<u8>, Failure> {
        bytes(cx, count, chunk)
    }
}
