//! Handles that a component extension did not give to whoever names them, at the edge where workloads call it.

use std::{num::NonZeroUsize, sync::Arc};

use backplane::{
    boundary::call::{Answer, Callee, Failure, FailureKind},
    engine::{Engines, Settings},
    name::ProviderName,
    provider::{Callbacks, Offer, Provider, WorkloadIdentity, world},
    workload::{
        Loaded,
        extension::Extension,
        spec::{Instances, Spec},
    },
};
use backplane_abi::{CallContext, Exchange};
use backplane_tests::component;
use backplane_wire::{Form, Reader, Writer};

/// The shelf, as one workload has it.
struct Shelf {
    offers: Vec<Offer>,
    callee: Arc<dyn Callee>,
    extension: Extension,
}

impl Shelf {
    async fn new() -> Self {
        let file = component("shelf");
        let bytes = std::fs::read(&file).unwrap();
        let offers = world::of_component(&bytes).unwrap();
        let engines = Engines::new(&Settings { instances: 10, ..Settings::default() }).unwrap();
        let requests = Some(NonZeroUsize::MAX);
        let most = Some(NonZeroUsize::MIN);
        let instances = Instances { requests, most, idle: None, ..Instances::default() };
        let spec = Spec { instances, ..Spec::plain(&file) };
        let loaded = Loaded::of(&engines, spec, bytes).await.unwrap();
        let linker = loaded.linker().unwrap();
        let name: ProviderName = "shelf".parse().unwrap();
        let extension = Extension::start(&name, loaded, &linker, offers.clone()).unwrap();
        let workload = WorkloadIdentity { name: "shop".parse().unwrap() };
        let bound = extension.bind(&workload, &serde_json::json!({}), &Callbacks::none()).await;
        Self { offers, callee: bound.unwrap(), extension }
    }

    async fn call(&self, function: &str, arguments: Writer) -> Result<Vec<u8>, Failure> {
        let functions = self.offers.iter().flat_map(|offer| &offer.functions);
        let number = functions.into_iter().find(|offered| offered.name == function).unwrap().number;
        let mut exchange =
            Exchange { arguments: arguments.into_vec().into(), ..Exchange::default() };
        match self.callee.call(number, &CallContext::default(), &mut exchange) {
            Answer::Ready => Ok(exchange.results.into_vec()),
            Answer::Pending(later) => later.await.map(|results| results.into_vec()),
            Answer::Failed(failure) => Err(*failure),
        }
    }

    async fn made(&self, constructor: &str) -> u64 {
        let mut arguments = Writer::new(Form::Local);
        arguments.string("label");
        let handle = self.call(constructor, arguments).await.unwrap();
        Reader::new(&handle, Form::Local).handle().unwrap()
    }

    /// Calls a function that takes these handles.
    async fn with(&self, function: &str, handles: &[u64]) -> Result<Vec<u8>, Failure> {
        let mut arguments = Writer::new(Form::Local);
        handles.iter().for_each(|handle| arguments.handle(*handle));
        self.call(function, arguments).await
    }

    async fn live(&self) -> u32 {
        let live = self.with("live", &[]).await.unwrap();
        u32::from_le_bytes(live.try_into().unwrap())
    }

    fn drop_item(&self, handle: u64) {
        self.callee.drop_resource(0, handle);
    }
}

fn is(ended: Result<Vec<u8>, Failure>, kind: FailureKind, text: &str) {
    let failure = ended.expect_err("it was let in");
    assert!(failure.kind == kind && failure.message.contains(text), "{failure:?}");
}

#[tokio::test]
async fn a_handle_that_is_not_there_or_of_another_type_is_refused_and_the_instance_goes_on() {
    let shelf = Shelf::new().await;
    let item = shelf.made("[constructor]item").await;
    let tag = shelf.made("[constructor]tag").await;
    assert!(shelf.with("[method]item.label", &[item]).await.is_ok());
    assert!(shelf.with("[method]tag.name", &[tag]).await.is_ok());

    for forged in [0, item + 1000, u64::MAX] {
        let ended = shelf.with("[method]item.label", &[forged]).await;
        is(ended, FailureKind::Unavailable, "the resource is gone");
    }
    let other = "another type";
    is(shelf.with("[method]item.label", &[tag]).await, FailureKind::BadArguments, other);
    is(shelf.with("[method]tag.name", &[item]).await, FailureKind::BadArguments, other);
    is(shelf.with("[method]item.label", &[]).await, FailureKind::BadArguments, "");
    // What was refused has been left as it was.
    assert!(shelf.with("[method]item.label", &[item]).await.is_ok());
    assert_eq!(shelf.live().await, 1);
    shelf.extension.shutdown().await;
}

#[tokio::test]
async fn one_that_is_given_twice_in_a_call_is_refused() {
    let shelf = Shelf::new().await;
    let (first, second) =
        (shelf.made("[constructor]item").await, shelf.made("[constructor]item").await);
    let ended = shelf.with("[static]item.joined", &[first, first]).await;
    is(ended, FailureKind::BadArguments, "given away and used");
    // It was the extension's from then on, and so it was dropped.
    assert_eq!(shelf.live().await, 1);
    is(shelf.with("[method]item.label", &[first]).await, FailureKind::Unavailable, "gone");
    assert!(shelf.with("[method]item.label", &[second]).await.is_ok());
    shelf.extension.shutdown().await;
}

#[tokio::test]
async fn one_that_is_dropped_twice_is_dropped_once() {
    let shelf = Shelf::new().await;
    let (first, second) =
        (shelf.made("[constructor]item").await, shelf.made("[constructor]item").await);
    shelf.drop_item(first);
    shelf.drop_item(first);
    assert_eq!(shelf.live().await, 1);
    is(shelf.with("[method]item.label", &[first]).await, FailureKind::Unavailable, "gone");
    assert!(shelf.with("[method]item.label", &[second]).await.is_ok());
    shelf.extension.shutdown().await;
}

#[tokio::test]
async fn a_result_that_nobody_takes_is_dropped_in_the_instance() {
    let shelf = Shelf::new().await;
    let mut arguments = Writer::new(Form::Local);
    arguments.string("label");
    let mut later = Box::pin(shelf.call("[constructor]item", arguments));
    // Begun, and given up before it has answered.
    assert!(futures::poll!(&mut later).is_pending());
    drop(later);
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
    while shelf.live().await != 0 {
        ticks.tick().await;
    }
    shelf.extension.shutdown().await;
}
