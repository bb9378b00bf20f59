//! What a reload changes.

use super::*;

#[tokio::test(start_paused = true)]
async fn reload_applies_to_the_next_call() {
    let layer = layer(ThrottleConfig::default());
    calls(&layer, OVERLOADED, 1000).await;
    layer.reload(&ThrottleConfig { max_share: 0.5, ..layer.config() }).unwrap();
    assert_eq!((layer.handle().share(), layer.handle().requests()), (0.5, 1000), "the counts are kept");
    let refused = calls(&layer, OVERLOADED, 1000).await;
    assert!((400..600).contains(&refused), "{refused}");

    layer.reload(&ThrottleConfig { enabled: false, ..layer.config() }).unwrap();
    assert_eq!(calls(&layer, OVERLOADED, 1000).await, 0);
    layer.reload(&ThrottleConfig { enabled: true, ..layer.config() }).unwrap();
    assert_eq!(layer.handle().requests(), 2000, "nothing was counted meanwhile");
    assert!(calls(&layer, OVERLOADED, 1000).await > 400);
}

#[tokio::test(start_paused = true)]
async fn multiplier_applies_to_the_calls_counted_before() {
    let layer = layer(ThrottleConfig::default());
    calls(&layer, Verdict::Success, 300).await;
    calls(&layer, OVERLOADED, 200).await;
    assert_eq!(layer.handle().share(), 0.0);
    layer.reload(&ThrottleConfig { multiplier: 1.1, ..layer.config() }).unwrap();
    assert!((layer.handle().share() - 170.0 / 501.0).abs() < 1e-9, "{}", layer.handle().share());
}

#[tokio::test(start_paused = true)]
async fn other_window_starts_empty() {
    let layer = layer(ThrottleConfig::default());
    calls(&layer, OVERLOADED, 1000).await;
    layer.reload(&ThrottleConfig { window: 4 * SECOND, ..layer.config() }).unwrap();
    calls(&layer, Verdict::Success, 1).await;
    assert_eq!((layer.handle().requests(), layer.handle().share()), (1, 0.0));
}

#[tokio::test(start_paused = true)]
async fn invalid_reload_changes_nothing() {
    let layer = layer(ThrottleConfig::default());
    let invalid = ThrottleConfig { window: SECOND, multiplier: 1.0, max_share: 1.0, max_keys: 0, ..layer.config() };
    let error = layer.reload(&invalid).unwrap_err();
    let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
    assert_eq!(paths, ["multiplier", "max_share", "probe_interval", "max_keys"]);
    assert_eq!(layer.config(), ThrottleConfig::default());
}
