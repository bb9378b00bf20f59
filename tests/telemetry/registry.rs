//! The registry shows the state of each layer, and applies commands to it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State, TripCause};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::{Reason, rejection};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::registry::{BreakerCondition, Command, Condition, Registry};
use seawall::retry::{RetryConfig, RetryLayer};
use tokio::time::advance;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::recorded::in_virtual_time;

const SECOND: Duration = Duration::from_secs(1);

/// Takes as long as the request says.
async fn takes(time: Duration) -> Result<(), BoxError> {
    tokio::time::sleep(time).await;
    Ok(())
}

#[test]
fn snapshot_shows_every_layer_with_settings_and_state() {
    in_virtual_time(async {
        let registry = Registry::new();
        let deadline = DeadlineConfig { timeout: 5 * SECOND, idle_timeout: Some(SECOND), ..DeadlineConfig::default() };
        let deadline = DeadlineLayer::new(deadline).unwrap().named_in(&registry, "payments").unwrap();
        let retry = RetryLayer::new(RetryConfig::default()).unwrap().named_in(&registry, "payments").unwrap();
        let limit = RateLimitConfig { permits: 50, burst: Some(7), ..RateLimitConfig::default() };
        let limit = RateLimitLayer::new(limit).unwrap().named_in(&registry, "payments").unwrap();
        let bulkhead = BulkheadConfig { max_concurrent: 2, max_waiting: 1, ..BulkheadConfig::default() };
        let bulkhead = BulkheadLayer::new(bulkhead).unwrap().named_in(&registry, "payments").unwrap();
        let breaker =
            CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap().named_in(&registry, "payments").unwrap();
        let layers = ServiceBuilder::new().layer(deadline).layer(retry).layer(limit).layer(bulkhead).layer(breaker);
        let service = layers.service(service_fn(takes));

        advance(SECOND).await;
        let mut calls = join_all((0..4).map(|_| service.clone().oneshot(2 * SECOND)));
        assert!((&mut calls).now_or_never().is_none());
        let condition = |layer: &str| {
            let snapshot = registry.snapshot();
            let component = snapshot.of("payments").find(|component| component.layer == layer).unwrap().clone();
            (component.condition.clone(), component)
        };
        let (Condition::Bulkhead(bulkhead), component) = condition("bulkhead") else { panic!("a bulkhead") };
        assert_eq!((bulkhead.in_flight, bulkhead.waiting, bulkhead.limit), (2, 1, 2));
        assert_eq!((component.refused["queue_full"], component.age), (1, SECOND));
        let last = component.last_refusal.unwrap();
        assert_eq!((last.reason, last.ago.as_millis()), ("queue_full", 0));
        // The numbers of a rate limit are in the snapshot too.
        let used_up = RateLimitConfig { permits: 1, per: 60 * SECOND, ..RateLimitConfig::default() };
        let used_up = RateLimitLayer::new(used_up).unwrap().named_in(&registry, "used up").unwrap();
        for _ in 0..2 {
            let _ = used_up.layer(service_fn(takes)).oneshot(Duration::ZERO).await;
        }
        let snapshot = registry.snapshot();
        let numbers = snapshot.of("used up").next().unwrap().last_refusal.unwrap().numbers;
        assert_eq!((numbers.limit(), numbers.per(), numbers.waiting()), (Some(1), Some(60 * SECOND), Some(0)));
        let (Condition::CircuitBreaker(breaker), _) = condition("circuit_breaker") else { panic!("a breaker") };
        assert_eq!((breaker.state, breaker.in_flight, breaker.since), (State::Closed, 2, SECOND));
        let (Condition::RateLimit(limit), _) = condition("rate_limit") else { panic!("a rate limit") };
        assert_eq!((limit.per_second, limit.burst, limit.passed, limit.waiting), (50.0, 7, 4, 0));
        let (Condition::Deadline(deadline), _) = condition("deadline") else { panic!("a deadline") };
        assert_eq!((deadline.timeout, deadline.idle_timeout, deadline.head_timeout), (5 * SECOND, Some(SECOND), None));

        let answers = calls.await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
        let (Condition::Retry(retry), component) = condition("retry") else { panic!("a retry") };
        assert_eq!((retry.max_attempts, retry.budget_left), (3, 10));
        assert_eq!((component.calls["success"], component.calls["ignored"]), (3, 1));
        let latency = component.latency.unwrap();
        assert_eq!(latency.count, 3);
        let near = |time: Duration, seconds: f64| (time.as_secs_f64() / seconds - 1.0).abs() < 0.07;
        assert!(near(latency.p50, 2.0) && near(latency.max, 4.0), "{latency:?}");
        let (Condition::Bulkhead(bulkhead), component) = condition("bulkhead") else { panic!("a bulkhead") };
        assert_eq!((bulkhead.in_flight, bulkhead.service_time), (0, 2 * SECOND));
        assert!(near(component.latency.unwrap().max, 2.0), "a wait in the queue is no time of the dependency");
    });
}

#[test]
fn breaker_state_is_shown_and_can_be_forced() {
    in_virtual_time(async {
        let registry = Registry::new();
        let config = CircuitBreakerConfig {
            consecutive_failures: Some(2),
            half_open_rounds: 1,
            ..CircuitBreakerConfig::default()
        };
        let layer = CircuitBreakerLayer::new(config).unwrap().named_in(&registry, "payments").unwrap();
        let service = layer
            .layer(service_fn(|fails: bool| async move { if fails { Err(BoxError::from("down")) } else { Ok(()) } }));
        let call = async |fails| service.clone().oneshot(fails).await;
        let condition = || -> BreakerCondition {
            let Condition::CircuitBreaker(condition) = registry.snapshot().components[0].condition else {
                panic!("a breaker")
            };
            condition
        };
        for _ in 0..2 {
            assert!(call(true).await.is_err());
        }
        advance(SECOND / 4).await;
        let last = condition().last_transition.unwrap();
        assert_eq!((condition().state, condition().since), (State::Open, SECOND / 4));
        assert_eq!((last.from, last.to, last.ago), (State::Closed, State::Open, SECOND / 4));
        let error = call(false).await.unwrap_err();
        let rejected = rejection(&error).unwrap();
        assert_eq!(
            (rejected.name(), rejected.layer(), rejected.reason()),
            (Some("payments"), "circuit_breaker", Reason::CircuitOpen)
        );
        let text = "`consecutive_failures` reached (layer `circuit_breaker`, name `payments`): 2 failed in a row, ";
        assert!(error.to_string().contains(text), "{error}");
        let outage = condition().outage;
        assert_eq!((outage.opened_by(), outage.failures()), (Some(TripCause::ConsecutiveFailures), Some(2)));
        assert_eq!(outage.open_for(), Some(SECOND / 4));
        let refused = registry.snapshot().components[0].last_refusal.unwrap().numbers;
        assert_eq!(refused, outage);

        advance(2 * SECOND).await;
        assert!(call(false).await.is_ok());
        assert_eq!((condition().state, condition().transitions), (State::Closed, 3));
        assert_eq!(condition().outage.opened_by(), None);

        registry.isolate("payments").unwrap();
        assert_eq!(condition().state, State::ForcedOpen);
        assert_eq!(condition().outage.opened_by(), Some(TripCause::ForcedOpen));
        assert!(call(false).await.is_err());
        let component = &registry.find("payments")[0];
        component.apply(Command::Disable).unwrap();
        assert!(call(true).await.is_err_and(|error| rejection(&error).is_none()));
        assert_eq!(component.snapshot().calls["transient"], 3, "calls through a disabled breaker are counted too");
        component.apply(Command::Observe).unwrap();
        assert!(condition().observe_only);
        component.apply(Command::Enforce).unwrap();
        assert_eq!((condition().state, condition().observe_only), (State::Closed, false));
    });
}

#[test]
fn worst_of_keyed_breakers_and_open_count_are_shown() {
    in_virtual_time(async {
        let registry = Registry::new();
        let config = CircuitBreakerConfig { consecutive_failures: Some(1), ..CircuitBreakerConfig::default() };
        let layer = CircuitBreakerLayer::new(config)
            .unwrap()
            .named_in(&registry, "shards")
            .unwrap()
            .keyed_by(|shard: &u32| *shard);
        let service = layer.layer(service_fn(|shard: u32| async move {
            if shard < 2 { Err(BoxError::from("down")) } else { Ok(()) }
        }));
        for shard in 0..5 {
            let _ = service.clone().oneshot(shard).await;
            advance(SECOND).await;
        }
        let component = &registry.snapshot().components[0];
        let Condition::CircuitBreaker(breaker) = component.condition else { panic!("a breaker") };
        assert_eq!(
            (component.keys, breaker.open_keys, breaker.state),
            (5, 2, State::Open),
            "named before it was keyed"
        );
        let last = breaker.last_transition.unwrap();
        assert_eq!((breaker.since, last.ago), (5 * SECOND, 4 * SECOND), "open since the first key opened");
        assert_eq!(breaker.outage.open_for(), Some(5 * SECOND));
        assert_eq!((component.calls["success"], component.calls["transient"]), (3, 2));
    });
}

#[test]
fn manual_limit_holds_until_the_configured_one_changes() {
    let registry = Registry::new();
    let config = LoadShedConfig { max_in_flight: 8, ..LoadShedConfig::default() };
    let layer = LoadShedLayer::new(config.clone()).unwrap().named_in(&registry, "inbound").unwrap();
    let component = &registry.find("inbound")[0];
    component.apply(Command::SetLimit(3.try_into().unwrap())).unwrap();
    layer.reload(&LoadShedConfig { max_wait: SECOND, ..config.clone() }).unwrap();
    assert_eq!(layer.handle().limit(), 3);
    layer.reload(&LoadShedConfig { max_in_flight: 4, ..config.clone() }).unwrap();
    assert_eq!(layer.handle().limit(), 4);
    assert!(layer.reload(&LoadShedConfig { max_in_flight: 0, ..config }).is_err());
    assert_eq!(component.snapshot().reloads, 2, "the refused reload is not counted");
}

#[cfg(feature = "config")]
#[test]
fn snapshot_can_be_serialized() {
    in_virtual_time(async {
        let registry = Registry::new();
        let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default())
            .unwrap()
            .named_in(&registry, "a \"name\" <b>")
            .unwrap();
        let service = breaker.layer(service_fn(takes));
        service.oneshot(SECOND).await.unwrap();
        let json = serde_json::to_value(registry.snapshot()).unwrap();
        let component = &json["components"][0];
        assert_eq!((&component["name"], &component["layer"]), (&"a \"name\" <b>".into(), &"circuit_breaker".into()));
        assert_eq!(component["calls"], serde_json::json!({ "success": 1 }));
        let breaker = &component["condition"]["circuit_breaker"];
        assert_eq!(
            (&breaker["state"], &breaker["since_s"], &breaker["last_transition"]),
            (&"closed".into(), &1.0.into(), &().into())
        );
        assert!((component["latency"]["p50_s"].as_f64().unwrap() - 1.0).abs() < 0.07);
        assert_eq!(component["last_refusal"], serde_json::Value::Null);
    });
}

/// Durations in JSON are numbers of seconds, and their names say so.
#[cfg(feature = "config")]
#[test]
fn durations_of_endpoints_are_serialized_as_seconds() {
    use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
    in_virtual_time(async {
        let registry = Registry::new();
        let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_endpoints([Endpoint::new("a")]).unwrap();
        let service = layer.named_in(&registry, "stock").unwrap().service(|_| service_fn(takes));
        service.clone().oneshot(SECOND).await.unwrap();
        let json = serde_json::to_value(registry.snapshot()).unwrap();
        assert_eq!(json["components"][0]["condition"]["balance"]["listed"][0]["cost_s"], 1.0, "{json}");
        assert!(!json.to_string().contains("nanos"), "{json}");
    });
}

/// A name appears in logs, in responses and on the page. Characters that are invisible there, or that reorder text,
/// are refused.
#[test]
fn name_with_control_or_format_characters_is_refused() {
    let registry = Registry::new();
    let hidden = [
        "a\nb",
        "a\rb",
        "\ta",
        "a\0",
        "a\u{1b}[2J",
        "\u{7f}",
        "a\u{85}b",
        "a\u{2028}",
        "\u{202e}a",
        "\u{2066}a",
        "a\u{200b}",
        "\u{feff}a",
    ];
    for name in hidden {
        let refused = [
            DeadlineLayer::new(SECOND).unwrap().named_in(&registry, name).map(drop),
            RetryLayer::new(RetryConfig::default()).unwrap().named_in(&registry, name).map(drop),
            RateLimitLayer::new(RateLimitConfig::default()).unwrap().named_in(&registry, name).map(drop),
            BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, name).map(drop),
            CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap().named_in(&registry, name).map(drop),
            LoadShedLayer::new(LoadShedConfig::default()).unwrap().named_in(&registry, name).map(drop),
            #[cfg(feature = "http")]
            seawall::stack::client(&Default::default()).unwrap().named_in(&registry, name).map(drop),
            #[cfg(feature = "http")]
            seawall::stack::server(&Default::default()).unwrap().named_in(&registry, name).map(drop),
        ];
        for result in refused {
            let invalid = result.unwrap_err();
            assert_eq!(invalid.faults()[0].path(), "name", "{name:?}");
            let shown = invalid.to_string();
            assert!(shown.contains("control or format characters") && !shown.contains(name), "{shown}");
        }
    }
    assert!(registry.snapshot().components.is_empty());
    for name in ["payments-eu.1", "Größe", "支払い", "a \"name\" <b>", "e\u{301}"] {
        let layer = DeadlineLayer::new(SECOND).unwrap().named_in(&registry, name).unwrap();
        assert_eq!(registry.snapshot().components[0].name, name);
        drop(layer);
    }
}
