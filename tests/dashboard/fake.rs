use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use seawall::dashboard::{Body, Dashboard, Look, Refused, Source};
use serde_json::{Value, json};
use tower::ServiceExt;

#[derive(Default)]
pub(crate) struct Fake(pub(crate) Mutex<Vec<Value>>);

impl Look for Fake {
    fn snapshot(&self) -> Value {
        json!({ "unix_ms": 0, "components": *self.0.lock().unwrap() })
    }

    fn apply(&self, name: &str, layer: &str, command: &Value) -> Result<Value, Refused> {
        let components = self.0.lock().unwrap();
        let found = components.iter().find(|c| c["name"] == name && c["layer"] == layer).ok_or(Refused::Unknown)?;
        if layer != "circuit_breaker" || command != "force_open" {
            return Err(Refused::Unsupported("not that".to_owned()));
        }
        Ok(found.clone())
    }
}

pub(crate) fn source() -> Source {
    let breaker = json!({ "name": "payments", "layer": "circuit_breaker", "age_s": 1.0, "calls": { "success": 3 },
        "condition": { "circuit_breaker": { "state": "closed", "since_s": 1.0 } } });
    let bulkhead = json!({ "name": "payments", "layer": "bulkhead", "age_s": 1.0 });
    Source(Arc::new(Fake(Mutex::new(vec![breaker, bulkhead]))))
}

pub(crate) fn dashboard() -> Dashboard {
    Dashboard::new(source())
}

pub(crate) async fn ask(dashboard: &Dashboard, request: Request<Full<Bytes>>) -> (Response<Body>, Bytes) {
    let (parts, body) = dashboard.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, Body::default()), bytes)
}
