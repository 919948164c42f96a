//! The trace of a request: in its headers, in the calls of its guest, and in the log.

use std::sync::{Arc, Mutex};

use backplane::{
    boundary::StoreData as _,
    http::{Router, Server},
    workload::Workload,
};
use backplane_abi::CallContext;
use wasmtime::component::Val;

use crate::{
    observed::Log,
    support::{Host, engines, spec, within},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// What the guest sees of a header field.
fn field<'a>(seen: &'a str, name: &str) -> Option<&'a str> {
    seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_guest_sees_the_trace_with_a_span_of_the_hosts() {
    let (log, _guard) = Log::capture();
    let host = Host::start([spec("misbehave")]).await;
    let given = format!("00-{TRACE}-{CALLER}-01");
    let request = host.request("GET", "/see").header("traceparent", given);
    let seen = request.header("tracestate", "a=1,b=2").send().await.unwrap().text().await.unwrap();
    let parent = field(&seen, "traceparent").unwrap();
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{seen}");
    assert!(!parent.contains(CALLER), "{seen}");
    assert_eq!(field(&seen, "tracestate"), Some("a=1,b=2"));
    within(host.idle()).await;
    log.line(&["access", &format!("trace={TRACE}")]);
}

#[tokio::test]
async fn a_request_without_a_trace_or_with_a_bad_one_begins_one() {
    let (log, _guard) = Log::capture();
    let host = Host::start([spec("misbehave")]).await;
    for given in [None, Some(format!("00-{}-{CALLER}-01", "0".repeat(32)))] {
        let mut request = host.request("GET", "/see").header("tracestate", "a=1");
        if let Some(given) = given {
            request = request.header("traceparent", given);
        }
        let seen = request.send().await.unwrap().text().await.unwrap();
        let parent = field(&seen, "traceparent").unwrap();
        let parts: Vec<_> = parent.split('-').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2].len(), parts[3]), ("00", 32, 16, "00"));
        assert_eq!(field(&seen, "tracestate"), None);
        // An id that the host makes up is that of its span.
        assert_eq!(field(&seen, "x-request-id"), Some(parts[2]));
        within(host.idle()).await;
        log.line(&["access", &format!("trace={}", parts[1]), &format!("id={}", parts[2])]);
    }
}

#[tokio::test]
async fn the_calls_of_a_guest_carry_its_trace() {
    let seen = Arc::new(Mutex::new(CallContext::default()));
    let sees = Arc::clone(&seen);
    // A provider's function, as far as the guest can tell: one that says what came with its call.
    let engines = engines();
    let workload = Workload::prepare(&engines, spec("misbehave"), move |linker, _| {
        linker.allow_shadowing(true);
        linker.instance("wasi:config/store@0.2.0-rc.1")?.func_new(
            "get-all",
            move |mut store, _, _, results| {
                *sees.lock().unwrap() = store.data_mut().boundary().context;
                results[0] = Val::Result(Ok(Some(Box::new(Val::List(Vec::new())))));
                Ok(())
            },
        )?;
        linker.allow_shadowing(false);
        Ok(())
    });
    let workload = Arc::new(workload.await.unwrap());
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}/config", server.address());
    let router = Router::new([workload]).unwrap();
    let never = std::future::pending::<()>();
    tokio::spawn(server.serve(router, never, std::time::Duration::ZERO));
    let request = reqwest::Client::new().get(url);
    let request = request.header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    assert_eq!(within(request.send()).await.unwrap().status(), 200);
    let context = seen.lock().unwrap();
    assert_eq!(u128::from_be_bytes(context.trace_id), u128::from_str_radix(TRACE, 16).unwrap());
    let span = u64::from_be_bytes(context.span_id);
    assert!(span != 0 && span != u64::from_str_radix(CALLER, 16).unwrap(), "{span:x}");
}
