//! `bench:kv/calls`, from memory.

use std::{collections::HashMap, sync::PoisonError};

use backplane_sdk::{Bytes, Context, Failure, List, Own};

use crate::{
    Binding,
    bindings::bench::kv::calls::{self, Handler, TenFields},
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
