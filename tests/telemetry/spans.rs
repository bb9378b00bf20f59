//! Spans: one for each attempt, if a subscriber asks for them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use seawall::registry::Registry;
use seawall::retry::{RetryConfig, RetryLayer};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, info};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::events::{Fields, Reader};
use crate::recorded::in_virtual_time;

/// The spans that were closed, and which of them contained the service's own events.
#[derive(Clone, Default)]
struct Spans {
    closed: Arc<Mutex<Vec<Fields>>>,
    inside: Arc<Mutex<Vec<String>>>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let span = cx.span(id).unwrap();
        let mut fields = Fields::from([("span".to_owned(), span.name().to_owned())]);
        attributes.record(&mut Reader(&mut fields));
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        if let Some(fields) = cx.span(id).unwrap().extensions_mut().get_mut::<Fields>() {
            values.record(&mut Reader(fields));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, cx: Context<'_, S>) {
        if event.metadata().target() == "callee" {
            let span = cx.event_span(event).and_then(|span| span.extensions().get::<Fields>().cloned());
            let count = span.and_then(|fields| fields.get("http.request.resend_count").cloned());
            self.inside.lock().unwrap().push(count.unwrap_or_default());
        }
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        if let Some(fields) = cx.span(&id).unwrap().extensions().get::<Fields>() {
            self.closed.lock().unwrap().push(fields.clone());
        }
    }
}

/// The spans of a call that fails once.
fn spans_of(config: RetryConfig) -> Spans {
    let spans = Spans::default();
    let registry = Registry::new();
    let retry = RetryLayer::new(config).unwrap().named_in(&registry, "payments").unwrap();
    let attempts = AtomicU32::new(0);
    crate::listening::listening(tracing_subscriber::registry().with(spans.clone()), || {
        in_virtual_time(async {
            let attempts = &attempts;
            let service = retry.layer(service_fn(|()| async move {
                tokio::task::yield_now().await;
                info!(target: "callee", "at work");
                if attempts.fetch_add(1, Ordering::Relaxed) == 0 { Err(BoxError::from("down")) } else { Ok(()) }
            }));
            service.oneshot(()).await.unwrap();
        });
    });
    spans
}

#[test]
fn each_attempt_has_a_span_with_opentelemetry_names() {
    let spans = spans_of(RetryConfig { attempt_spans: true, ..RetryConfig::default() });
    let closed = spans.closed.lock().unwrap();
    let [first, second] = &closed[..] else { panic!("two attempts: {closed:?}") };
    let field = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_default();
    for (number, span) in [first, second].into_iter().enumerate() {
        assert_eq!((field(span, "span"), field(span, "otel.kind")), ("attempt".into(), "client".into()));
        assert_eq!(
            (field(span, "name"), field(span, "http.request.resend_count")),
            ("payments".into(), number.to_string())
        );
    }
    assert_eq!((field(first, "otel.status_code"), field(first, "error.type")), ("ERROR".into(), "transient".into()));
    assert_eq!((field(second, "otel.status_code"), field(second, "error.type")), (String::new(), String::new()));
    assert_eq!(*spans.inside.lock().unwrap(), ["0", "1"], "the service runs in the span of its attempt");
}

#[test]
fn no_attempt_spans_by_default() {
    assert!(spans_of(RetryConfig::default()).closed.lock().unwrap().is_empty());
}
