//! A body that is kept past its deadline is cut, whether it is polled or not, and the cut is reported.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::Reason;
use seawall::registry::Registry;
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;

use crate::client::{Calls, LATEST, Settings, Stack, boxed, drain, get, hyper, refusal, until};
use crate::servers::{Protocol, Rest, Server};

both_protocols!(
    each_layer_alone_cuts_a_parked_body,
    waiting_reader_is_woken_by_the_cut,
    buffered_frames_are_not_handed_out_after_the_cut,
    client_works_after_a_cut,
    cut_body_can_be_polled_and_queried_again,
);

const HOLD: Duration = Duration::from_millis(300);

fn alone(protocol: Protocol) -> [(&'static str, Reason, Calls); 3] {
    let bulkhead = BulkheadLayer::http(BulkheadConfig { max_hold: HOLD, ..BulkheadConfig::default() }).unwrap();
    let breaker =
        CircuitBreakerLayer::http(CircuitBreakerConfig { max_hold: HOLD, ..CircuitBreakerConfig::default() }).unwrap();
    [
        ("deadline", Reason::DeadlineExceeded, boxed(DeadlineLayer::http(HOLD).unwrap().layer(hyper(protocol)))),
        ("bulkhead", Reason::HoldExceeded, boxed(bulkhead.layer(hyper(protocol)))),
        ("circuit_breaker", Reason::HoldExceeded, boxed(breaker.layer(hyper(protocol)))),
    ]
}

async fn each_layer_alone_cuts_a_parked_body(protocol: Protocol) {
    for (layer, reason, calls) in alone(protocol) {
        let server = Server::answering(protocol, Rest::Stall).await;
        let start = Instant::now();
        let mut body = get(&calls, &server).await.unwrap().into_body();
        assert_eq!(server.open(), 1);
        until(|| server.open() == 0).await;
        let after = start.elapsed();
        assert!(after >= HOLD && after <= LATEST, "{layer}: cut after {after:?}");
        let error = body.frame().await.expect("the body was cut").unwrap_err();
        assert_eq!(refusal(&error), Some((layer, reason)));
    }
}

async fn waiting_reader_is_woken_by_the_cut(protocol: Protocol) {
    for (layer, reason, calls) in alone(protocol) {
        let server = Server::answering(protocol, Rest::Stall).await;
        let start = Instant::now();
        let mut body = get(&calls, &server).await.unwrap().into_body();
        let error = timeout(10 * HOLD, drain(&mut body)).await.expect("the reader is woken").unwrap_err();
        let after = start.elapsed();
        assert!(after >= HOLD && after <= LATEST, "{layer}: cut after {after:?}");
        assert_eq!(refusal(&error), Some((layer, reason)));
        until(|| server.open() == 0).await;
    }
}

/// After the cut a late reader gets the error at once. Frames that are still in a buffer are not handed out first.
async fn buffered_frames_are_not_handed_out_after_the_cut(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Endless).await;
    let stack = Stack::new(protocol, Settings::lasting(HOLD));
    let mut body = stack.get(&server).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    sleep(2 * HOLD).await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
}

async fn client_works_after_a_cut(protocol: Protocol) {
    let server = Server::scripted(protocol, |n| match n {
        0..20 => crate::servers::Answer::of(Rest::Stall),
        _ => crate::servers::Answer::whole("well"),
    })
    .await;
    let stack = Stack::new(protocol, Settings::lasting(8 * HOLD));
    let parked = futures::future::join_all((0..20).map(|_| stack.get(&server))).await;
    assert!(parked.iter().all(Result::is_ok));
    until(|| server.open() == 0).await;
    let body = stack.get(&server).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), Bytes::from("well"));
    drop(parked);
    assert_eq!(stack.bulkhead.in_flight(), 0);
    match protocol {
        Protocol::Http1 => assert_eq!(server.census.connections(), 1, "the twenty cut connections are closed"),
        Protocol::Http2 => assert_eq!(server.census.accepted(), 1, "the connection stays open"),
    }
}

async fn cut_body_can_be_polled_and_queried_again(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let stack = Stack::new(protocol, Settings::lasting(HOLD));
    let mut body = stack.get(&server).await.unwrap().into_body();
    assert!(drain(&mut body).await.is_err());
    for _ in 0..3 {
        let _ = http_body::Body::is_end_stream(&body);
        let _ = http_body::Body::size_hint(&body);
        let again = timeout(HOLD, body.frame()).await.expect("the cut body does not hang");
        assert!(again.is_none_or(|frame| frame.is_err()), "no further frame");
    }
}

/// The counters and warnings of registered layers while `test` runs.
#[cfg(feature = "metrics")]
fn recorded_while(test: impl AsyncFnOnce(Settings)) -> (Vec<String>, Vec<String>) {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let warnings = Warnings::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let settings = Settings { registry: Some(Registry::new()), ..Settings::lasting(HOLD) };
        crate::listening::listening(warnings.clone(), || runtime.block_on(test(settings)));
    });
    let counters = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let DebugValue::Counter(count) = value else { return None };
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        // Layers of other tests may appear in it.
        let ours = count > 0 && labels.iter().any(|label| label == "name=callee");
        ours.then(|| format!("{}{{{}}} {count}", key.key().name(), labels.join(",")))
    });
    let warnings = std::mem::take(&mut *warnings.0.lock().unwrap());
    (counters.collect(), warnings)
}

/// Collects warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target() == "seawall"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[cfg(feature = "metrics")]
#[test]
fn cut_is_counted_and_logged_once_with_layer_and_age() {
    let (counters, warnings) = recorded_while(async |settings| {
        let server = Server::answering(Protocol::Http1, Rest::Stall).await;
        let stack = Stack::new(Protocol::Http1, settings.clone());
        let _parked = stack.get(&server).await.unwrap();
        until(|| server.open() == 0).await;
        settings.registry.unwrap().publish();
    });
    let cut: Vec<_> = counters.iter().filter(|line| line.starts_with("seawall_bodies_cut_total")).collect();
    assert_eq!(cut.len(), 1, "three layers hold the body, and it is cut once: {counters:?}");
    assert!(cut[0].contains("layer=deadline") && cut[0].ends_with(" 1"), "{cut:?}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("layer=\"deadline\"") && warnings[0].contains("age"), "{warnings:?}");
}

#[cfg(feature = "metrics")]
#[test]
fn body_that_ends_in_time_is_not_reported() {
    let (counters, warnings) = recorded_while(async |settings| {
        let server = Server::answering(Protocol::Http1, Rest::Whole("well".into())).await;
        let stack = Stack::new(Protocol::Http1, settings.clone());
        let mut body = stack.get(&server).await.unwrap().into_body();
        drain(&mut body).await.unwrap();
        sleep(2 * HOLD).await;
        settings.registry.unwrap().publish();
    });
    assert!(counters.is_empty() && warnings.is_empty(), "{counters:?} {warnings:?}");
}
