//! Instances that answer many requests: which request gets which, how one ends without the others, and
//! how they end together.

use std::{num::NonZeroUsize, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use crate::{
    observed::Log,
    reuse::{self, Lab, shared, until},
    support::{engines, engines_for, prepare, spec, within},
};

fn ok(number: impl std::fmt::Display) -> (u16, String) {
    (200, format!("{number}\n"))
}

#[tokio::test]
async fn an_instance_answers_as_many_requests_as_it_may_and_then_another_does() {
    let lab = Lab::start(shared(3, 2)).await;
    for count in [1, 2, 3, 1, 2, 3, 1] {
        assert_eq!(lab.get("/").await, ok(count));
    }
    within(lab.host.idle()).await;
    until(|| lab.instances() == 1).await;
    assert_eq!((lab.started(), lab.ended("used-up")), (3, 2));
    assert_eq!(lab.requests("well"), 7);
}

#[tokio::test]
async fn requests_are_answered_while_others_of_the_instance_wait() {
    let lab = Lab::start(shared(100, 16)).await;
    let waiting = lab.begin("/sleep?ms=300");
    until(|| lab.metric("backplane_requests_running", "shop") == 1).await;
    for count in 2..=10 {
        assert_eq!(lab.get("/").await, ok(count));
    }
    assert_eq!(within(waiting).await.unwrap(), ok(1));
    assert_eq!(lab.started(), 1);
}

#[tokio::test]
async fn beyond_what_an_instance_takes_at_once_another_is_made() {
    let lab = Lab::start(shared(100, 2)).await;
    let first = lab.waiting(1).await;
    let second = lab.waiting(2).await;
    assert_eq!(lab.get("/").await, ok(1));
    assert_eq!(lab.get("/").await, ok(2));
    assert_eq!(lab.started(), 2);
    drop((first, second));
}

#[tokio::test]
async fn an_idle_instance_goes_after_its_time() {
    let mut spec = shared(100, 2);
    spec.instances.idle = Some(Duration::from_millis(100));
    let lab = Lab::start(spec).await;
    assert_eq!(lab.get("/").await, ok(1));
    until(|| lab.instances() == 0).await;
    assert_eq!(lab.ended("idle"), 1);
    assert_eq!(lab.get("/").await, ok(1));
    // Not while it has a request.
    assert_eq!(lab.get("/sleep?ms=400").await.0, 200);
    assert_eq!(lab.requests("well"), 3);
}

#[tokio::test]
async fn a_guest_of_0_2_is_fresh_for_each_request_unless_its_workload_says_otherwise() {
    for (requests, instances) in [(None, 4), (NonZeroUsize::new(2), 2), (NonZeroUsize::new(9), 1)] {
        let mut spec = spec("misbehave");
        spec.name = "shop".parse().unwrap();
        spec.instances.requests = requests;
        let lab = Lab::start(spec).await;
        for _ in 0..4 {
            assert_eq!(lab.get("/").await, (200, "ok\n".to_owned()));
        }
        assert_eq!(lab.started(), instances, "{requests:?}");
    }
}

#[tokio::test]
async fn a_reused_guest_of_0_2_ends_at_its_limits_like_a_fresh_one() {
    let mut spec = spec("misbehave");
    spec.name = "shop".parse().unwrap();
    spec.instances.requests = NonZeroUsize::new(100);
    spec.limits.cpu = Some(Duration::from_millis(200));
    spec.limits.deadline = Some(Duration::from_secs(3));
    spec.limits.memory = 32 << 20;
    let lab = Lab::start(spec).await;
    for (path, status, ended) in [
        ("/loop", 503, "cpu"),
        ("/hang", 504, "deadline"),
        ("/grow", 500, "memory"),
        ("/trap", 500, "trap"),
        ("/silent", 500, "no-response"),
    ] {
        assert_eq!(lab.get("/").await.0, 200);
        assert_eq!(lab.get(path).await.0, status, "{path}");
        assert_eq!(lab.requests(ended), 1, "{path}");
    }
    assert_eq!(lab.get("/stream?bytes=300000").await.1.len(), 300_000);
    // All but the silent one ended their instance.
    assert_eq!((lab.started(), lab.ended("failed")), (5, 4));
    let (hanging, provider) = (lab.host.send("GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await, &lab);
    until(|| provider.metric("backplane_requests_running", "shop") == 1).await;
    drop(hanging);
    within(lab.host.idle()).await;
    assert_eq!((lab.requests("cancelled"), lab.ended("cancelled")), (1, 1));
}

#[tokio::test]
async fn a_component_that_waits_for_plain_functions_takes_one_request_at_a_time() {
    let spec = |concurrent| {
        let mut spec = spec("counter-p3");
        spec.name = "shop".parse().unwrap();
        spec.instances.concurrent = NonZeroUsize::new(concurrent);
        spec
    };
    let refused = reuse::prepare(&engines(), spec(2), &Default::default()).await.unwrap_err();
    let refused = refused.to_string();
    for part in ["workloads.shop.instances.concurrent", "wasi:keyvalue/", "plain `func`"] {
        assert!(refused.contains(part), "{refused}");
    }
    let lab = Lab::start(spec(0)).await;
    for _ in 0..3 {
        assert_eq!(lab.get("/now").await.0, 200);
    }
    assert_eq!(lab.started(), 1);
    // The provider's answer is no bucket; what counts is that the second does not wait behind the first.
    let waiting = ["/one", "/two"].map(|path| lab.begin(path));
    lab.provider.wait(2).await;
    assert_eq!(lab.instances(), 2);
    drop(waiting);
}

#[tokio::test]
async fn requests_that_wait_in_a_host_call_hold_back_none_that_come_after() {
    let mut spec = spec("misbehave");
    spec.name = "shop".parse().unwrap();
    spec.instances.requests = NonZeroUsize::new(100);
    let lab = Lab::start(spec).await;
    let waiting: Vec<_> = (0..8).map(|_| lab.begin("/hang")).collect();
    until(|| lab.instances() == 8).await;
    assert_eq!(lab.get("/").await.0, 200);
    drop(waiting);
}

#[tokio::test]
async fn several_requests_at_once_are_refused_where_a_guest_answers_0_2() {
    let mut spec = spec("hello");
    spec.instances.concurrent = NonZeroUsize::new(2);
    let refused = prepare(&engines(), spec).await.unwrap_err().to_string();
    assert!(refused.contains("of WASI 0.2, whose functions run one after the other"), "{refused}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_and_not_the_others() {
    let lab = Lab::start(shared(100, 4)).await;
    let staying = lab.begin("/sleep?ms=700");
    until(|| lab.metric("backplane_requests_running", "shop") == 1).await;
    let leaving = lab.waiting(1).await;
    leaving.abort();
    until(|| lab.requests("cancelled") == 1).await;
    // Its task cannot be ended alone; until the other is done others get an instance of their own.
    assert_eq!(lab.get("/").await, ok(1));
    assert_eq!(within(staying).await.unwrap(), ok(1));
    // The call that it waited for is cancelled with its instance.
    lab.provider.wait(0).await;
    within(lab.host.idle()).await;
    assert_eq!((lab.ended("cancelled"), lab.started()), (1, 2));
}

#[tokio::test]
async fn a_client_that_leaves_alone_ends_its_guest_at_once() {
    let lab = Lab::start(shared(100, 4)).await;
    let leaving = lab.waiting(1).await;
    leaving.abort();
    lab.provider.wait(0).await;
    within(lab.host.idle()).await;
    assert_eq!((lab.requests("cancelled"), lab.instances()), (1, 0));
    // While it computes as well.
    let computing = lab.host.send("GET /loop HTTP/1.1\r\nhost: x\r\n\r\n").await;
    until(|| lab.metric("backplane_requests_running", "shop") == 1).await;
    drop(computing);
    within(lab.host.idle()).await;
    assert_eq!((lab.requests("cancelled"), lab.instances()), (2, 0));
}

#[tokio::test]
async fn a_client_that_leaves_within_a_response_ends_its_request_and_not_the_others() {
    let mut spec = shared(100, 4);
    spec.limits.deadline = None;
    let lab = Lab::start(spec).await;
    let staying = lab.begin("/stream?bytes=100000&ms=50");
    let mut leaving =
        lab.host.send("GET /stream?bytes=1000000000&ms=5 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(within(leaving.read(&mut [0; 100])).await.unwrap() > 0);
    drop(leaving);
    until(|| lab.requests("cancelled") == 1).await;
    assert_eq!(within(staying).await.unwrap().1.len(), 100_000);
    within(lab.host.idle()).await;
    assert_eq!((lab.requests("well"), lab.ended("cancelled")), (1, 1));
}

#[tokio::test]
async fn a_trap_ends_all_requests_of_its_instance_with_one_account_of_it() {
    let (log, _guard) = Log::capture();
    let lab = Lab::start(shared(100, 4)).await;
    let first = lab.waiting(1).await;
    let second = lab.waiting(2).await;
    assert_eq!(lab.get("/trap").await.0, 500);
    for other in [first, second] {
        assert_eq!(within(other).await.unwrap().0, 500);
    }
    lab.provider.wait(0).await;
    let text = log.text();
    assert_eq!(text.matches("wasm backtrace").count(), 1, "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.contains("with it 3 requests")).collect();
    // The instance's own, and one for each request, with its id.
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines.iter().filter(|line| line.contains("id=")).count(), 3, "{text}");
    assert_eq!((lab.requests("trap"), lab.ended("failed")), (3, 1));
    assert_eq!(lab.get("/").await, ok(1));
}

#[tokio::test]
async fn a_trap_cuts_the_responses_of_its_instance_that_have_begun() {
    let lab = Lab::start(shared(100, 4)).await;
    let request =
        "GET /stream?bytes=1000000&ms=20 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut streaming = lab.host.send(request).await;
    assert!(within(streaming.read(&mut [0; 10])).await.unwrap() > 0);
    assert_eq!(lab.get("/trap").await.0, 500);
    let mut answer = String::new();
    // A reset is an end as well.
    within(streaming.read_to_string(&mut answer)).await.ok();
    assert!(!answer.ends_with("0\r\n\r\n"), "the body was ended as if complete");
    within(lab.host.idle()).await;
    assert_eq!(lab.requests("trap"), 2);
}

#[tokio::test]
async fn an_error_of_the_guests_own_ends_its_request_alone() {
    let lab = Lab::start(shared(100, 4)).await;
    assert_eq!(lab.get("/").await, ok(1));
    assert_eq!(lab.get("/error").await.0, 500);
    assert_eq!(lab.get("/").await, ok(3));
    assert_eq!((lab.requests("error"), lab.requests("well")), (1, 2));
}

#[tokio::test]
async fn no_request_is_lost_where_instances_fail_under_load() {
    let mut spec = shared(50, 4);
    spec.limits.concurrency = 1000;
    let lab = Lab::start_with(&engines_for(300), spec, Duration::from_secs(10)).await;
    let mut all = JoinSet::new();
    for number in 0..300 {
        let path = match number % 10 {
            0 => "/trap",
            1..4 => "/sleep?ms=2",
            _ => "/",
        };
        let request = lab.begin(path);
        all.spawn(async move { (path, within(request).await.unwrap().0) });
    }
    let answers = within(all.join_all()).await;
    assert_eq!(answers.len(), 300);
    for (path, status) in answers {
        assert!(status == 500 || (status == 200 && path != "/trap"), "{path}: {status}");
    }
    within(lab.host.idle()).await;
    assert_eq!(lab.requests("well") + lab.requests("trap"), 300);
    assert_eq!(lab.get("/").await.0, 200);
}

#[tokio::test]
async fn the_deadline_is_each_requests_own() {
    let mut spec = shared(100, 4);
    spec.limits.deadline = Some(Duration::from_secs(2));
    let lab = Lab::start(spec).await;
    let late = lab.waiting(1).await;
    // Time is what is tested: the second begins a second later, is at work when the first is late, and
    // is done half a second before it would be late itself.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = lab.begin("/sleep?ms=1500");
    until(|| lab.metric("backplane_requests_running", "shop") == 2).await;
    assert_eq!(within(late).await.unwrap().0, 504);
    // The instance takes no more, and ends when the other is done.
    assert_eq!(lab.get("/").await, ok(1));
    assert_eq!(within(begun).await.unwrap(), ok(2));
    lab.provider.wait(0).await;
    within(lab.host.idle()).await;
    assert_eq!((lab.requests("deadline"), lab.requests("well")), (1, 2));
    assert_eq!(lab.ended("failed"), 1);
}

#[tokio::test]
async fn the_deadline_cuts_a_response_that_has_begun() {
    let mut spec = shared(100, 4);
    spec.limits.deadline = Some(Duration::from_millis(300));
    let lab = Lab::start(spec).await;
    let request =
        "GET /stream?bytes=1000000&ms=50 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = within(lab.host.raw(request)).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    within(lab.host.idle()).await;
    assert_eq!(lab.requests("deadline"), 1);
}

#[tokio::test]
async fn a_guest_that_computes_for_ever_ends_with_its_instance_alone() {
    let (log, _guard) = Log::capture();
    let mut spec = shared(100, 4);
    spec.limits.cpu = Some(Duration::from_millis(300));
    let lab = Lab::start(spec).await;
    let beside = lab.waiting(1).await;
    let looping = lab.begin("/loop");
    // Others have instances of their own meanwhile.
    until(|| lab.metric("backplane_requests_running", "shop") == 2).await;
    assert_eq!(lab.get("/").await, ok(1));
    assert_eq!(within(looping).await.unwrap().0, 503);
    assert_eq!(within(beside).await.unwrap().0, 503);
    log.line(&["with it 2 requests", "300ms", "`limits.cpu`"]);
    assert_eq!(lab.get("/").await, ok(2));
    assert_eq!((lab.requests("cpu"), lab.ended("failed")), (2, 1));
}

#[tokio::test]
async fn cpu_time_adds_up_over_waits_and_waiting_is_free() {
    let mut spec = shared(100, 4);
    spec.limits.cpu = Some(Duration::from_millis(200));
    let lab = Lab::start(spec).await;
    assert_eq!(lab.get("/sleep?ms=500").await, ok(1));
    assert_eq!(lab.get("/step?ms=60").await, ok(2));
    // What others have used before is not charged again.
    for count in 3..8 {
        assert_eq!(lab.get("/step?ms=60").await, ok(count));
    }
    assert_eq!(lab.get("/step?ms=100000").await.0, 503);
    assert_eq!(lab.requests("cpu"), 1);
}

#[tokio::test]
async fn a_request_is_not_ended_for_the_cpu_time_of_others() {
    let mut spec = shared(100, 4);
    spec.limits.cpu = Some(Duration::from_millis(200));
    let lab = Lab::start(spec).await;
    let waiting = lab.begin("/call?ms=1500");
    lab.provider.wait(1).await;
    for count in 2..8 {
        assert_eq!(lab.get("/step?ms=60").await, ok(count));
    }
    assert_eq!(within(waiting).await.unwrap(), ok(1));
    assert_eq!(lab.started(), 1);
}

#[tokio::test]
async fn others_are_answered_while_a_guest_computes() {
    let mut spec = shared(100, 4);
    spec.limits.cpu = None;
    spec.limits.deadline = None;
    let lab = Lab::start(spec).await;
    assert_eq!(lab.get("/").await, ok(1));
    let _computing = lab.host.send("GET /loop HTTP/1.1\r\nhost: x\r\n\r\n").await;
    until(|| lab.metric("backplane_requests_running", "shop") == 1).await;
    for count in 1..5 {
        assert_eq!(lab.get("/").await, ok(count));
    }
}

#[tokio::test]
async fn memory_is_an_instances_own() {
    let mut spec = shared(100, 4);
    spec.limits.memory = 32 << 20;
    let lab = Lab::start(spec).await;
    for count in 1..=5 {
        assert_eq!(lab.get("/grow?mib=20").await, ok(count));
    }
    assert_eq!(lab.get("/grow?mib=40").await.0, 500);
    assert_eq!(lab.requests("memory"), 1);
    assert_eq!(lab.get("/").await, ok(1));
}

#[tokio::test]
async fn workloads_share_no_instance() {
    let named = |name: &str| {
        let mut spec = shared(100, 4);
        spec.component = backplane_tests::component("shared-p3");
        spec.http.as_mut().unwrap().path = format!("/{name}");
        spec.name = name.parse().unwrap();
        spec
    };
    let (a, b) = (Lab::start(named("a")).await, Lab::start(named("b")).await);
    assert_eq!(a.get("/a").await, ok(1));
    assert_eq!(b.get("/b").await, ok(1));
    assert_eq!(a.get("/a").await, ok(2));
}

#[tokio::test]
async fn what_a_guest_does_behind_its_response_is_finished() {
    let mut lab = Lab::start(shared(2, 2)).await;
    assert_eq!(lab.get("/behind?ms=300").await, ok(1));
    assert_eq!(lab.get("/behind-done").await, ok(0));
    // Used up, and not at its end.
    assert_eq!(lab.instances(), 1);
    lab.host.ask_to_stop();
    until(|| lab.instances() == 0).await;
    assert_eq!((lab.requests("well"), lab.ended("used-up")), (2, 1));
    assert_eq!(within(lab.host.served()).await.cut, 0);
}

#[tokio::test]
async fn what_does_not_finish_behind_its_response_is_cut_when_the_host_stops() {
    let mut spec = shared(100, 4);
    spec.limits.deadline = None;
    let mut lab = Lab::start_with(&engines(), spec, Duration::from_millis(200)).await;
    assert_eq!(lab.get("/behind?ms=3600000").await, ok(1));
    lab.host.ask_to_stop();
    until(|| lab.instances() == 0).await;
    assert_eq!((lab.requests("cancelled"), lab.ended("closed")), (1, 1));
    within(lab.host.served()).await;
}

#[tokio::test]
async fn idle_instances_are_gone_when_their_workload_has_ended() {
    let mut spec = shared(100, 4);
    spec.instances.idle = None;
    let lab = Lab::start(spec).await;
    assert_eq!(lab.get("/").await, ok(1));
    assert_eq!(lab.instances(), 1);
    within(lab.host.end()).await;
    assert_eq!(lab.instances(), 0);
}

#[tokio::test]
async fn a_trap_behind_a_response_is_told_to_the_operator() {
    let (log, _guard) = Log::capture();
    let lab = Lab::start(shared(100, 4)).await;
    assert_eq!(lab.get("/trap-behind").await, ok(1));
    until(|| lab.requests("trap") == 1).await;
    log.line(&["ERROR", "workload=shop", "unreachable", "id="]);
    assert_eq!(lab.get("/").await, ok(1));
}

#[tokio::test]
async fn the_deadline_counts_behind_a_response() {
    let mut spec = shared(100, 4);
    spec.limits.deadline = Some(Duration::from_millis(300));
    let lab = Lab::start(spec).await;
    assert_eq!(lab.get("/behind?ms=3600000").await, ok(1));
    until(|| lab.requests("deadline") == 1).await;
    until(|| lab.instances() == 0).await;
    assert_eq!(lab.get("/").await, ok(1));
}

#[tokio::test]
async fn nothing_is_left_in_an_instance_of_thousands_of_requests() {
    let lab = Lab::start(shared(1_000_000, 4)).await;
    let mut stream = lab.host.send("").await;
    let request = "POST /count-body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody";
    // More than the resources that an instance may hold.
    for batch in 0..170 {
        stream.write_all(request.repeat(100).as_bytes()).await.unwrap();
        let mut seen = String::new();
        while seen.matches("0\r\n\r\n").count() < 100 {
            let mut buffer = [0; 65536];
            let count = within(stream.read(&mut buffer)).await.unwrap();
            assert!(count > 0, "{batch}: {seen}");
            seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        assert_eq!(seen.matches("HTTP/1.1 200 ").count(), 100, "{batch}: {seen}");
    }
    assert_eq!(lab.started(), 1);
}

#[tokio::test]
async fn a_host_without_room_for_an_instance_asks_to_come_again() {
    let lab = Lab::start_with(&engines_for(1), shared(100, 1), Duration::from_secs(1)).await;
    let waiting = lab.waiting(1).await;
    let refused = within(lab.host.request("GET", "/").send()).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    waiting.abort();
    within(lab.host.idle()).await;
    assert_eq!(lab.get("/").await, ok(1));
}

#[tokio::test]
async fn calls_carry_the_trace_and_the_deadline_of_their_own_request() {
    let lab = Lab::start(shared(100, 8)).await;
    let mut requests = JoinSet::new();
    for number in 1..=4_u32 {
        // The last that begins is the first that calls.
        let path = format!("/call?ms={number}&wait={}", 750 - 150 * number);
        let request = lab.host.request("GET", &path);
        let request = request.header("traceparent", format!("00-{number:032x}-{number:016x}-01"));
        requests.spawn(async move { request.send().await.unwrap().status().as_u16() });
        until(|| lab.metric("backplane_requests_running", "shop") == u64::from(number)).await;
    }
    assert_eq!(within(requests.join_all()).await, [200; 4]);
    let seen = lab.provider.seen.lock().unwrap();
    let traces: Vec<_> =
        seen.iter().map(|(_, context)| u128::from_be_bytes(context.trace_id)).collect();
    assert_eq!(traces, [4, 3, 2, 1]);
    assert!(seen.is_sorted_by(|(_, first), (_, then)| first.deadline > then.deadline), "{seen:?}");
    assert_eq!(lab.started(), 1);
}

#[tokio::test]
async fn lines_of_a_guest_that_has_one_request_say_which() {
    let (log, _guard) = Log::capture();
    let lab = Lab::start(shared(100, 4)).await;
    for id in ["id-7", "id-8"] {
        let request = lab.host.request("GET", &format!("/log?text=of-{id}"));
        assert_eq!(request.header("x-request-id", id).send().await.unwrap().status(), 200);
        within(log.until(&["guest", &format!("of-{id}"), &format!("id={id}")])).await;
    }
}
