//! The rate limit layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{FutureExt, join_all};
use futures::poll;
use seawall::context::{Priority, with_priority};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, Rejected, rejection};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use tokio::runtime::Builder;
use tokio::time::{Instant, advance, sleep};
use tower::limit::ConcurrencyLimitLayer;
use tower::util::ServiceFn;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn rate(permits: u32, per: Duration) -> RateLimitConfig {
    RateLimitConfig { permits, per, ..Default::default() }
}

/// Ten calls a second; further calls wait up to a second.
fn paced() -> RateLimitLayer {
    let config = RateLimitConfig { burst: Some(1), max_wait: SECOND, ..rate(10, SECOND) };
    RateLimitLayer::new(config).unwrap()
}

type Started = std::future::Ready<Result<Instant, BoxError>>;

/// Answers with the time at which it was called.
fn clock() -> ServiceFn<impl Fn(u32) -> Started + Clone> {
    service_fn(|_: u32| std::future::ready(Ok(Instant::now())))
}

fn rejected<T>(answer: Result<T, BoxError>) -> Rejected {
    match answer {
        Ok(_) => panic!("the call was admitted"),
        Err(error) => rejection(&error).expect("a refusal").clone(),
    }
}

/// tower and tower-resilience create a limit with each `layer()` call, so five a minute on ten routes become fifty.
#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_one_limit() {
    let layer = RateLimitLayer::new(rate(5, MINUTE)).unwrap();
    let routes: Vec<_> = (0..10).map(|_| layer.clone().layer(clock())).collect();
    let mut admitted = 0;
    for _ in 0..5 {
        for route in &routes {
            admitted += u32::from(route.clone().oneshot(0).await.is_ok());
        }
    }
    assert_eq!(admitted, 5);
    advance(12 * SECOND).await;
    assert!(routes[7].clone().oneshot(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn refusal_has_retry_after_and_releases_a_readied_callee() {
    let limited = ConcurrencyLimitLayer::new(1).layer(clock());
    let mut observer = limited.clone();
    let mut service = RateLimitLayer::new(rate(1, MINUTE)).unwrap().layer(limited);
    service.ready().await.unwrap().call(0).await.unwrap();
    advance(20 * SECOND).await;
    service.ready().await.unwrap();
    let mut call = pin!(service.call(0));
    let Poll::Ready(answer) = poll!(&mut call) else { panic!("the refusal took more than one poll") };
    let rejected = rejected(answer);
    assert_eq!((rejected.layer(), rejected.reason()), ("rate_limit", Reason::RateLimited));
    assert_eq!(rejected.retry_after(), Some(40 * SECOND));
    assert!(observer.ready().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn call_whose_turn_is_too_late_is_refused_at_once() {
    let layer = paced();
    let (handle, service) = (layer.handle(), layer.layer(clock()));
    let start = Instant::now();
    let mut calls: Vec<_> = (0..14).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    let refused: Vec<_> = calls.iter_mut().map(|call| call.now_or_never()).collect();
    assert!(matches!(refused[0], Some(Ok(_))));
    assert!(refused[1..11].iter().all(Option::is_none));
    assert_eq!(handle.waiting(), 10);
    for (n, answer) in refused.into_iter().enumerate().skip(11) {
        // After the queued calls are dropped, each of these would be next.
        assert_eq!(rejected(answer.unwrap()).retry_after(), Some(1100 * MS), "{n}");
    }
    for (n, call) in calls.drain(1..11).enumerate() {
        assert_eq!(call.await.unwrap() - start, (n as u32 + 1) * 100 * MS);
    }
    assert_eq!(handle.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn call_does_not_wait_beyond_its_deadline() {
    let service = DeadlineLayer::new(250 * MS).unwrap().layer(paced().layer(clock()));
    let calls: Vec<_> = (0..5).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    let start = Instant::now();
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert_eq!(start.elapsed(), 200 * MS);
    for answer in answers.into_iter().skip(3) {
        assert_eq!(rejected(answer).reason(), Reason::RateLimited);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_turn_goes_to_the_next_call_at_any_poll() {
    for polls in 0..4 {
        for who in 0..2 {
            let layer = paced();
            let (handle, service) = (layer.handle(), layer.layer(clock()));
            let start = Instant::now();
            service.clone().oneshot(0).await.unwrap();
            let mut calls: Vec<_> = (0..3).map(|n| Box::pin(service.clone().oneshot(n))).collect();
            for _ in 0..polls {
                for call in &mut calls {
                    assert!(poll!(call).is_pending());
                }
                advance(10 * MS).await;
            }
            drop(calls.remove(who));
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(
                    call.await.unwrap() - start,
                    (n as u32 + 1) * 100 * MS,
                    "{polls} polls, call {who} was dropped"
                );
            }
            assert_eq!(handle.waiting(), 0);
        }
    }
}

type Waits = Pin<Box<dyn Future<Output = Result<Instant, BoxError>>>>;

/// Queues calls with these priorities, in this order, after the free permit is taken.
async fn waiting<S>(service: &S, priorities: &[Priority]) -> Vec<Waits>
where
    S: Service<u32, Response = Instant, Error = BoxError> + Clone + 'static,
{
    service.clone().oneshot(0).await.unwrap();
    priorities.iter().map(|priority| begun(service, *priority)).collect()
}

/// A queued call with this priority.
fn begun<S>(service: &S, priority: Priority) -> Waits
where
    S: Service<u32, Response = Instant, Error = BoxError> + Clone + 'static,
{
    let mut call: Waits = Box::pin(with_priority(priority, service.clone().oneshot(0)));
    assert!((&mut call).now_or_never().is_none());
    call
}

/// The head of the queue, which sleeps until its turn, gives way to a call of higher priority too.
#[tokio::test(start_paused = true)]
async fn queued_calls_go_by_priority_including_the_head() {
    use Priority::{Critical, High, Low, Normal};

    for (priorities, turns) in [
        (vec![Low, Low, Normal, Critical], vec![3, 4, 2, 1]),
        (vec![Low, Critical], vec![2, 1]),
        (vec![Low, Normal, High, Critical], vec![4, 3, 2, 1]),
        (vec![Normal, Normal, Normal], vec![1, 2, 3]),
        (vec![High, High, Low, Critical, High], vec![2, 3, 5, 1, 4]),
    ] {
        // At once, and after the first calls have slept for a while.
        for pause in [Duration::ZERO, 50 * MS] {
            let service = paced().layer(clock());
            let start = Instant::now();
            let (last, first) = priorities.split_last().unwrap();
            let mut calls = waiting(&service, first).await;
            advance(pause).await;
            calls.push(begun(&service, *last));
            let started = join_all(calls).await.into_iter().map(|at| (at.unwrap() - start).as_millis() / 100);
            assert_eq!(started.collect::<Vec<_>>(), turns, "{priorities:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_head_returns_its_turn_to_the_displaced_head() {
    let layer = paced();
    let (handle, service) = (layer.handle(), layer.layer(clock()));
    let start = Instant::now();
    let mut calls = waiting(&service, &[Priority::Low, Priority::Critical]).await;
    advance(50 * MS).await;
    assert!(poll!(&mut calls[0]).is_pending());
    drop(calls.pop());
    assert_eq!(calls.pop().unwrap().await.unwrap() - start, 100 * MS);
    assert_eq!(handle.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn displaced_call_gets_a_reason_and_retry_after() {
    for places in 1..4 {
        let config = RateLimitConfig { max_waiting: places, ..paced().config() };
        let layer = RateLimitLayer::new(config).unwrap();
        let (handle, service) = (layer.handle(), layer.layer(clock()));
        let mut low = waiting(&service, &vec![Priority::Low; places as usize]).await;
        // A call displaces no call of its own priority.
        let refused = with_priority(Priority::Low, service.clone().oneshot(0)).await;
        assert_eq!(rejected(refused).reason(), Reason::RateLimited);
        advance(30 * MS).await;
        let critical = begun(&service, Priority::Critical);
        let displaced = rejected(low.pop().unwrap().await);
        assert_eq!((displaced.reason(), displaced.layer()), (Reason::Displaced, "rate_limit"));
        // The calls that are queued now go first.
        assert_eq!(displaced.retry_after(), Some((70 + 100 * places) * MS));
        assert_eq!(displaced.numbers().waiting(), Some(places));
        assert_eq!(handle.waiting(), places as usize);
        assert!(critical.await.is_ok() && join_all(low).await.iter().all(Result::is_ok));
    }
}

/// Every refusal, at once or after a wait, has a `retry_after` and the numbers that decided it.
#[tokio::test(start_paused = true)]
async fn refusal_shows_its_numbers_and_retry_after() {
    let layer = paced();
    let service = layer.layer(clock());
    let deadline = DeadlineLayer::new(150 * MS).unwrap().layer(service.clone());
    let calls = waiting(&service, &[Priority::Normal, Priority::Normal]).await;
    let hurried = rejected(deadline.clone().oneshot(0).await);
    assert_eq!((hurried.reason(), hurried.retry_after()), (Reason::RateLimited, Some(300 * MS)));
    let shown = "time left 150.0ms, expected 300.0ms, waiting 2, limit 10 per 1s";
    assert_eq!(hurried.numbers().to_string(), shown);
    assert!(hurried.to_string().contains(shown), "{hurried}");
    // The rate changes while a call waits, so that its turn would come too late.
    drop(calls);
    let mut waits = Box::pin(deadline.oneshot(0));
    assert!(poll!(&mut waits).is_pending());
    layer.reload(&RateLimitConfig { permits: 1, burst: Some(1), ..layer.config() }).unwrap();
    let late = rejected(waits.await);
    assert_eq!(late.reason(), Reason::RateLimited);
    assert!(late.retry_after() > Some(800 * MS), "{late}");
}

/// A call behind others gets a `retry_after` too when its wait ends.
#[tokio::test(start_paused = true)]
async fn refusal_after_a_wait_has_retry_after() {
    let config = RateLimitConfig { max_wait: 250 * MS, ..paced().config() };
    let layer = RateLimitLayer::new(config).unwrap();
    let service = layer.layer(clock());
    let mut calls = waiting(&service, &[Priority::Low, Priority::Low]).await;
    // Calls of higher priority keep coming.
    for _ in 0..3 {
        let critical = Box::pin(with_priority(Priority::Critical, service.clone().oneshot(0)));
        critical.await.unwrap();
    }
    let late = rejected(calls.pop().unwrap().await);
    assert_eq!(late.reason(), Reason::RateLimited);
    assert!(late.retry_after().is_some_and(|wait| !wait.is_zero()), "{late}");
}

#[tokio::test(start_paused = true)]
async fn wait_takes_few_polls_and_releases_a_readied_callee() {
    let limited = ConcurrencyLimitLayer::new(1).layer(clock());
    let mut observer = limited.clone();
    let mut service = paced().layer(limited);
    service.ready().await.unwrap().call(0).await.unwrap();
    service.ready().await.unwrap();
    let mut call = Box::pin(service.call(0));
    let mut polls = 0;
    let answer = std::future::poll_fn(|cx| {
        polls += 1;
        if polls == 1 {
            assert!(call.as_mut().poll(cx).is_pending());
            assert!(observer.ready().now_or_never().is_some());
            observer = observer.clone();
            return Poll::Pending;
        }
        call.as_mut().poll(cx)
    });
    answer.await.unwrap();
    assert!(polls <= 3, "{polls}");
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_rate() {
    let service = RateLimitLayer::new(rate(1, MINUTE)).unwrap().keyed_by(|tenant: &u32| *tenant).layer(clock());
    for tenant in 0..3 {
        assert!(service.clone().oneshot(tenant).await.is_ok());
        assert!(service.clone().oneshot(tenant).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_callee_is_cut() {
    let service = RateLimitLayer::new(rate(1, MINUTE)).unwrap();
    let service = service.layer(service_fn(|()| std::future::pending::<Result<(), BoxError>>()));
    let start = Instant::now();
    assert_eq!(rejected(service.oneshot(()).await).reason(), Reason::HoldExceeded);
    assert_eq!(start.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn long_run_rate_is_exact() {
    let config = RateLimitConfig { burst: Some(5), max_wait: 10 * SECOND, ..rate(50, SECOND) };
    let service = RateLimitLayer::new(config).unwrap().layer(clock());
    let start = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..400 {
        calls.push(tokio::spawn(service.clone().oneshot(0)));
        sleep(10 * MS).await;
    }
    let mut last = start;
    for call in calls {
        last = last.max(call.await.unwrap().unwrap());
    }
    // 400 calls; the burst is five.
    let took = last - start;
    assert!((7890 * MS..7930 * MS).contains(&took), "{took:?}");
}

#[test]
fn every_fault_of_a_config_is_reported_at_once() {
    let faults = |config| {
        let error = RateLimitLayer::new(config).unwrap_err();
        error.faults().iter().map(|fault| fault.path().to_owned()).collect::<Vec<_>>()
    };
    let config = RateLimitConfig {
        permits: 0,
        per: Duration::ZERO,
        burst: Some(0),
        max_wait: Duration::MAX,
        max_keys: 0,
        ..Default::default()
    };
    assert_eq!(faults(config), ["permits", "per", "burst", "max_wait", "max_keys"]);
    assert_eq!(faults(rate(u32::MAX, SECOND)), ["permits"]);
    let endless = RateLimitConfig { burst: Some(u32::MAX), ..rate(1, SECOND) };
    assert_eq!(faults(endless), ["burst"]);
}

/// The deadline belongs to the call, not to the task that polls it when its turn comes.
#[tokio::test(start_paused = true)]
async fn queued_call_keeps_its_deadline_in_another_task() {
    let (escape, mut escaped) = tokio::sync::mpsc::unbounded_channel();
    let limited = paced().layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let outer = service_fn(move |()| {
        let (mut limited, escape) = (limited.clone(), escape.clone());
        async move {
            for _ in 0..2 {
                limited.ready().await?;
                escape.send(limited.call(())).map_err(|_| "nobody waits")?;
            }
            Ok::<_, BoxError>(())
        }
    });
    DeadlineLayer::new(SECOND).unwrap().layer(outer).oneshot(()).await.unwrap();
    let start = Instant::now();
    let (first, second) = (escaped.recv().await.unwrap(), escaped.recv().await.unwrap());
    for answer in join_all([first, second]).await {
        assert_eq!(rejected(answer).reason(), Reason::DeadlineExceeded);
    }
    assert_eq!(start.elapsed(), SECOND);
}

/// Timers of a runtime that has shut down fire at once: a call that waits on one must not poll it in a loop.
#[test]
fn wait_in_a_shut_down_runtime_ends_at_once() {
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let ended = runtime();
    let handle = ended.handle().clone();
    let limited = paced().layer(clock());
    let mut waits = Box::pin(limited.clone().oneshot(0));
    ended.block_on(async {
        limited.oneshot(0).await.unwrap();
        assert!(poll!(&mut waits).is_pending());
    });
    drop(ended);
    let _inside = handle.enter();
    match waits.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => assert_eq!(rejected(answer).reason(), Reason::RateLimited),
        Poll::Pending => panic!("nothing would wake it"),
    }
}
