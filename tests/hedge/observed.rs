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
