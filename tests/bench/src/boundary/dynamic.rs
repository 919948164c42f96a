//! The calls made with `func_new_async` over `Val`: what a host does that learns types at run time.

use wasmtime::{
    Engine, Result, StoreContextMut, bail,
    component::{Linker, Resource, ResourceAny, ResourceType, Val},
};

use super::{
    guest::{Data, core_linker},
    typed::another_task_answers,
};

/// A resource that holds a number, its representation's entry in the table.
struct Cell(u32);

type Answer<'a> = Box<dyn Future<Output = Result<()>> + Send + 'a>;

/// A linker with the functions over `Val`.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker = core_linker(engine)?;
    let mut calls = linker.instance("bench:kv/calls@1.0.0")?;
    calls.resource("cell", ResourceType::host::<Cell>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Cell>::new_own(rep))?;
        Ok(())
    })?;
    calls
        .func_new_async("get", |store, _, params, results| at_once(get(store, params, results)))?;
    calls
        .func_new_async("set", |store, _, params, results| at_once(set(store, params, results)))?;
    for name in ["list-u32", "list-pairs", "rec"] {
        calls.func_new_async(name, |_, _, params, results| at_once(echo(params, results)))?;
    }
    calls.func_new_async("pending", |_, _, params, results| -> Answer<'_> {
        Box::new(async move {
            let ([Val::U32(v)], [result]) = (params, results) else { return misfit() };
            *result = Val::U32(another_task_answers(*v).await?);
            Ok(())
        })
    })?;
    calls.func_new_async("[constructor]cell", |store, _, params, results| {
        at_once(new_cell(store, params, results))
    })?;
    calls.func_new_async("[method]cell.value", |store, _, params, results| {
        at_once(cell_value(store, params, results))
    })?;
    Ok(linker)
}

fn at_once<'a>(outcome: Result<()>) -> Answer<'a> {
    Box::new(std::future::ready(outcome))
}

fn get(mut store: StoreContextMut<'_, Data>, params: &[Val], results: &mut [Val]) -> Result<()> {
    let ([Val::String(key)], [result]) = (params, results) else { return misfit() };
    let value = store.data_mut().values.get(key);
    let value = value.map(|value| Val::List(value.iter().copied().map(Val::U8).collect()));
    *result = Val::Result(Ok(Some(Box::new(Val::Option(value.map(Box::new))))));
    Ok(())
}

fn set(mut store: StoreContextMut<'_, Data>, params: &[Val], results: &mut [Val]) -> Result<()> {
    let ([Val::String(key), Val::List(value)], [result]) = (params, results) else {
        return misfit();
    };
    let byte = |value: &Val| match value {
        Val::U8(byte) => Some(*byte),
        _ => None,
    };
    let value = value.iter().filter_map(byte).collect();
    store.data_mut().values.insert(key.clone(), value);
    *result = Val::Result(Ok(None));
    Ok(())
}

fn echo(params: &[Val], results: &mut [Val]) -> Result<()> {
    let ([value], [result]) = (params, results) else { return misfit() };
    *result = value.clone();
    Ok(())
}

fn new_cell(
    mut store: StoreContextMut<'_, Data>,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let ([Val::U32(v)], [result]) = (params, results) else { return misfit() };
    let cell = store.data_mut().table.push(Cell(*v))?;
    *result = Val::Resource(ResourceAny::try_from_resource(cell, &mut store)?);
    Ok(())
}

fn cell_value(
    mut store: StoreContextMut<'_, Data>,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let ([Val::Resource(cell)], [result]) = (params, results) else { return misfit() };
    let cell = Resource::<Cell>::try_from_resource_any(*cell, &mut store)?;
    *result = Val::U32(store.data_mut().table.get(&cell)?.0);
    Ok(())
}

/// The linker checks types, so no guest causes it.
fn misfit() -> Result<()> {
    bail!("arguments or results of another number or type")
}
