//! Which answers count, and what a call that is refused locally gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use seawall::deadline::DeadlineLayer;
use seawall::registry::{Condition, Registry};
use tokio::sync::Semaphore;
use tokio_test::task::spawn;
use tower::limit::ConcurrencyLimit;

use super::*;

#[tokio::test(start_paused = true)]
async fn nine_in_ten_are_refused_if_the_dependency_refuses_all() {
    let layer = layer(ThrottleConfig::default());
    calls(&layer, OVERLOADED, 100).await;
    let refused = calls(&layer, OVERLOADED, 4000).await;
    assert!((3480..3720).contains(&refused), "{refused} of 4000");
    assert_eq!((layer.handle().requests(), layer.handle().accepted(), layer.handle().share()), (4100, 0, 0.9));
}

#[tokio::test(start_paused = true)]
async fn refusal_takes_one_poll_and_shows_its_numbers() {
    let registry = Registry::new();
    let layer = layer(ThrottleConfig::default()).named_in(&registry, "payments").unwrap();
    calls(&layer, Verdict::Overloaded { retry_after: Some(3 * SECOND) }, 1000).await;
    let service = layer.layer(service_fn(echo));
    let error = loop {
        let answer = service.clone().oneshot(OVERLOADED).now_or_never().expect("one poll");
        if let Err(error) = answer {
            break error;
        }
    };
    let rejected = rejection(&error).expect("a refusal");
    assert_eq!(
        (rejected.reason(), rejected.layer(), rejected.name()),
        (Reason::Throttled, "throttle", Some("payments"))
    );
    assert_eq!(rejected.verdict(), Verdict::Ignored);
    let numbers = rejected.numbers();
    assert!(numbers.requests() >= Some(1000));
    assert_eq!((numbers.accepted(), numbers.share()), (Some(0), Some(0.9)));
    let text = error.to_string();
    let start =
        "the dependency is overloaded and refuses most calls (layer `throttle`, name `payments`): accepted 0 of ";
    assert!(text.starts_with(start) && text.contains(" calls, refusing 90 %; retry after "), "{text}");

    let snapshot = registry.snapshot();
    let Condition::Throttle(condition) = &snapshot.components[0].condition else { panic!("{snapshot:?}") };
    assert!(condition.enabled && condition.requests > 1000);
    assert_eq!((condition.accepted, condition.share), (0, 0.9));
    assert!(snapshot.components[0].refused["throttled"] > 800);
}

/// The wait that the dependency asked for last, and a second if it asked for none.
#[tokio::test(start_paused = true)]
async fn refusal_has_the_wait_of_the_dependency() {
    for (asked, expected) in [(None, SECOND), (Some(7 * SECOND), 7 * SECOND)] {
        let layer = layer(ThrottleConfig::default());
        let service = layer.layer(service_fn(echo));
        for _ in 0..100 {
            if let Err(error) = service.clone().oneshot(Verdict::Overloaded { retry_after: asked }).await {
                assert_eq!(rejection(&error).expect("a refusal").retry_after(), Some(expected));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_call_reaches_nothing_and_releases_the_readied_service() {
    let layer = layer(ThrottleConfig { max_share: 0.999_999, ..Default::default() });
    calls(&layer, OVERLOADED, 1_000).await;
    let slots = Arc::new(Semaphore::new(1));
    let reached = Arc::new(AtomicU32::new(0));
    let inner = service_fn(|verdict| {
        reached.fetch_add(1, Ordering::Relaxed);
        echo(verdict)
    });
    let mut service = layer.layer(ConcurrencyLimit::with_semaphore(inner, Arc::clone(&slots)));
    // One in a thousand is sent.
    loop {
        let ready = service.ready().await.unwrap();
        assert_eq!(slots.available_permits(), 0);
        let before = reached.load(Ordering::Relaxed);
        if is_throttled(ready.call(OVERLOADED).await) {
            assert_eq!((slots.available_permits(), reached.load(Ordering::Relaxed)), (1, before));
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_answers_are_accepted() {
    for verdict in [
        Verdict::Success,
        Verdict::CallerFault,
        Verdict::Unprocessed,
        Verdict::Transient,
        Verdict::DoNotRetry,
        Verdict::TimedOut,
        Verdict::Lost,
        Verdict::Failed,
    ] {
        let layer = layer(ThrottleConfig::default());
        assert_eq!(calls(&layer, verdict, 1000).await, 0, "{verdict:?}");
        assert_eq!((layer.handle().requests(), layer.handle().accepted()), (1000, 1000), "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_not_sent_are_not_counted() {
    for verdict in [Verdict::Ignored, Verdict::Unsent] {
        let layer = layer(ThrottleConfig::default());
        assert_eq!(calls(&layer, verdict, 100).await, 0, "{verdict:?}");
        assert_eq!(layer.handle().requests(), 0, "{verdict:?}");
    }
    // Nor are those whose deadline has passed.
    let throttle = layer(ThrottleConfig::default());
    let inner = throttle.layer(service_fn(echo));
    let late = service_fn(|()| async {
        advance(2 * SECOND).await;
        inner.clone().oneshot(OVERLOADED).await
    });
    let error = DeadlineLayer::new(SECOND).unwrap().layer(late).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).expect("a refusal").reason(), Reason::DeadlineExpired);
    assert_eq!(throttle.handle().requests(), 0);
}

/// At whatever poll it is dropped: nothing has refused it.
#[tokio::test(start_paused = true)]
async fn cancelled_call_stays_accepted() {
    let layer = layer(ThrottleConfig::default());
    let slow = service_fn(|()| async {
        sleep(SECOND).await;
        sleep(SECOND).await;
        Ok::<_, BoxError>(OVERLOADED)
    });
    // The last one is dropped when its answer is there, and before it is polled.
    for polls in 0..3 {
        let mut call = spawn(layer.layer(slow).oneshot(()));
        for _ in 0..polls {
            assert!(call.poll().is_pending());
            advance(SECOND).await;
        }
        drop(call);
        // The service is called at the first poll.
        assert_eq!((layer.handle().requests(), layer.handle().accepted()), (polls, polls), "{polls} polls");
    }
    assert_eq!(layer.layer(slow).oneshot(()).await.unwrap(), OVERLOADED);
    assert_eq!((layer.handle().requests(), layer.handle().accepted()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn call_in_flight_counts_as_accepted() {
    let layer = layer(ThrottleConfig::default());
    let service = layer.layer(service_fn(|()| std::future::pending::<Result<Verdict, BoxError>>()));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let mut call = spawn(service.clone().oneshot(()));
            assert!(call.poll().is_pending());
            call
        })
        .collect();
    assert_eq!((layer.handle().requests(), layer.handle().accepted(), layer.handle().share()), (100, 100, 0.0));
    drop(calls);
}

/// Half of the calls are more than the dependency takes, and most of these have a low priority.
#[tokio::test(start_paused = true)]
async fn lowest_priorities_are_refused_first() {
    let layer = layer(ThrottleConfig::default());
    let traffic = [
        (Priority::Low, OVERLOADED),
        (Priority::Normal, OVERLOADED),
        (Priority::Normal, OVERLOADED),
        (Priority::High, Verdict::Success),
        (Priority::Critical, OVERLOADED),
    ];
    let mut refused = [0; 5];
    for _ in 0..1000 {
        for ((priority, verdict), refused) in traffic.into_iter().zip(&mut refused) {
            *refused += context::with_priority(priority, calls(&layer, verdict, 1)).await;
        }
    }
    // Of 5 calls 2 are sent for the one that is accepted: all others are refused, of the lowest nine tenths.
    let [low, normal, again, high, critical] = refused;
    assert!((820..980).contains(&low), "{refused:?}");
    assert!((1700..1900).contains(&(normal + again)), "{refused:?}");
    assert!(high < 20 && critical < 20, "{refused:?}");
}
