//! Events: what is logged, and that many refusals make few log lines.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::fallback::{self, FallbackConfig, FallbackLayer};
#[cfg(feature = "grpc")]
use seawall::http::respond::RespondLayer;
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::registry::Registry;
use seawall::verdict::{self, Verdict};
use tokio::time::advance;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::recorded::in_virtual_time;

/// The fields of an event or a span, as text.
pub(crate) type Fields = BTreeMap<String, String>;

pub(crate) struct Reader<'a>(pub(crate) &'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Fields>>>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "seawall" {
            let mut fields = Fields::from([("level".to_owned(), event.metadata().level().to_string())]);
            event.record(&mut Reader(&mut fields));
            self.0.lock().unwrap().push(fields);
        }
    }
}

pub(crate) fn logged(calls: impl Future<Output = ()>) -> Vec<Fields> {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    crate::listening::listening(subscriber, || in_virtual_time(calls));
    Arc::into_inner(log.0).unwrap().into_inner().unwrap()
}

#[test]
fn refusals_are_logged_once_a_second_with_a_count() {
    let registry = Registry::new();
    let config = RateLimitConfig { permits: 1, per: Duration::from_secs(3600), ..RateLimitConfig::default() };
    let layer = RateLimitLayer::new(config).unwrap().named_in(&registry, "payments").unwrap();
    let events = logged(async {
        let service = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
        for _ in 0..10_000 {
            let _ = service.clone().oneshot(()).await;
            advance(Duration::from_micros(500)).await;
        }
    });
    let told: Vec<_> = events.iter().filter(|event| event["message"] == "rejected").collect();
    assert!((5..=6).contains(&told.len()), "five seconds: {told:?}");
    let first = told[0];
    assert_eq!(
        [&first["name"], &first["layer"], &first["reason"], &first["level"]],
        ["payments", "rate_limit", "rate_limited", "WARN"]
    );
    let numbers = [&first["limit"], &first["per"], &first["waiting"], &first["expected"], &first["retry_after"]];
    assert_eq!(numbers[..3], ["1", "3600s", "0"]);
    assert!(numbers[3].starts_with("3599.") && numbers[3] == numbers[4], "{numbers:?}");
    assert!(!first.contains_key("time_left"), "unknown fields are omitted: {first:?}");
    let suppressed: u32 =
        told.iter().filter_map(|event| event.get("suppressed")).map(|told| told.parse::<u32>().unwrap()).sum();
    assert!(!first.contains_key("suppressed"), "no refusal before: {first:?}");
    assert!((7_000..10_000).contains(&suppressed), "{suppressed} of 9,999 are counted so far");
}

/// A file with two stacks, of which one changes; and an invalid file.
#[cfg(feature = "config")]
#[test]
fn reload_is_logged_once_per_changed_stack_or_with_faults() {
    use seawall::config::{self, Config};
    use seawall::error::InvalidConfig;
    use seawall::stack::Stacks;

    let read = |text: &str| -> Result<Config, InvalidConfig> {
        config::load(serde_json::from_str::<serde_json::Value>(text).map_err(InvalidConfig::unreadable)?)
    };
    let client = |permits: i32| {
        format!(
            r#"{{ "client": {{ "payments": {{ "bulkhead": {{ "max_concurrent": {permits} }} }}, "search": {{}} }} }}"#
        )
    };
    let stacks = Stacks::new_in(&Registry::new(), "settings", read(&client(8)).unwrap()).unwrap();
    let layers = [stacks.client("payments").unwrap(), stacks.client("search").unwrap()];
    let events = logged(async {
        stacks.reload(read(&client(4))).unwrap();
        stacks.reload(read(&client(-4).replace("search", "sea\\u000arch"))).unwrap_err();
    });
    let told = events.iter().map(|event| [&event["message"], &event["name"], &event["layer"]].map(String::as_str));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ["reloaded", "payments", "deadline, retry, throttle, bulkhead, circuit_breaker"],
            ["reloaded", "settings", "settings"],
            ["reload rejected", "settings", "settings"]
        ]
    );
    let faults = &events[2]["faults"];
    assert!(faults.starts_with("client.payments.bulkhead.max_concurrent: invalid value: integer `-4`"), "{faults}");
    assert!(!faults.contains('\n'), "{faults}");
    drop(layers);
}

#[test]
fn every_state_change_is_logged_with_the_name() {
    let registry = Registry::new();
    let config = CircuitBreakerConfig {
        consecutive_failures: Some(1),
        half_open_rounds: 1,
        jitter: 0.0,
        ..CircuitBreakerConfig::default()
    };
    let layer = CircuitBreakerLayer::new(config).unwrap().named_in(&registry, "payments").unwrap();
    let events = logged(async {
        let service = layer
            .layer(service_fn(|fails: bool| async move { if fails { Err(BoxError::from("down")) } else { Ok(()) } }));
        let _ = service.clone().oneshot(true).await;
        advance(Duration::from_millis(250)).await;
        let _ = service.clone().oneshot(false).await;
        advance(Duration::from_secs(2)).await;
        let _ = service.clone().oneshot(false).await;
    });
    let opened = events.iter().find(|event| event["message"] == "transition").unwrap();
    assert_eq!([&opened["opened_by"], &opened["calls"], &opened["failures"]], ["consecutive_failures", "1", "1"]);
    let refused = events.iter().find(|event| event["message"] == "rejected").unwrap();
    assert_eq!([&refused["reason"], &refused["opened_by"]], ["circuit_open", "consecutive_failures"]);
    assert_eq!([&refused["open_for"], &refused["next_probe"]], ["250ms", "750ms"]);
    assert!(!refused.contains_key("limit") && !refused.contains_key("given"), "unknown fields are omitted");
    let states = events.iter().filter(|event| event["message"] == "transition" && event["name"] == "payments");
    let states: Vec<_> = states.map(|event| (event["from"].as_str(), event["to"].as_str())).collect();
    assert_eq!(states, [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]);
}

/// Both endpoints fail at the same moment, and each of their breakers is worth a line.
#[test]
fn state_changes_of_endpoints_are_logged_with_balancer_and_endpoint() {
    let circuit_breaker = CircuitBreakerConfig {
        consecutive_failures: Some(1),
        half_open_rounds: 1,
        jitter: 0.0,
        ..CircuitBreakerConfig::default()
    };
    let config = BalanceConfig { circuit_breaker, ..BalanceConfig::default() };
    let layer = BalanceLayer::new(config).unwrap().named_in(&Registry::new(), "orders").unwrap();
    let layer = layer.with_endpoints(["a\n", "b"].map(Endpoint::new)).unwrap();
    let events = logged(async {
        let service = layer.service(|_| {
            service_fn(|fails: bool| async move { if fails { Err(BoxError::from("down")) } else { Ok(()) } })
        });
        for _ in 0..2 {
            let _ = service.clone().oneshot(true).await;
        }
        advance(Duration::from_secs(2)).await;
        // More than two: which endpoint gets a call is drawn.
        for _ in 0..100 {
            service.clone().oneshot(false).await.unwrap();
            advance(Duration::from_millis(100)).await;
        }
    });
    let changes = events.iter().filter(|event| event["message"] == "transition");
    let mut changes: Vec<_> =
        changes.map(|event| ["endpoint", "from", "to", "name", "layer", "level"].map(|field| &*event[field])).collect();
    changes.sort_by_key(|[endpoint, ..]| *endpoint);
    let expected = ["a\\n", "b"].map(|endpoint| {
        [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]
            .map(|(from, to)| [endpoint, from, to, "orders", "circuit_breaker", "WARN"])
    });
    assert_eq!(changes, expected.concat());
}

/// Of six endpoints one fails all calls and one is slow.
#[test]
fn ejections_and_their_ends_are_logged_with_the_reason() {
    let mut config = BalanceConfig::default();
    config.circuit_breaker.enabled = false;
    config.ejection.interval = Duration::from_secs(3);
    config.ejection.base_time = Duration::from_secs(2);
    // The choice by load would keep most calls from the bad ones, and a few calls do not prove anything.
    config.max_concurrent = 1;
    let layer = BalanceLayer::new(config).unwrap().named_in(&Registry::new(), "orders").unwrap();
    let layer = layer.with_endpoints(["fails\n", "slow", "c", "d", "e", "f"].map(Endpoint::new)).unwrap();
    let events = logged(async {
        let service = layer.service(|endpoint: &Endpoint| {
            let (fails, slow) = (endpoint.key() == "fails\n", endpoint.key() == "slow");
            service_fn(move |()| async move {
                tokio::time::sleep(Duration::from_millis(if slow { 100 } else { 10 })).await;
                if fails { Err(BoxError::from("down")) } else { Ok(()) }
            })
        });
        let callers = (0..12).map(|_| async {
            let start = tokio::time::Instant::now();
            while start.elapsed() < Duration::from_secs(15) {
                let _ = service.clone().oneshot(()).await;
            }
        });
        futures::future::join_all(callers).await;
    });
    let ejections: Vec<_> = events.iter().filter(|event| event["message"].starts_with("endpoint ")).collect();
    let first = |message: &str, endpoint: &str| {
        let is_it = |event: &&Fields| event["message"] == message && event["endpoint"] == endpoint;
        ejections.iter().copied().find(is_it).unwrap_or_else(|| panic!("{message} {endpoint}: {ejections:?}"))
    };
    for (endpoint, why) in [("fails\\n", "success_rate"), ("slow", "latency")] {
        let ejected = ["name", "layer", "level", "why"].map(|field| &*first("endpoint ejected", endpoint)[field]);
        assert_eq!(ejected, ["orders", "balance", "INFO", why]);
        let restored = first("endpoint restored", endpoint);
        assert_eq!(["name", "layer", "level"].map(|field| &*restored[field]), ["orders", "balance", "INFO"]);
        assert!(!restored.contains_key("why"), "{restored:?}");
    }
    let others = ejections.iter().filter(|event| !["fails\\n", "slow"].contains(&&*event["endpoint"]));
    assert_eq!(others.count(), 0, "{ejections:?}");
}

/// The events of a stream have the name of the balancer that follows it.
#[test]
fn events_of_a_discovery_have_the_name_of_the_balancer() {
    use seawall::balance::discovered;
    use tower::discover::Change;

    let named = |name: &str| {
        let config = BalanceConfig { max_endpoints: 1, ..BalanceConfig::default() };
        BalanceLayer::new(config).unwrap().named_in(&Registry::new(), name).unwrap()
    };
    let events = logged(async {
        let changes = (0..3).map(|key| Ok(Change::Insert(key, ())));
        let changes = changes.chain([Err(BoxError::from("un\nreachable"))]);
        let layer = named("orders");
        layer
            .handle()
            .follow(discovered(futures::stream::iter(changes), |key: &u8, ()| Endpoint::new(key.to_string())));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(layer.handle().endpoints().len(), 1);
    });
    let fields = |event: &Fields| ["message", "name", "layer", "level"].map(|field| event[field].clone());
    let expected = ["discovery failed", "too many endpoints", "discovery ended"];
    let expected = expected.map(|message| [message, "orders", "balance", "WARN"].map(str::to_owned));
    assert_eq!(events.iter().map(fields).collect::<Vec<_>>(), expected);
    assert_eq!((&*events[0]["error"], &*events[1]["max_endpoints"]), ("un\\nreachable", "1"));

    // Without a balancer that follows it, a stream has no name.
    let events = logged(async {
        let changes = futures::stream::iter([Err::<Change<u8, ()>, _>(BoxError::from("down"))]);
        let sets = discovered(changes, |key: &u8, ()| Endpoint::new(key.to_string()));
        assert_eq!(futures::StreamExt::count(sets).await, 0);
    });
    assert_eq!(events.iter().map(fields).collect::<Vec<_>>(), [["discovery failed", "unnamed", "balance", "WARN"]]);
}

/// A name of the reserved domain `invalid` never resolves.
#[cfg(feature = "dns")]
#[test]
fn failed_resolution_is_logged_with_the_name_of_the_balancer() {
    use seawall::balance::{DnsConfig, dns};

    let events = logged(async {
        let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().named_in(&Registry::new(), "orders").unwrap();
        layer.handle().follow(dns("payments.invalid:80", DnsConfig::default()).unwrap());
        tokio::time::sleep(Duration::from_secs(20)).await;
    });
    let failed = events.iter().find(|event| event["message"] == "resolution failed").expect("the event");
    assert_eq!(
        ["name", "layer", "host", "level"].map(|field| &*failed[field]),
        ["orders", "balance", "\"payments.invalid:80\"", "WARN"]
    );
}

/// Line breaks, terminal escapes and bidirectional marks, in an error and in its cause, over HTTP and gRPC.
#[cfg(feature = "grpc")]
#[test]
fn untrusted_text_cannot_forge_a_log_line() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot pay {0}")]
    struct CannotPay(&'static str, #[source] BoxError);

    let hostile = "bob\n2026-11-28T00:00:00Z  INFO root logged in\r\u{1b}[2J\u{202e}\u{2028}\u{85}\0";
    let escaped = r"bob\n2026-11-28T00:00:00Z  INFO root logged in\r\u{1b}[2J\u{202e}\u{2028}\u{85}\0";
    let events = logged(async {
        for is_grpc in [false, true] {
            let errors: [BoxError; 3] =
                [hostile.into(), CannotPay(hostile, hostile.into()).into(), std::io::Error::other(hostile).into()];
            for error in errors {
                // Responses are counted per process: the clock of another test may be far ahead.
                advance(Duration::from_secs(1000 * 86_400)).await;
                let mut error = Some(error);
                let service = service_fn(move |_: http::Request<String>| {
                    let error = error.take().unwrap();
                    std::future::ready(Err::<http::Response<http_body_util::Full<bytes::Bytes>>, _>(error))
                });
                let request = http::Request::new(String::new());
                // The response to the caller does not contain the text at all.
                match is_grpc {
                    true => {
                        let answer = RespondLayer::grpc().layer(service).oneshot(request).await.unwrap();
                        assert_eq!(answer.headers()["grpc-message"], "internal error");
                    }
                    false => {
                        assert_eq!(RespondLayer::new().layer(service).oneshot(request).await.unwrap().status(), 500)
                    }
                }
            }
        }
    });
    let told: Vec<_> = events.iter().filter(|event| event["message"] == "answered").collect();
    let errors: Vec<_> = told.iter().map(|event| event["error"].clone()).collect();
    let shown = [escaped.to_owned(), format!("cannot pay {escaped}: {escaped}"), escaped.to_owned()];
    assert_eq!(errors, [shown.clone(), shown].concat());
}

#[test]
fn quarantine_is_logged_with_the_fingerprint() {
    let lost = verdict::from_fn(|_: Result<&(), &BoxError>| Verdict::Lost);
    let events = logged(async {
        let layer = QuarantineLayer::new(QuarantineConfig::default(), |_: &&str| "GET\n/reports".to_owned()).unwrap();
        let layer = layer.with_classifier(lost).named_in(&Registry::new(), "reports").unwrap();
        let balance = BalanceLayer::new(BalanceConfig::default()).unwrap().with_classifier(lost);
        let balance = balance.with_endpoints((0..4).map(|number| Endpoint::new(number.to_string()))).unwrap();
        let service = layer.layer(balance.service(|_| service_fn(|_| async { Ok::<_, BoxError>(()) })));
        while service.clone().oneshot("").await.is_ok() {}
    });
    let event = events.iter().find(|event| event["message"] == "quarantined").expect("the event");
    assert_eq!(
        ["name", "layer", "fingerprint", "duration", "level"].map(|field| &*event[field]),
        ["reports", "quarantine", r#""GET\n/reports""#, "7.5s", "WARN"]
    );
}

#[test]
fn fallbacks_are_logged_with_cause_and_error() {
    let failing = service_fn(|()| async { Err::<(), BoxError>("down".into()) });
    let fails = fallback::service(service_fn(|()| async { Err::<(), BoxError>("also\ndown".into()) }));
    let events = logged(async {
        let answers = FallbackLayer::new(FallbackConfig::default(), fallback::value(())).unwrap();
        let answers = answers.named_in(&Registry::new(), "prices").unwrap();
        answers.layer(failing).oneshot(()).await.unwrap();
        let fails = FallbackLayer::new(FallbackConfig::default(), fails).unwrap();
        fails.named_in(&Registry::new(), "stock").unwrap().layer(failing).oneshot(()).await.unwrap_err();
    });
    let [answered, failed] = &events[..] else { panic!("two events: {events:?}") };
    assert_eq!(
        ["message", "name", "layer", "cause", "level"].map(|field| &*answered[field]),
        ["answered by fallback", "prices", "fallback", "transient", "WARN"]
    );
    assert_eq!(
        ["message", "name", "why", "cause"].map(|field| &*failed[field]),
        ["not answered by fallback", "stock", "failed", "transient"]
    );
    assert_eq!(failed["error"], "also\\ndown");
}

#[test]
fn injected_faults_and_their_end_are_logged() {
    let refuse = ChaosRule::new(ChaosFault::Refuse { retry_after: None });
    let config =
        ChaosConfig { enabled: true, rules: vec![refuse], lasts: Some(Duration::from_secs(1)), ..Default::default() };
    let events = logged(async {
        let chaos = ChaosLayer::new(config).unwrap().named_in(&Registry::new(), "drill").unwrap();
        let service = chaos.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
        service.clone().oneshot(()).await.unwrap_err();
        advance(Duration::from_secs(2)).await;
        service.clone().oneshot(()).await.unwrap();
        service.clone().oneshot(()).await.unwrap();
    });
    let messages: Vec<_> = events.iter().map(|event| &*event["message"]).collect();
    assert_eq!(messages, ["fault injected", "rejected", "faults are over"]);
    assert_eq!(
        ["name", "layer", "fault", "level"].map(|field| &*events[0][field]),
        ["drill", "chaos", "refuse", "WARN"]
    );
}
