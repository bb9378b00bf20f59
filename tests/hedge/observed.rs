//! What a named layer shows.

use seawall::registry::{Condition, Registry};
use tower::{Layer, ServiceExt};

use super::*;

#[tokio::test(start_paused = true)]
async fn registry_shows_hedges_and_the_delay() {
    let registry = Registry::new();
    let config = HedgeConfig { budget: reserve(3), ..fixed() };
    let layer = layer(config).named_in(&registry, "callee").unwrap();
    let slow = layer.layer(taking(&Log::default(), &[100, 5]));
    assert_eq!(slow.oneshot(()).await.unwrap(), 2);
    let failing = layer.layer(callee(&Log::default(), |attempt| async move {
        if attempt == 1 { Err("down".into()) } else { Ok(attempt) }
    }));
    for _ in 0..2 {
        assert_eq!(failing.clone().oneshot(()).await.unwrap(), 2);
    }
    assert!(failing.oneshot(()).await.is_err());
    let snapshot = registry.snapshot();
    let component = &snapshot.components[0];
    let Condition::Hedge(hedge) = &component.condition else { panic!("{component:?}") };
    assert_eq!((hedge.enabled, hedge.max_attempts, hedge.delay, hedge.budget_left), (true, 2, Some(DELAY), 0));
    assert_eq!(hedge.hedges, [("slow", 1), ("transient", 2)].into());
    assert_eq!((hedge.not_hedged.clone(), hedge.won), ([("budget", 1)].into(), 3));
    assert_eq!(component.calls, [("success", 3), ("transient", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn keys_have_budgets_and_delays_of_their_own() {
    let layer = layer(HedgeConfig { budget: reserve(1), ..fixed() }).keyed_by(|key: &u32| *key);
    let log = Log::default();
    let attempts = log.clone();
    let service = layer.layer(service_fn(move |_: u32| {
        attempts.started.lock().unwrap().push((Instant::now(), context::attempt()));
        async {
            tokio::time::sleep(millis(50)).await;
            Ok::<_, BoxError>(())
        }
    }));
    for key in [1, 1, 2] {
        service.clone().oneshot(key).await.unwrap();
    }
    assert_eq!(log.attempts(), [1, 2, 1, 1, 2]);
}

/// What is reserved for a hedge is given back with it, however it ends. Otherwise it would be missing for all time to come.
#[tokio::test(start_paused = true)]
async fn time_of_hedges_ends_with_them() {
    let registry = Registry::new();
    let layer = layer(fixed()).named_in(&registry, "callee").unwrap();
    let left = || match &registry.snapshot().components[0].condition {
        Condition::Hedge(hedge) => hedge.time_left,
        other => panic!("{other:?}"),
    };
    assert!((left() - 1.0).abs() < 1e-9);
    let useless = layer.layer(taking(&Log::default(), &[600, 60_000]));
    useless.oneshot(()).await.unwrap();
    assert!((0.4..0.5).contains(&left()), "it has taken 590 ms: {}", left());
    // The hedge wins, and fails; the call is dropped, which its caller does while a hedge is in flight.
    layer.layer(taking(&Log::default(), &[100, 5])).oneshot(()).await.unwrap();
    let failing = layer.layer(callee(&Log::default(), |attempt| async move {
        tokio::time::sleep(millis(u64::from(20 / attempt))).await;
        if attempt == 1 { Ok(attempt) } else { Err("down".into()) }
    }));
    failing.oneshot(()).await.unwrap();
    let hung = layer.layer(taking(&Log::default(), &[60_000, 60_000])).oneshot(());
    assert!(tokio::time::timeout(millis(510), hung).await.is_err());
    tokio::time::sleep(10 * SECOND).await;
    assert!((left() - 1.0).abs() < 1e-9, "{}", left());
}

/// A slow attempt is not hedged beyond the share of the time that hedges may take, and the call goes on.
#[tokio::test(start_paused = true)]
async fn hedges_beyond_the_share_of_time_are_not_made() {
    let registry = Registry::new();
    let layer = layer(HedgeConfig { time_ratio: 0.05, ..fixed() }).named_in(&registry, "callee").unwrap();
    let log = Log::default();
    let reports = layer.layer(taking(&log, &[3000, 3000]));
    for _ in 0..100 {
        assert_eq!(reports.clone().oneshot(()).await.unwrap(), 1);
    }
    let hedges = log.attempts().iter().filter(|attempt| **attempt == 2).count();
    // Of 300 s a twentieth, a tenth that the reserve grows by, and the reserve, in hedges of 3 s.
    assert!((10..=16).contains(&hedges), "{hedges}");
    let Condition::Hedge(hedge) = &registry.snapshot().components[0].condition else { panic!("a hedge") };
    assert_eq!(hedge.not_hedged["time_ratio"], 100 - hedges as u64);
}
