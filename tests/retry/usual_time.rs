//! Backoffs after a quick refusal, which are as long as the dependency usually takes.

use std::sync::atomic::{AtomicBool, Ordering};

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::DeadlineLayer;
use seawall::retry::{CloneRequest, Report, Stop, report};
use seawall::verdict::{self, Classify, Verdict};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

/// So many draws that none of them in one half of the range is as good as impossible.
const DRAWS: u32 = 60;
/// How late a timer may be.
const LATE: Duration = millis(2);

/// A dependency that succeeds after `takes` until it is full, and then fails each attempt after `fails_after`.
#[derive(Clone, Default)]
struct Dependency {
    log: Log,
    full: Arc<AtomicBool>,
    takes: Duration,
    fails_after: Duration,
}

impl Dependency {
    fn taking(takes: Duration) -> Self {
        Self { takes, ..Self::default() }
    }

    fn service(&self) -> Callee {
        let this = self.clone();
        BoxCloneSyncService::new(service_fn(move |()| {
            let this = this.clone();
            async move {
                let attempt = this.log.note();
                if this.full.load(Ordering::Relaxed) {
                    sleep(this.fails_after).await;
                    return Err("full".into());
                }
                sleep(this.takes).await;
                Ok(attempt)
            }
        }))
    }

    /// Succeeds a few times, is full then, and returns the waits of a call that finds it so.
    async fn waits<C>(&self, layer: &RetryLayer<C>) -> Vec<Duration>
    where
        C: Classify<u32, Settled = u32> + Clone,
    {
        self.learned_by(layer).await;
        let service = layer.layer(self.service());
        service.oneshot(()).await.unwrap_err();
        self.log.waits()
    }

    async fn learned_by<C>(&self, layer: &RetryLayer<C>)
    where
        C: Classify<u32, Settled = u32> + Clone,
    {
        for _ in 0..3 {
            layer.layer(self.service()).oneshot(()).await.unwrap();
        }
        self.log.0.lock().unwrap().clear();
        self.full.store(true, Ordering::Relaxed);
    }
}

/// The longest of the first waits and of the second waits, over many calls of fresh layers.
async fn longest<C>(dependency: Dependency, make: impl Fn() -> RetryLayer<C>) -> [Duration; 2]
where
    C: Classify<u32, Settled = u32> + Clone,
{
    let mut longest = [Duration::ZERO; 2];
    for _ in 0..DRAWS {
        let dependency = Dependency { log: Log::default(), full: Arc::default(), ..dependency };
        let waits = dependency.waits(&make()).await;
        assert_eq!(waits.len(), 2);
        longest = [longest[0].max(waits[0]), longest[1].max(waits[1])];
    }
    longest
}

fn default_layer() -> RetryLayer {
    layer(RetryConfig::default())
}

/// With waits of 50 and 100 ms, none of these calls would find the slot free.
#[tokio::test(start_paused = true)]
async fn full_dependency_is_asked_again_when_a_slot_may_be_free() {
    let mut succeeded = 0;
    for _ in 0..200 {
        let layer = default_layer();
        let slot = Arc::new(tokio::sync::Semaphore::new(1));
        let server = service_fn(move |()| {
            let slot = Arc::clone(&slot);
            async move {
                let _slot = slot.try_acquire_owned().map_err(|_| "full")?;
                sleep(SECOND).await;
                Ok::<(), BoxError>(())
            }
        });
        let service = layer.layer(server);
        service.clone().oneshot(()).await.unwrap();
        let taken = tokio::spawn(service.clone().oneshot(()));
        sleep(millis(10)).await;
        succeeded += u32::from(service.oneshot(()).await.is_ok());
        taken.await.unwrap().unwrap();
    }
    // Three of four, as the two waits of up to one and two seconds last a second together.
    assert!(succeeded > 100, "{succeeded} of 200");
}

#[tokio::test(start_paused = true)]
async fn waits_after_a_quick_refusal_grow_from_the_usual_time() {
    let [first, second] = longest(Dependency::taking(millis(600)), default_layer).await;
    assert!((millis(300)..=millis(600) + LATE).contains(&first), "{first:?}");
    assert!((millis(600)..=millis(1200) + LATE).contains(&second), "{second:?}");
}

/// The base is a lower bound, and the cap is the users' word.
#[tokio::test(start_paused = true)]
async fn waits_stay_between_base_and_cap() {
    let [first, second] = longest(Dependency::taking(millis(2)), default_layer).await;
    assert!((millis(25)..=millis(50) + LATE).contains(&first), "{first:?}");
    assert!((millis(50)..=millis(100) + LATE).contains(&second), "{second:?}");
    let capped = Backoff { cap: millis(80), ..Backoff::default() };
    let waits =
        longest(Dependency::taking(SECOND), || layer(RetryConfig { backoff: capped, ..RetryConfig::default() })).await;
    assert!(waits.iter().all(|wait| *wait <= millis(80) + LATE), "{waits:?}");
}

/// `Jitter::None` is exact.
#[tokio::test(start_paused = true)]
async fn waits_without_jitter_are_exact() {
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::default() };
    let waits = Dependency::taking(SECOND).waits(&layer(RetryConfig { backoff, ..RetryConfig::default() })).await;
    assert!(waits[0] <= millis(50) + LATE && waits[1] <= millis(100) + LATE, "{waits:?}");
}

/// An attempt that worked for as long as a success was not refused by a full queue.
#[tokio::test(start_paused = true)]
async fn slow_failure_is_retried_by_the_base() {
    let dependency = Dependency { fails_after: millis(700), ..Dependency::taking(millis(600)) };
    let [first, second] = longest(dependency, default_layer).await;
    assert!(first <= millis(750) + LATE && second <= millis(800) + LATE, "{first:?} {second:?}");
    let dependency = Dependency { fails_after: millis(200), ..Dependency::taking(millis(600)) };
    let [first, _] = longest(dependency, default_layer).await;
    assert!((millis(400)..=millis(600) + LATE).contains(&first), "{first:?}");
}

/// Attempts that were not sent, or were lost with their endpoint, go to another one at once. A pause that the dependency asks for
/// replaces what is measured.
#[tokio::test(start_paused = true)]
async fn only_a_refusal_without_a_pause_waits_for_the_usual_time() {
    let judged = |verdict: Verdict, is_longer: bool| async move {
        let make = || {
            // A lost attempt is repeated only then.
            let layer = default_layer().with_replay(CloneRequest::idempotent());
            layer.with_classifier(verdict::from_fn(move |result: Result<&u32, &BoxError>| match result {
                Ok(_) => Verdict::Success,
                Err(_) => verdict,
            }))
        };
        let mut longest = Duration::ZERO;
        for _ in 0..DRAWS {
            let waits = Dependency::taking(millis(600)).waits(&make()).await;
            longest = longest.max(waits[0]);
        }
        assert_eq!(longest > millis(50) + LATE, is_longer, "{verdict:?}: {longest:?}");
    };
    judged(Verdict::Transient, true).await;
    judged(Verdict::Overloaded { retry_after: None }, true).await;
    judged(Verdict::Overloaded { retry_after: Some(Duration::ZERO) }, false).await;
    judged(Verdict::Unprocessed, false).await;
    judged(Verdict::Lost, false).await;
    judged(Verdict::TimedOut, false).await;
}

/// The wait is shortened so that a usual call still fits, and never the reason for no retry.
#[tokio::test(start_paused = true)]
async fn wait_leaves_time_for_a_usual_call() {
    for (deadline, longest) in [(1900, 900), (1500, 500), (1020, 50), (500, 50)] {
        for _ in 0..DRAWS {
            let (dependency, retry) = (Dependency::taking(SECOND), default_layer());
            dependency.learned_by(&retry).await;
            let bound = DeadlineLayer::new(millis(deadline)).unwrap();
            let service = ServiceBuilder::new().layer(bound).layer(retry).service(dependency.service());
            let (_, report) = report(service.oneshot(())).await;
            let Report { attempts, stopped, .. } = report.unwrap();
            assert_eq!((attempts, stopped), (3, Stop::Attempts), "{deadline} ms");
            let wait = dependency.log.waits()[0];
            assert!(wait <= millis(longest) + LATE, "{deadline} ms: {wait:?}");
        }
    }
}

/// The time in a queue of ours is no time of the dependency.
#[tokio::test(start_paused = true)]
async fn wait_for_a_permit_is_not_learned() {
    let (dependency, retry) = (Dependency::taking(millis(100)), default_layer());
    let one = BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, ..BulkheadConfig::default() }).unwrap();
    let service = ServiceBuilder::new().layer(retry).layer(one).service(dependency.service());
    // The last of them waits for almost a second.
    let crowd = (0..10).map(|_| service.clone().oneshot(()));
    assert!(futures::future::join_all(crowd).await.iter().all(Result::is_ok));
    dependency.full.store(true, Ordering::Relaxed);
    for _ in 0..DRAWS {
        dependency.log.0.lock().unwrap().clear();
        let _ = service.clone().oneshot(()).await;
        let waits = dependency.log.waits();
        assert!(waits.first().is_none_or(|wait| *wait <= millis(100) + LATE), "{waits:?}");
    }
}

/// A key's calls say nothing about another key's.
#[tokio::test(start_paused = true)]
async fn each_key_has_its_usual_time() {
    let layer = default_layer().keyed_by(|request: &(u64, Duration)| request.0);
    let full = Arc::new(AtomicBool::new(false));
    let log = Log::default();
    let service = layer.layer({
        let (full, log) = (Arc::clone(&full), log.clone());
        service_fn(move |(_, takes): (u64, Duration)| {
            log.note();
            let is_full = full.load(Ordering::Relaxed);
            async move {
                sleep(if is_full { Duration::ZERO } else { takes }).await;
                if is_full { Err::<(), BoxError>("full".into()) } else { Ok(()) }
            }
        })
    });
    let mut longest = [Duration::ZERO; 2];
    for draw in 0..u64::from(DRAWS) {
        // New keys each time, with budgets of their own.
        for (slow, takes) in [(0, millis(2)), (1, millis(800))] {
            let key = 2 * draw + slow;
            full.store(false, Ordering::Relaxed);
            service.clone().oneshot((key, takes)).await.unwrap();
            full.store(true, Ordering::Relaxed);
            log.0.lock().unwrap().clear();
            service.clone().oneshot((key, takes)).await.unwrap_err();
            let waits = log.waits();
            longest[slow as usize] = longest[slow as usize].max(waits[0]);
        }
    }
    assert!(longest[0] <= millis(50) + LATE && longest[1] > millis(400), "{longest:?}");
}

/// The settings change; what is measured stays.
#[tokio::test(start_paused = true)]
async fn reload_changes_the_bounds_and_keeps_the_usual_time() {
    let mut longest = Duration::ZERO;
    for _ in 0..DRAWS {
        let (dependency, layer) = (Dependency::taking(SECOND), default_layer());
        dependency.learned_by(&layer).await;
        let backoff = Backoff { cap: millis(300), ..Backoff::default() };
        layer.reload(&RetryConfig { backoff, ..layer.config() }).unwrap();
        layer.layer(dependency.service()).oneshot(()).await.unwrap_err();
        let waits = dependency.log.waits();
        longest = longest.max(waits[0]);
        assert!(waits.iter().all(|wait| *wait <= millis(300) + LATE), "{waits:?}");
    }
    assert!(longest > millis(150), "{longest:?}");
}
