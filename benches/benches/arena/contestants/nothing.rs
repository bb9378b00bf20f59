//! Nothing: as many attempts as the scenario wants, at once one after the other, with the timeout that it wants for each; several
//! endpoints in turn; and bare servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ::tower::util::BoxCloneService;
use ::tower::{BoxError, ServiceExt, service_fn};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;

use super::{Brief, Client, Contestant, Instance, ServerStack, boxed};
use crate::clock::Ms;
use crate::server::{Handler, answer};
use crate::wire::Wire;

pub(super) struct Nothing;

impl Contestant for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn client(&self, brief: &Brief, wire: Wire) -> Client {
        self.balanced(brief, vec![Instance::active(wire)])
    }

    fn balanced(&self, brief: &Brief, instances: Vec<Instance>) -> Client {
        let attempts = brief.attempts.unwrap_or(1);
        let timeout = Duration::from_millis(brief.attempt_timeout.unwrap_or(Ms::MAX >> 20));
        let wires: Arc<[Wire]> =
            instances.into_iter().filter(|instance| !instance.is_standby).map(|instance| instance.wire).collect();
        let turn = Arc::new(AtomicUsize::new(0));
        BoxCloneService::new(service_fn(move |request: Request<Full<Bytes>>| {
            let (wires, turn) = (Arc::clone(&wires), Arc::clone(&turn));
            async move {
                let mut last = Err(BoxError::from("no attempt"));
                for _ in 0..attempts {
                    let wire = wires[turn.fetch_add(1, Relaxed) % wires.len()].clone();
                    let attempt = tokio::time::timeout(timeout, wire.oneshot(request.clone()));
                    last = attempt.await.map_err(BoxError::from).and_then(|result| result);
                    if last.as_ref().is_ok_and(|response| !response.status().is_server_error()) {
                        break;
                    }
                }
                last
            }
        }))
    }

    fn server(&self, _: &Brief, handler: Handler) -> ServerStack {
        let or_500 = |result: Result<_, BoxError>| {
            result.or_else(|_| Ok::<_, BoxError>(answer(StatusCode::INTERNAL_SERVER_ERROR)))
        };
        boxed(ServiceExt::<Request<Full<Bytes>>>::map_result(handler, or_500))
    }
}
