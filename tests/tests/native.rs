//! Native extensions as the host loads them: the real library, across the real ABI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use backplane::{
    boundary::call::{Answer, Callee, Failure, FailureKind, LaterAnswer},
    name::{Digest, ProviderName},
    provider::{
        Callbacks, Provider, WorkloadIdentity,
        metadata::Refusal,
        set::{Enabled, ProviderSet, Settings, StartError},
    },
};
use backplane_abi::{Buffer, CallContext, Exchange};
use backplane_wire::{Decode, Encode, Form, from_slice, to_vec};
use serde_json::{Value, json};

const FAULTS: &str = "probe:types/faults@1.0.0";
const ECHO: &str = "probe:types/concurrent@1.0.0";

fn library() -> PathBuf {
    backplane_tests::extension("probe")
}

/// The probe under several names, each with its config, in folders of their own.
struct Host {
    set: ProviderSet,
    _folder: tempfile::TempDir,
}

fn start(extensions: &[(&str, Value)]) -> Result<Host, StartError> {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let file = plugins.join("probe.so");
    fs::copy(library(), &file).unwrap();
    let enable = extensions
        .iter()
        .map(|(name, config)| enabled(name, &file, None, config.clone()))
        .collect();
    let data = folder.path().join("data");
    ProviderSet::start(&Settings { plugins, data, enable }).map(|set| Host { set, _folder: folder })
}

fn enabled(name: &str, file: &Path, digest: Option<Digest>, config: Value) -> Enabled {
    Enabled {
        name: name.parse().unwrap(),
        file: Some(file.to_owned()),
        digest,
        config,
        sandbox_key: None,
    }
}

impl Host {
    fn provider(&self, name: &str) -> &Arc<dyn Provider> {
        self.set.get(&name.parse::<ProviderName>().unwrap()).unwrap()
    }

    async fn bind(&self, name: &str, config: Value) -> Result<Caller<'_>, String> {
        let provider = self.provider(name);
        let workload = WorkloadIdentity { name: "tests".parse().unwrap() };
        let bound = provider.bind(&workload, &config, &Callbacks::none()).await;
        let callee = bound.map_err(|error| error.to_string())?;
        Ok(Caller { provider: &**provider, callee })
    }
}

/// Calls functions by name.
struct Caller<'a> {
    provider: &'a dyn Provider,
    callee: Arc<dyn Callee>,
}

/// An answer, with its results.
enum Begun {
    Ready(Buffer),
    Pending(LaterAnswer),
    Failed(Failure),
}

impl Caller<'_> {
    fn begin(&self, interface: &str, function: &str, args: &impl Encode) -> Begun {
        self.begin_with(interface, function, args, &CallContext::default())
    }

    fn begin_with(
        &self,
        interface: &str,
        function: &str,
        args: &impl Encode,
        context: &CallContext,
    ) -> Begun {
        let offers = self.provider.offers();
        let offer = offers.iter().find(|o| o.interface.to_string() == interface).unwrap();
        let number = offer.functions.iter().find(|f| f.name == function).unwrap().number;
        let arguments = to_vec(args, Form::Local).into();
        let mut exchange = Exchange { arguments, results: Buffer::new() };
        match self.callee.call(number, context, &mut exchange) {
            Answer::Ready => Begun::Ready(exchange.results),
            Answer::Pending(later) => Begun::Pending(*later),
            Answer::Failed(failure) => Begun::Failed(*failure),
        }
    }

    async fn call(&self, function: &str, args: &impl Encode) -> Result<Buffer, Failure> {
        match self.begin(FAULTS, function, args) {
            Begun::Ready(results) => Ok(results),
            Begun::Failed(failure) => Err(failure),
            Begun::Pending(future) => future.await,
        }
    }

    async fn get<T: for<'a> Decode<'a>>(&self, function: &str, args: &impl Encode) -> T {
        let results = self.call(function, args).await.unwrap();
        from_slice(&results, Form::Local).unwrap()
    }
}

#[tokio::test]
async fn a_panic_fails_its_call_and_nothing_else() {
    let host = start(&[("probe", json!({}))]).unwrap();
    let probe = host.bind("probe", json!({})).await.unwrap();
    for function in ["panic", "panic-later"] {
        let failure = probe.call(function, &"out of cheese").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Panicked, "{function}");
        assert!(failure.message.contains("out of cheese"), "{failure}");
        assert_eq!(probe.get::<u32>("spawned", &5_u32).await, 5);
    }
    assert_eq!(probe.call("panic-any", &()).await.unwrap_err().kind, FailureKind::Panicked);
}

#[tokio::test]
async fn a_cancelled_call_is_dropped_in_the_extension_even_if_that_panics() {
    let host = start(&[("probe", json!({}))]).unwrap();
    let probe = host.bind("probe", json!({})).await.unwrap();
    for (function, waiting) in [("never", 1), ("never-and-panic", 0)] {
        let Begun::Pending(mut future) = probe.begin(FAULTS, function, &()) else {
            panic!("{function} answered");
        };
        assert!(futures_poll(&mut future).await.is_none());
        assert_eq!(probe.get::<u32>("waiting", &()).await, waiting);
        drop(future);
        assert_eq!(probe.get::<u32>("waiting", &()).await, 0);
    }
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn an_answer_at_hand_makes_no_future_and_a_later_one_comes_from_its_own_runtime() {
    let host = start(&[("probe", json!({}))]).unwrap();
    let probe = host.bind("probe", json!({})).await.unwrap();
    assert!(matches!(probe.begin(ECHO, "echo", &7_u32), Begun::Ready(_)));
    assert!(matches!(probe.begin(FAULTS, "sleep", &1_u32), Begun::Pending(_)));
    assert_eq!(probe.get::<u32>("sleep", &3_u32).await, 3);
}

#[tokio::test]
async fn failures_keep_their_kind_and_words() {
    let host = start(&[("probe", json!({}))]).unwrap();
    let probe = host.bind("probe", json!({})).await.unwrap();
    struct Kind(u32);
    impl Encode for Kind {
        fn encode(&self, writer: &mut backplane_wire::Writer) {
            writer.discriminant(self.0);
        }
    }
    for (number, kind) in [
        (0, FailureKind::Other),
        (2, FailureKind::Unimplemented),
        (4, FailureKind::Unavailable),
        (5, FailureKind::Deadline),
        (6, FailureKind::Denied),
    ] {
        let failure = probe.call("fail", &(Kind(number), "no disk")).await.unwrap_err();
        assert_eq!((failure.kind, failure.message.contains("no disk")), (kind, true));
    }
}

#[tokio::test]
async fn malformed_arguments_are_refused_with_the_function_s_name() {
    let host = start(&[("probe", json!({}))]).unwrap();
    let probe = host.bind("probe", json!({})).await.unwrap();
    let failure = probe.call("sleep", &()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadArguments);
    assert!(failure.message.contains("sleep"), "{failure}");
}

#[tokio::test]
async fn two_extensions_of_one_file_have_each_its_config_and_resource_types() {
    let host = start(&[("one", json!({"greeting": "hello"})), ("two", json!({"greeting": "hi"}))])
        .unwrap();
    for (name, greeting) in [("one", "hello"), ("two", "hi")] {
        let caller = host.bind(name, json!({"label": name})).await.unwrap();
        let configured: (String, String) = caller.get("configured", &()).await;
        assert_eq!(configured, (greeting.to_owned(), name.to_owned()));
    }
    let identities = |name| {
        let offers = host.provider(name).offers().iter();
        offers.flat_map(|o| o.resources.iter().map(|r| r.identity)).collect::<Vec<_>>()
    };
    let (one, two) = (identities("one"), identities("two"));
    assert!(!one.is_empty() && one.iter().all(|identity| !two.contains(identity)));
}

#[tokio::test]
async fn the_call_s_deadline_trace_and_workload_reach_the_handler() {
    let host = start(&[("probe", json!({}))]).unwrap();
    let probe = host.bind("probe", json!({})).await.unwrap();
    let context = CallContext { trace_id: [9; 16], depth: 2, ..CallContext::default() };
    let Begun::Ready(results) = probe.begin_with(FAULTS, "context", &(), &context) else {
        panic!("the context was not at hand");
    };
    let known: (String, Option<u64>, Vec<u8>, u32) = from_slice(&results, Form::Local).unwrap();
    assert_eq!(known, ("tests".to_owned(), None, vec![9; 16], 2));
}

#[tokio::test]
async fn a_lifecycle_step_that_fails_or_panics_is_told_and_nothing_starts() {
    for (how, words) in [("fail", "as configured"), ("panic", "as configured")] {
        let error = start(&[("probe", json!({"create": how}))]).err().unwrap().to_string();
        assert!(error.contains("`probe`") && error.contains(words), "{error}");
        let host = start(&[("probe", json!({}))]).unwrap();
        let error = host.bind("probe", json!({"bind": how})).await.err().unwrap();
        assert!(error.contains(words), "{error}");
        drop(host.bind("probe", json!({"unbind": how})).await.unwrap());
        assert!(host.bind("probe", json!({})).await.is_ok());
        host.set.shutdown().await;
    }
}

#[tokio::test]
async fn an_unknown_key_of_the_config_is_refused_with_the_keys_there_are() {
    let error = start(&[("probe", json!({"greting": "x"}))]).err().unwrap().to_string();
    assert!(error.contains("greting") && error.contains("greeting"), "{error}");
}

#[test]
fn a_file_that_changed_after_its_pin_is_refused_without_being_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.so");
    let mut bytes = fs::read(library()).unwrap();
    let pin = Digest::of(&bytes);
    // Beyond the sections: the library would load all the same.
    bytes.push(0);
    fs::write(&file, &bytes).unwrap();
    let settings = Settings {
        plugins: folder.path().join("plugins"),
        data: folder.path().join("data"),
        enable: vec![enabled("probe", &file, Some(pin), Value::Null)],
    };
    let error = ProviderSet::start(&settings).err().unwrap();
    assert!(matches!(
        &error,
        StartError::Refused { refusal: Refusal::Changed { found, pinned }, .. }
            if *pinned == pin && *found == Digest::of(&bytes)
    ));
    let copies = folder.path().join("data/extensions/libraries");
    assert!(!copies.exists(), "it was copied to be opened");
}

#[test]
fn what_is_opened_is_a_private_copy_named_by_its_digest() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = start(&[("probe", json!({}))]).unwrap();
    let copies = host._folder.path().join("data/extensions/libraries");
    let digest = Digest::of(&fs::read(library()).unwrap());
    assert!(copies.join(format!("{}.so", digest.hex())).is_file());
    assert_eq!(fs::metadata(&copies).unwrap().permissions().mode() & 0o777, 0o700);
}
