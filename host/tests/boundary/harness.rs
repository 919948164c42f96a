//! Runs one component and compares what crosses with what should.

use std::{
    mem::take,
    sync::{Arc, LazyLock, Mutex},
};

use backplane::boundary::{
    Binding, StoreData, StoreState,
    call::{Answer, Callee},
    exports::exports,
    imports::imports,
    invoke::{Called, Export},
    link::{LinkedImport, define},
};
use backplane_abi::{CallContext, Exchange};
use wasmtime::{
    Config, Engine, Store,
    component::{Accessor, Component, Instance, Linker, ResourceTable, Val},
};

use crate::{
    component::forwarding,
    generate::{Encoding, Lowering, Rng, Signature},
    values::message,
};

pub struct Data(pub StoreState, ResourceTable);

impl Data {
    pub fn new() -> Self {
        Self(StoreState::default(), ResourceTable::new())
    }
}

impl StoreData for Data {
    fn boundary(&mut self) -> &mut StoreState {
        &mut self.0
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.1
    }
}

pub fn engine(concurrent: bool) -> Engine {
    static ENGINES: LazyLock<[Engine; 2]> = LazyLock::new(|| {
        [false, true].map(|concurrent| {
            let mut config = Config::new();
            config.concurrency_support(concurrent);
            config.wasm_component_model_async(concurrent);
            Engine::new(&config).unwrap()
        })
    });
    ENGINES[usize::from(concurrent)].clone()
}

/// Keeps the last arguments, and answers with what it was told.
#[derive(Default)]
pub struct Recorder {
    pub arguments: Mutex<Vec<u8>>,
    pub answer: Mutex<Vec<u8>>,
}

impl Callee for Recorder {
    fn provider(&self) -> &str {
        "recorder"
    }

    fn call(&self, _: u32, _: &CallContext, exchange: &mut Exchange) -> Answer {
        *self.arguments.lock().unwrap() = take(&mut exchange.arguments).into_vec();
        exchange.results = self.answer.lock().unwrap().clone().into();
        Answer::Ready
    }

    fn drop_resource(&self, _: u32, _: u64) {}
}

pub struct Shared(pub Arc<Recorder>);

impl Callee for Shared {
    fn provider(&self) -> &str {
        "recorder"
    }

    fn call(&self, function: u32, context: &CallContext, exchange: &mut Exchange) -> Answer {
        self.0.call(function, context, exchange)
    }

    fn drop_resource(&self, _: u32, _: u64) {}
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    });
    RUNTIME.block_on(future)
}

/// Passes random values through the component; how many were compared.
pub fn compare(
    rng: &mut Rng,
    signature: &Signature,
    encoding: Encoding,
    lowering: Lowering,
    concurrent: bool,
) -> u64 {
    let text = forwarding(signature, encoding, lowering);
    let engine = engine(concurrent);
    let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let component =
        Component::new(&engine, bytes).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
    let recorder = Arc::new(Recorder::default());
    let binding = Binding::new(Arc::new(Shared(Arc::clone(&recorder))));
    let found = imports(&engine, &component, |_| false).unwrap();
    let functions: Vec<_> =
        found[0].functions.iter().map(|(name, ty)| (name.clone(), ty.clone(), 0)).collect();
    let mut linker = Linker::<Data>::new(&engine);
    let import = LinkedImport {
        name: &found[0].name,
        functions: &functions,
        defines: &[],
        resources: &[],
        binding: &binding,
    };
    define(&mut linker, &import).unwrap();
    let export = export(&engine, &component, &binding);
    let place = component.get_export_index(None, "test:gen/run@1.0.0").unwrap();
    let place = component.get_export_index(Some(&place), "run").unwrap();
    let mut compared = 0;
    for _ in 0..8 {
        let mut store = Store::new(&engine, Data::new());
        let params: Vec<Val> = signature.params.iter().map(|ty| ty.value(rng)).collect();
        let expected = message(&signature.params.iter().zip(&params).collect::<Vec<_>>());
        let result = signature.result.as_ref().map(|ty| (ty, ty.value(rng)));
        let answer = result.as_ref().map(|(ty, value)| message(&[(*ty, value)]));
        *recorder.answer.lock().unwrap() = answer.unwrap_or_default();
        let mut returned = vec![Val::Bool(false); usize::from(result.is_some())];
        let instance = block_on(linker.instantiate_async(&mut store, &component)).unwrap();
        block_on(async {
            let run = instance.get_func(&mut store, place).unwrap();
            run.call_async(&mut store, &params, &mut returned)
                .await
                .unwrap_or_else(|error| panic!("{error:#?}\n{signature:#?}\n{params:?}"));
        });
        assert_eq!(
            *recorder.arguments.lock().unwrap(),
            expected,
            "{signature:#?} {encoding:?} {lowering:?} {params:?}"
        );
        if let Some((_, value)) = result {
            assert_eq!(returned[0], value, "{signature:#?} {encoding:?}");
            compared += 1;
        }
        compared += params.len() as u64;
        // The same by wire values: the arguments lowered and the result lifted as a provider's call has them.
        recorder.arguments.lock().unwrap().clear();
        let beside = concurrent && rng.below(2) == 0;
        let called = call(&export, &mut store, &instance, expected.clone(), beside);
        let results =
            called.unwrap_or_else(|error| panic!("{error:#?}\n{signature:#?}\n{params:?}"));
        assert_eq!(*recorder.arguments.lock().unwrap(), expected, "{signature:#?} {params:?}");
        assert_eq!(results, *recorder.answer.lock().unwrap(), "{signature:#?} {encoding:?}");
        compared += params.len() as u64 + u64::from(!returned.is_empty());
    }
    compared
}

/// The one export of a component, as a provider without resources calls it.
pub fn export(engine: &Engine, component: &Component, binding: &Arc<Binding>) -> Export<Data> {
    let all = exports(engine, component);
    let function = &all[0].functions[0];
    let called = Called {
        interface: "test:gen/run@1.0.0",
        function: "run",
        ty: function.ty.as_ref().unwrap(),
        resources: &[],
        binding,
    };
    Export::new(function.index, &called).unwrap()
}

/// Calls it by wire values: alone in its store, or as one of several that may run there.
pub fn call(
    export: &Export<Data>,
    store: &mut Store<Data>,
    instance: &Instance,
    arguments: Vec<u8>,
    beside: bool,
) -> wasmtime::Result<Vec<u8>> {
    let arguments = export.arguments(arguments.into()).unwrap();
    let results = block_on(async {
        if !beside {
            return export.call(store, instance, arguments).await;
        }
        let run = async |accessor: &Accessor<Data>| {
            let (_, call) = export.begin(accessor, instance, arguments)?;
            call.await
        };
        store.run_concurrent(run).await?
    });
    results.map(|results| results.into_message().into_vec())
}
