//! The calls compiled in, with the runtime's typed async API: what a plugin's authors would write.

use wasmtime::{
    Engine, Result,
    component::{HasSelf, Linker, Resource},
};

use super::guest::{Data, core_linker};
use bindings::bench::kv::calls::{self, TenFields};

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from WIT")]

    wasmtime::component::bindgen!({
        inline: "
            package bench:compiled-in;
            world guest {
                import bench:kv/calls@1.0.0;
            }
        ",
        path: "../../wit/bench-kv",
        imports: { default: async | trappable },
        with: { "bench:kv/calls.cell": super::Cell },
    });
}

/// A resource that holds a number.
#[allow(unreachable_pub, reason = "the generated module exports it under its own name")]
pub struct Cell(u32);

/// A linker with the functions compiled in.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = core_linker(engine)?;
    calls::add_to_linker::<_, HasSelf<_>>(&mut linker, |data: &mut Data| data)?;
    Ok(linker)
}

impl calls::Host for Data {
    async fn get(&mut self, key: String) -> Result<std::result::Result<Option<Vec<u8>>, String>> {
        Ok(Ok(self.values.get(&key).cloned()))
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
    ) -> Result<std::result::Result<(), String>> {
        self.values.insert(key, value);
        Ok(Ok(()))
    }

    async fn list_u32(&mut self, v: Vec<u32>) -> Result<Vec<u32>> {
        Ok(v)
    }

    async fn list_pairs(&mut self, v: Vec<(String, u64)>) -> Result<Vec<(String, u64)>> {
        Ok(v)
    }

    async fn rec(&mut self, r: TenFields) -> Result<TenFields> {
        Ok(r)
    }

    async fn pending(&mut self, v: u32) -> Result<u32> {
        another_task_answers(v).await
    }
}

impl calls::HostCell for Data {
    async fn new(&mut self, v: u32) -> Result<Resource<Cell>> {
        Ok(self.table.push(Cell(v))?)
    }

    async fn value(&mut self, cell: Resource<Cell>) -> Result<u32> {
        Ok(self.table.get(&cell)?.0)
    }

    async fn drop(&mut self, cell: Resource<Cell>) -> Result<()> {
        self.table.delete(cell)?;
        Ok(())
    }
}

/// The number, from another task, which has to run before this one goes on.
pub(super) async fn another_task_answers(v: u32) -> Result<u32> {
    Ok(tokio::spawn(async move { v }).await?)
}
