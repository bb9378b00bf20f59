use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::advance;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counting() -> (Arc<Counting>, Waker) {
    let count = Arc::new(Counting::default());
    (Arc::clone(&count), Waker::from(count))
}

async fn until(timer: &mut Timer, deadline: Instant) {
    poll_fn(|cx| timer.poll_until(cx, deadline)).await;
}

async fn settle() {
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn timer_fires_at_its_deadline() {
    let start = time::now();
    let (count, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let mut timer = Timer::new();
    let deadline = start + 20 * MS;
    assert!(timer.poll_until(cx, deadline).is_pending());
    advance(19 * MS).await;
    settle().await;
    assert!(timer.poll_until(cx, deadline).is_pending());
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    advance(MS).await;
    settle().await;
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(timer.poll_until(cx, deadline).is_ready());
    assert!(timer.poll_until(cx, deadline).is_ready(), "and stays so");
}

#[tokio::test(start_paused = true)]
async fn past_moved_and_extreme_deadlines_work() {
    let start = time::now();
    let (_, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let mut timer = Timer::new();
    assert!(timer.poll_until(cx, start).is_ready());
    assert!(timer.poll_until(cx, Instant::MAX).is_pending());
    assert!(timer.poll_until(cx, start + MS).is_pending());
    advance(2 * MS).await;
    settle().await;
    assert!(timer.poll_until(cx, start + MS).is_ready());
    assert!(timer.poll_until(cx, start + 10 * MS).is_pending());
    until(&mut timer, start + 10 * MS).await;
    assert_eq!(time::now().since(start), 10 * MS);
}

/// A task whose waker panics when it is replaced by another one.
struct PanicsInDrop;

impl Wake for PanicsInDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in the drop of a waker");
    }
}

#[tokio::test(start_paused = true)]
async fn sleep_is_not_reused_after_a_waker_panicked() {
    let (count, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let deadline = time::now() + 20 * MS;
    let mut panicked = || {
        let mut timer = Timer::new();
        let first = Waker::from(Arc::new(PanicsInDrop));
        assert!(timer.poll_until(&mut Context::from_waker(&first), deadline).is_pending());
        drop(first);
        let polled = catch_unwind(AssertUnwindSafe(|| timer.poll_until(cx, deadline)));
        assert!(polled.is_err());
        timer
    };
    // The same timer, if it is polled again, and the next one.
    let mut again = panicked();
    drop(panicked());
    assert_eq!(pooled::unused_alarms(), 0);
    let mut next = Timer::new();
    let cx = &mut Context::from_waker(&waker);
    assert!(again.poll_until(cx, deadline).is_pending() && next.poll_until(cx, deadline).is_pending());
    advance(20 * MS).await;
    settle().await;
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn unarmed_timer_is_free_and_dropped_sleep_is_reused() {
    let start = time::now();
    drop(Timer::new());
    assert_eq!(pooled::unused_alarms(), 0);
    for round in 1..100u32 {
        let mut timer = Timer::new();
        let (count, waker) = counting();
        let deadline = start + 50 * MS + round * MS;
        assert!(timer.poll_until(&mut Context::from_waker(&waker), deadline).is_pending());
        assert_eq!(pooled::unused_alarms(), 0, "the only sleep is in use");
        advance(MS / 2).await;
        drop(timer);
        assert_eq!(pooled::unused_alarms(), 1);
        assert_eq!(Arc::strong_count(&count), 2, "the pool keeps no waker");
    }
}

#[tokio::test(start_paused = true)]
async fn pooled_sleep_wakes_no_task_when_it_fires() {
    let start = time::now();
    let (count, waker) = counting();
    let mut timer = Timer::new();
    assert!(timer.poll_until(&mut Context::from_waker(&waker), start + MS).is_pending());
    drop(timer);
    advance(5 * MS).await;
    settle().await;
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    // It has fired in the pool, and can be reused all the same.
    let mut timer = Timer::new();
    until(&mut timer, start + 9 * MS).await;
    assert_eq!(time::now().since(start), 9 * MS);
}

#[tokio::test(start_paused = true)]
async fn reused_sleep_moves_only_when_it_fires_too_early() {
    let start = time::now();
    let mut first = Timer::new();
    let (_, waker) = counting();
    assert!(first.poll_until(&mut Context::from_waker(&waker), start + 10 * MS).is_pending());
    drop(first);
    for round in 0..8u32 {
        advance(MS).await;
        let mut timer = Timer::new();
        let deadline = start + (round + 1) * MS + 10 * MS;
        assert!(timer.poll_until(&mut Context::from_waker(&waker), deadline).is_pending());
        let alarm = timer.alarm.as_ref().unwrap();
        assert!(alarm.fires_at() == start + 10 * MS && !alarm.is_moved(), "the wheel was not touched");
    }
    let mut timer = Timer::new();
    let mut polls = 0;
    let end = start + 50 * MS;
    poll_fn(|cx| {
        polls += 1;
        timer.poll_until(cx, end)
    })
    .await;
    assert_eq!((time::now(), polls), (end, 3), "it begins to wait, is woken too early, and on time");
}

#[tokio::test(start_paused = true)]
async fn sleep_that_fires_no_later_is_preferred() {
    let start = time::now();
    let (_, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let (mut short, mut long) = (Timer::new(), Timer::new());
    assert!(short.poll_until(cx, start + 10 * MS).is_pending());
    assert!(long.poll_until(cx, start + 1000 * MS).is_pending());
    drop(short);
    drop(long);
    let alarm = pooled::take_alarm(None, start + 20 * MS);
    assert!(alarm.fires_at() == start + 10 * MS);
    let other = pooled::take_alarm(None, start + 20 * MS);
    assert!(other.fires_at() == start + 1000 * MS, "there was no better one");
}

#[tokio::test(start_paused = true)]
async fn pool_is_bounded() {
    let start = time::now();
    let (_, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let mut timers: Vec<_> = std::iter::repeat_with(Timer::new).take(2 * pooled::POOLED).collect();
    for timer in &mut timers {
        assert!(timer.poll_until(cx, start + MS).is_pending());
    }
    drop(timers);
    assert_eq!(pooled::unused_alarms(), pooled::POOLED);
}

#[tokio::test(start_paused = true)]
async fn armed_timer_moves_to_another_task() {
    let start = time::now();
    let ((first, a), (second, b)) = (counting(), counting());
    let mut timer = Timer::new();
    assert!(timer.poll_until(&mut Context::from_waker(&a), start + MS).is_pending());
    assert!(timer.poll_until(&mut Context::from_waker(&b), start + MS).is_pending());
    advance(2 * MS).await;
    settle().await;
    assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn runtimes_on_one_thread_do_not_share_sleeps() {
    let mut ids = std::collections::HashSet::new();
    for _ in 0..20 {
        let runtime = paused();
        assert!(ids.insert(runtime.handle().id()), "the pool holds a sleep of the one before, so its id is not free");
        runtime.block_on(async {
            let start = time::now();
            let mut timer = Timer::new();
            until(&mut timer, start + 7 * MS).await;
            assert_eq!(time::now().since(start), 7 * MS);
            drop(timer);
            assert_eq!(pooled::unused_alarms(), 1);
        });
    }
}

#[test]
fn sleep_of_an_ended_runtime_is_detected_under_the_same_id() {
    let stale = {
        let ended = paused();
        ended.block_on(async { pooled::take_alarm(None, time::now() + MS) })
    };
    let runtime = paused();
    runtime.block_on(async {
        let start = time::now();
        let id = Handle::current().id();
        let mut stale = stale;
        stale.as_mut().pretend_to_be_of(id);
        drop(pooled::take_alarm(None, start));
        pooled::give_back_alarm(stale);
        assert_eq!(pooled::unused_alarms(), 1);
        let mut timer = Timer::new();
        until(&mut timer, start + 5 * MS).await;
        assert_eq!(time::now().since(start), 5 * MS);
    });
}

#[test]
fn timer_outlives_its_runtime() {
    let (_, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let runtime = paused();
    let handle = runtime.handle().clone();
    let (mut armed, mut dropped, mut late) = (Timer::new(), Timer::new(), Timer::new());
    let deadline = runtime.block_on(async { time::now() + 1000 * MS });
    runtime.block_on(async {
        assert!(armed.poll_until(cx, deadline).is_pending());
        assert!(dropped.poll_until(cx, deadline).is_pending());
    });
    drop(runtime);
    assert!(armed.poll_until(cx, deadline).is_ready(), "a runtime that ends ends all waits");
    std::thread::spawn(move || drop(dropped)).join().unwrap();
    let _inside = handle.enter();
    assert!(late.poll_until(cx, deadline + MS).is_ready(), "and new ones do not begin");
    assert!(armed.poll_until(cx, deadline + MS).is_ready());
}

#[test]
fn timer_of_an_ended_runtime_continues_in_another() {
    let (_, waker) = counting();
    let mut timer = Timer::new();
    let ended = paused();
    ended.block_on(async {
        assert!(timer.poll_until(&mut Context::from_waker(&waker), time::now() + MS).is_pending());
    });
    drop(ended);
    paused().block_on(async {
        let start = time::now();
        until(&mut timer, start + 5 * MS).await;
        assert_eq!(time::now().since(start), 5 * MS);
    });
}

#[test]
fn wait_without_a_runtime_panics_as_tokio_does() {
    let (_, waker) = counting();
    let mut timer = Timer::new();
    assert!(
        timer.poll_until(&mut Context::from_waker(&waker), time::now()).is_ready(),
        "a past deadline needs no wait"
    );
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        timer.poll_until(&mut Context::from_waker(&waker), Instant::MAX)
    }));
    let message = panic.unwrap_err().downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(message.contains("no reactor running"), "{message}");
}

#[test]
fn reading_of_a_clock_that_ran_ahead_ends_no_call() {
    let (_, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let deadline = paused().block_on(async {
        let start = time::now();
        advance(Duration::from_secs(3600)).await;
        time::now();
        start + Duration::from_secs(1800)
    });
    paused().block_on(async { assert!(Timer::new().poll_until(cx, deadline).is_pending(), "half an hour is left") });
}

#[test]
fn end_is_seen_without_a_runtime() {
    let (_, waker) = counting();
    let deadline = time::now() + Duration::from_nanos(1);
    // There is no runtime whose clock could be moved.
    while time::now() < deadline {
        std::hint::spin_loop();
    }
    assert!(Timer::new().poll_until(&mut Context::from_waker(&waker), deadline).is_ready());
}

#[test]
fn timers_that_end_on_other_workers_still_fire() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..200u32)
            .map(|n| {
                tokio::spawn(async move {
                    for round in 0..5 {
                        let deadline = time::now() + (n % 3) * MS;
                        let mut timer = Timer::new();
                        let mut never = Timer::new();
                        let mut wait = pin!(until(&mut timer, deadline));
                        poll_fn(|cx| {
                            assert!(never.poll_until(cx, deadline + 1000 * MS).is_pending());
                            wait.as_mut().poll(cx)
                        })
                        .await;
                        assert!(time::now() >= deadline, "round {round}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[tokio::test(start_paused = true)]
async fn waits_are_exact_after_decades() {
    let (_, waker) = counting();
    let cx = &mut Context::from_waker(&waker);
    let (mut for_ever, mut soon) = (Timer::new(), Timer::new());
    for _ in 0..4 {
        assert!(for_ever.poll_until(cx, Instant::MAX).is_pending());
        let deadline = time::now() + 20 * MS;
        assert!(soon.poll_until(cx, deadline).is_pending());
        advance(20 * MS).await;
        settle().await;
        assert!(soon.poll_until(cx, deadline).is_ready());
        advance(Duration::from_secs(25 * 365 * 24 * 3600)).await;
        settle().await;
    }
}

#[test]
fn deadline_that_has_passed_is_ready_at_once() {
    // Also on a worker whose timer wheel has not advanced for a while, and outside a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut timer = Timer::new();
        let passed = time::now().minus(50 * MS);
        assert!(timer.poll_until(&mut Context::from_waker(Waker::noop()), passed).is_ready());
    });
}
