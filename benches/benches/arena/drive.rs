//! The open loop: calls start when the trace says so, however long earlier ones take, and each caller waits for its answer to the end.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

use crate::clock::{Clock, Ms};
use crate::contestants::Client;
use crate::server::{CALL, lock};
use crate::trace::Arrival;

/// How a call went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// The intended start.
    pub(crate) at: Ms,
    /// The end of the body, or of the failure; `None` while it lasts.
    pub(crate) end: Option<Ms>,
    pub(crate) succeeded: bool,
}

impl Record {
    pub(crate) fn new(at: Ms) -> Self {
        Self { at, end: None, succeeded: false }
    }

    pub(crate) fn latency(&self) -> Option<Ms> {
        self.end.filter(|_| self.succeeded).map(|end| end - self.at)
    }

    /// Whether it succeeded within `deadline` from its intended start.
    pub(crate) fn is_good(&self, deadline: Ms) -> bool {
        self.latency().is_some_and(|latency| latency <= deadline)
    }
}

/// The request of a call: its number, and a path.
pub(crate) fn get(call: usize, path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = format!("http://dependency.arena/{path}").parse().expect("a valid URI");
    request.headers_mut().insert(CALL, HeaderValue::from(call));
    request
}

/// A mark in the extensions of a request: its caller keeps the response, and never reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaks;

/// Makes all calls with `clients` in turn, and returns how they went at the time `until`.
pub(crate) async fn open_loop(
    clock: Clock,
    calls: &[Arrival],
    clients: &[Client],
    until: Ms,
    request: impl Fn(usize, &Arrival) -> Request<Full<Bytes>>,
) -> Vec<Record> {
    let records = Arc::new(Mutex::new(calls.iter().map(|call| Record::new(call.at)).collect::<Vec<_>>()));
    for (call, arrival) in calls.iter().enumerate() {
        if arrival.at > clock.now() {
            clock.sleep_until(arrival.at).await;
        }
        let client = clients[call % clients.len()].clone();
        let request = request(call, arrival);
        let leaks = request.extensions().get::<Leaks>().is_some();
        let sent = client.oneshot(request);
        let records = Arc::clone(&records);
        tokio::spawn(async move {
            let succeeded = match sent.await {
                Ok(response) if leaks => {
                    clock.sleep_until(until).await;
                    drop(response);
                    return;
                }
                Ok(response) => response.status().is_success() && response.into_body().collect().await.is_ok(),
                Err(_) => false,
            };
            let record = &mut lock(&records)[call];
            (record.end, record.succeeded) = (Some(clock.now()), succeeded);
        });
    }
    clock.sleep_until(until).await;
    lock(&records).clone()
}
