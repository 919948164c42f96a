//! Who is let in, and when: the order, the bounds, and that nothing is lost whoever leaves when.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::join_all, poll};
use tokio::sync::oneshot;

use super::{Admission, Permit, places::Pool};
use crate::workload::{Busy, Ended, spec::Limits};

const LONG: Duration = Duration::from_secs(60);

fn limits(concurrency: usize, queue: usize) -> Limits {
    Limits { concurrency, queue, queue_wait: LONG, ..Limits::default() }
}

/// A workload whose requests take a place each.
fn workload(pool: &Arc<Pool>, limits: &Limits) -> Admission {
    heavy(pool, 1, limits)
}

fn heavy(pool: &Arc<Pool>, places: u32, limits: &Limits) -> Admission {
    Admission::new(pool, places, limits, metrics::Gauge::noop())
}

fn pool(size: u32) -> Arc<Pool> {
    Arc::new(Pool::new(size))
}

/// One that is let in without waiting.
#[track_caller]
fn enters(admission: &Admission) -> Permit {
    admission.enter().now_or_never().expect("has to wait").unwrap()
}

/// All that are let in without waiting.
fn as_many_as_enter(admission: &Admission) -> Vec<Permit> {
    std::iter::from_fn(|| admission.enter().now_or_never()?.ok()).collect()
}

#[track_caller]
fn refused(result: Option<Result<Permit, Ended>>) -> Busy {
    match result.expect("it has to wait") {
        Err(Ended::Refused(busy)) => busy,
        other => panic!("{other:?}"),
    }
}

type Entering<'a> = Pin<Box<dyn Future<Output = Result<Permit, Ended>> + Send + 'a>>;

/// One that waits.
async fn waits(admission: &Admission) -> Entering<'_> {
    let mut entering = Box::pin(admission.enter());
    assert!(poll!(&mut entering).is_pending(), "it need not wait");
    entering
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("still waiting after a minute")
}

#[tokio::test]
async fn who_waits_longest_is_let_in_first() {
    let admission = workload(&pool(10), &limits(1, 10));
    let mut running = enters(&admission);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(waits(&admission).await);
    }
    while !waiting.is_empty() {
        drop(running);
        running = waiting.remove(0).now_or_never().expect("not its turn").unwrap();
        for other in &mut waiting {
            assert!(poll!(other).is_pending());
        }
    }
}

#[tokio::test]
async fn nobody_overtakes_the_queue() {
    let admission = workload(&pool(10), &limits(2, 10));
    let (one, _two) = (enters(&admission), enters(&admission));
    let (first, second) = (waits(&admission).await, waits(&admission).await);
    drop(one);
    // There is a turn for the first, and none for who comes now.
    let third = waits(&admission).await;
    let first = first.now_or_never().unwrap().unwrap();
    drop(first);
    drop(second.now_or_never().unwrap());
    assert!(third.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn who_comes_while_others_wait_does_not_look_for_a_turn() {
    let pool = pool(4);
    let (one, other) = (workload(&pool, &limits(9, 9)), workload(&pool, &limits(9, 9)));
    let (grant, _granted) = oneshot::channel();
    // As if another thread were about to let it in.
    one.0.queue_up(grant).unwrap();
    assert!(one.0.try_enter().is_none());
    // What is reserved for the other is its own; the rest is for who waits.
    let _own = other.0.try_enter().unwrap();
    assert!(other.0.try_enter().is_none());
}

#[tokio::test]
async fn places_that_were_in_hand_for_a_moment_are_told_of() {
    let admission = workload(&pool(4), &limits(9, 9));
    let _reserved = (enters(&admission), enters(&admission));
    let meanwhile = Mutex::new(None);
    let attempt = admission.0.try_take(|| {
        // Another thread is quicker by one, once.
        meanwhile.lock().unwrap().get_or_insert_with(|| enters(&admission));
        true
    });
    assert!(attempt.is_taken && attempt.gave_back);
    assert!(!admission.0.try_take(|| true).is_taken, "there are four");
}

#[tokio::test]
async fn beyond_the_queue_a_request_is_refused_at_once() {
    let admission = workload(&pool(10), &limits(1, 2));
    let running = enters(&admission);
    let (first, _second) = (waits(&admission).await, waits(&admission).await);
    assert_eq!(refused(admission.enter().now_or_never()), Busy::Queue(2));
    // One that leaves makes room, and so does one that is let in.
    drop(first);
    let _third = waits(&admission).await;
    assert_eq!(refused(admission.enter().now_or_never()), Busy::Queue(2));
    drop(running);
    drop(waits(&admission).await);
}

#[tokio::test]
async fn a_turn_that_was_given_to_one_that_leaves_goes_to_the_next() {
    let admission = workload(&pool(10), &limits(1, 10));
    let running = enters(&admission);
    let (leaving, next) = (waits(&admission).await, waits(&admission).await);
    drop(running);
    // It has its turn and does not know of it yet.
    drop(leaving);
    assert!(next.now_or_never().expect("the turn was lost").is_ok());
}

#[tokio::test]
async fn one_that_has_waited_for_long_enough_is_told_for_what() {
    let brief = Limits { queue_wait: Duration::from_millis(1), ..limits(1, 10) };
    let pool = pool(1);
    let admission = workload(&pool, &brief);
    let running = enters(&admission);
    let busy = refused(Some(within(admission.enter()).await));
    assert_eq!(busy, Busy::Wait { wait: brief.queue_wait, concurrency: 1 });
    let other = workload(&pool, &brief);
    let busy = refused(Some(within(other.enter()).await));
    assert_eq!(busy, Busy::Instances(brief.queue_wait));
    drop(running);
    // They have left the queues behind them.
    enters(&other);
    enters(&admission);
}

#[tokio::test]
async fn without_time_to_wait_nobody_waits() {
    let admission = workload(&pool(10), &Limits { queue_wait: Duration::ZERO, ..limits(1, 10) });
    let running = enters(&admission);
    refused(Some(within(admission.enter()).await));
    drop(running);
    enters(&admission);
}

#[tokio::test]
async fn every_workload_is_sure_of_its_part() {
    let pool = pool(20);
    let (greedy, modest) = (workload(&pool, &limits(100, 100)), workload(&pool, &limits(100, 0)));
    // Its own quarter, and the half that all share.
    let taken = as_many_as_enter(&greedy);
    assert_eq!(taken.len(), 15);
    let _waiting = waits(&greedy).await;
    let all = as_many_as_enter(&modest);
    assert_eq!(all.len(), 5);
    // Its places come back to it alone.
    drop(all);
    assert_eq!(as_many_as_enter(&modest).len(), 5);
}

#[tokio::test]
async fn what_all_share_goes_to_the_one_that_has_less() {
    let pool = pool(8);
    let (greedy, modest) = (workload(&pool, &limits(100, 100)), workload(&pool, &limits(100, 100)));
    let mut taken = as_many_as_enter(&greedy);
    let own = as_many_as_enter(&modest);
    assert_eq!((taken.len(), own.len()), (6, 2));
    let waits_longer = waits(&greedy).await;
    let waits_less = waits(&modest).await;
    taken.pop();
    assert!(waits_less.now_or_never().expect("it has less").is_ok());
    // Which has given it back by now.
    assert!(waits_longer.now_or_never().expect("nobody else waits").is_ok());
}

#[tokio::test]
async fn a_workload_that_ends_leaves_its_part_to_the_others() {
    let pool = pool(20);
    let (first, second) = (workload(&pool, &limits(100, 100)), workload(&pool, &limits(100, 100)));
    let mut taken = as_many_as_enter(&first);
    let waiting = waits(&first).await;
    let other = enters(&second);
    drop(second);
    taken.push(waiting.now_or_never().expect("there is room").unwrap());
    taken.extend(as_many_as_enter(&first));
    assert_eq!(taken.len(), 19);
    drop(other);
    taken.push(enters(&first));
    drop((taken, first));
    assert_eq!(pool.free(), 20);
}

#[tokio::test]
async fn a_workload_that_comes_when_all_is_taken_gets_its_part_as_others_end() {
    let pool = pool(4);
    let first = workload(&pool, &limits(100, 100));
    let mut taken = as_many_as_enter(&first);
    assert_eq!(taken.len(), 4);
    let second = workload(&pool, &limits(100, 100));
    // It is sure of one place, for which the next that ends makes room.
    let own = enters(&second);
    let waiting = waits(&second).await;
    taken.pop();
    taken.pop();
    assert!(waiting.now_or_never().expect("two have ended").is_ok());
    drop((taken, own, first, second));
    assert_eq!(pool.free(), 4);
}

#[tokio::test]
async fn a_request_that_takes_several_places_counts_as_several() {
    let pool = pool(12);
    let (large, small) = (heavy(&pool, 3, &limits(2, 100)), workload(&pool, &limits(100, 100)));
    // Three are reserved for each, and six are shared.
    let others = as_many_as_enter(&small);
    assert_eq!(others.len(), 9);
    let one = enters(&large);
    let next = waits(&large).await;
    drop(others);
    let next = next.now_or_never().expect("there is room for three").unwrap();
    let limited = waits(&large).await;
    drop((one, next, limited));
    drop((large, small));
    assert_eq!(pool.free(), 12);
}

#[tokio::test]
async fn with_more_workloads_than_places_all_share_what_there_is() {
    let pool = pool(2);
    let all: Vec<_> = (0..3).map(|_| workload(&pool, &limits(100, 100))).collect();
    let one = enters(&all[0]);
    let _two = enters(&all[1]);
    let third = waits(&all[2]).await;
    drop(one);
    assert!(third.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn the_end_of_all_requests_is_waited_for() {
    let admission = workload(&pool(10), &limits(1, 10));
    within(admission.finished()).await;
    let running = enters(&admission);
    let waiting = waits(&admission).await;
    let mut finished = Box::pin(admission.finished());
    assert!(poll!(&mut finished).is_pending());
    drop(running);
    let running = waiting.now_or_never().unwrap();
    assert!(poll!(&mut finished).is_pending());
    drop(running);
    assert!(poll!(&mut finished).is_ready());
}

/// A small generator of numbers (xorshift), the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

async fn yields(number: u64) {
    for _ in 0..number {
        tokio::task::yield_now().await;
    }
}

/// What runs at once, and the most that there may be.
#[derive(Default)]
struct AtOnce {
    running: AtomicI64,
    exceeded: AtomicU32,
}

impl AtOnce {
    fn begin(&self, number: i64, limit: i64) {
        if self.running.fetch_add(number, SeqCst) + number > limit {
            self.exceeded.fetch_add(1, SeqCst);
        }
    }

    fn end(&self, number: i64) {
        self.running.fetch_sub(number, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_whoever_leaves_when() {
    const SIZE: u32 = 12;
    let pool = pool(SIZE);
    let all = Arc::new(AtOnce::default());
    let kinds = [(1, limits(20, 1000)), (2, limits(3, 1000)), (1, limits(4, 5))];
    let workloads: Vec<_> = kinds
        .iter()
        .map(|(places, limits)| {
            (Arc::new(heavy(&pool, *places, limits)), Arc::new(AtOnce::default()))
        })
        .collect();
    let free = pool.free();
    let mut tasks = Vec::new();
    for seed in 1..=96_u64 {
        let kind = seed as usize % kinds.len();
        let (places, concurrency) = (i64::from(kinds[kind].0), kinds[kind].1.concurrency as i64);
        let ((admission, own), all) = (workloads[kind].clone(), Arc::clone(&all));
        tasks.push(tokio::spawn(async move {
            let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for _ in 0..500 {
                let patience = if numbers.below(2) == 0 { 100_000 } else { numbers.below(6) };
                let permit = tokio::select! {
                    biased;
                    permit = admission.enter() => permit,
                    () = yields(patience) => continue,
                };
                let Ok(permit) = permit else { continue };
                own.begin(1, concurrency);
                all.begin(places, SIZE.into());
                yields(numbers.below(4)).await;
                own.end(1);
                all.end(places);
                drop(permit);
            }
        }));
    }
    for task in within(join_all(tasks)).await {
        task.unwrap();
    }
    assert_eq!(all.exceeded.load(SeqCst), 0, "more places were taken than there are");
    for (admission, own) in &workloads {
        assert_eq!(own.exceeded.load(SeqCst), 0, "more ran than may");
        within(admission.finished()).await;
    }
    assert_eq!(pool.free(), free, "places were lost or made");
    for ((admission, _), (_, limits)) in workloads.iter().zip(&kinds) {
        let most = as_many_as_enter(admission).len();
        assert!(most >= 2 && most <= limits.concurrency, "{most} of {}", limits.concurrency);
    }
}
