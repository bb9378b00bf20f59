use seawall::fallback::{self, FallbackConfig, FallbackLayer};

use super::*;

fn counts(registry: &Registry) -> (u64, u64) {
    match &registry.snapshot().of("stock").next().unwrap().condition {
        Condition::Fallback(fallback) => (fallback.answered.values().sum(), fallback.not_answered.values().sum()),
        other => panic!("{other:?}"),
    }
}

/// Callers get answers all the time. That the dependency fails is seen behind the fallback, and each failure is counted once.
#[tokio::test(start_paused = true)]
async fn fallback_hides_no_failure() {
    let servers = Servers::new([Behaviour::Fails(MS)]);
    let (registry, layer) = servers.named(BalanceConfig::default());
    let fallback = FallbackLayer::new(FallbackConfig::default(), fallback::value(99_usize)).unwrap();
    let fallback = fallback.named_in(&registry, "stock").unwrap();
    let service = fallback.layer(servers.service(&layer));
    for _ in 0..50 {
        assert_eq!(service.clone().oneshot(0).await.unwrap(), 99);
        sleep(10 * MS).await;
    }
    assert_eq!(counts(&registry), (50, 0));
    assert_eq!(condition(&registry).open, 1);
    assert!(servers.calls()[0] < 50, "the breaker has opened");
}

/// The fallback fails, too. Each call counts once.
#[tokio::test(start_paused = true)]
async fn failed_fallback_is_counted_once() {
    let registry = Registry::new();
    let answer = fallback::service(service_fn(|_: u32| async { Err::<usize, _>(BoxError::from("down, too")) }));
    let fallback = FallbackLayer::new(FallbackConfig::default(), answer).unwrap();
    let fallback = fallback.named_in(&registry, "stock").unwrap();
    let service = fallback.layer(service_fn(|_: u32| async { Err::<usize, _>(BoxError::from("down")) }));
    for _ in 0..20 {
        assert!(service.clone().oneshot(0).await.is_err());
    }
    assert_eq!(counts(&registry), (0, 20));
}
