//! Endless bodies and few permits: there are never more open bodies than permits, and no open body after the deadline.

use std::time::Duration;

use http_body_util::BodyExt;
use seawall::bulkhead::BulkheadConfig;
use seawall::error::Reason;
use tokio::time::{Instant, sleep_until};
use tower::BoxError;

use crate::client::{Body, Settings, Stack, drain, refusal, until};
use crate::servers::{Protocol, Rest, Server};

both_protocols!(
    fifty_endless_bodies_that_are_read,
    fifty_endless_bodies_that_are_parked,
    fifty_endless_bodies_parked_after_a_frame,
    fifty_endless_bodies_dropped_after_a_frame,
    fifty_calls_without_a_head,
);

const DEADLINE: Duration = Duration::from_millis(600);
/// Allowance for a busy machine.
const GRACE: Duration = Duration::from_secs(3);
const CALLS: usize = 50;

/// What a caller does with the body until the deadline.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Reads,
    Parks,
    ParksAfterAPiece,
}

impl Holder {
    async fn hold(self, body: &mut Body, longer_than: Instant) -> Result<usize, BoxError> {
        if self == Self::ParksAfterAPiece {
            body.frame().await.expect("the body is endless")?;
        }
        if self != Self::Reads {
            // The body is kept until the deadline, and a little longer.
            sleep_until(longer_than).await;
        }
        drain(body).await
    }
}

async fn fifty(protocol: Protocol, rest: Rest, holder: Holder) {
    let server = Server::answering(protocol, rest).await;
    let mut settings = Settings::lasting(DEADLINE).with_permits(2);
    settings.bulkhead = BulkheadConfig { max_waiting: 10, ..settings.bulkhead };
    let stack = Stack::new(protocol, settings);

    let start = Instant::now();
    let later = start + 2 * DEADLINE;
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (stack, address) = (stack.clone(), server.uri());
            tokio::spawn(async move {
                let request = http::Request::get(address).body(http_body_util::Empty::new()).unwrap();
                match tower::ServiceExt::oneshot(stack.calls, request).await {
                    Ok(response) => {
                        let error = holder.hold(&mut response.into_body(), later).await.unwrap_err();
                        (true, refusal(&error), Instant::now())
                    }
                    Err(error) => (false, refusal(&error), Instant::now()),
                }
            })
        })
        .collect();

    until(|| (server.open(), stack.bulkhead.in_flight()) == (2, 2)).await;
    until(|| server.open() == 0 && stack.bulkhead.in_flight() == 0 && stack.bulkhead.waiting() == 0).await;
    assert!(start.elapsed() <= DEADLINE + GRACE, "the last body ended after {:?}", start.elapsed());

    let (mut served, mut full) = (0, 0);
    for call in calls {
        let (had_head, refusal, at) = call.await.unwrap();
        let (layer, reason) = refusal.expect("a layer cuts the body and names itself");
        match reason {
            Reason::QueueFull => full += 1,
            Reason::DeadlineExceeded | Reason::NotInTime | Reason::QueueTimeout => {}
            other => panic!("{layer} refused with {other:?}"),
        }
        served += usize::from(had_head);
        if !had_head || holder == Holder::Reads {
            assert!(at <= start + DEADLINE + GRACE, "{layer} refused with {reason:?} after {:?}", at - start);
        }
    }
    assert!(server.census.most_answers() <= 2, "{} open at once", server.census.most_answers());
    assert!(served <= 4, "two at a time, each until the deadline: {served}");
    assert_eq!(full, CALLS - 2 - 10, "ten calls are queued, the others are refused");
}

async fn fifty_endless_bodies_that_are_read(protocol: Protocol) {
    fifty(protocol, Rest::Endless, Holder::Reads).await;
    fifty(protocol, Rest::Stall, Holder::Reads).await;
    fifty(protocol, Rest::Drip(Duration::from_millis(10)), Holder::Reads).await;
}

async fn fifty_endless_bodies_that_are_parked(protocol: Protocol) {
    fifty(protocol, Rest::Endless, Holder::Parks).await;
    fifty(protocol, Rest::Stall, Holder::Parks).await;
}

async fn fifty_endless_bodies_parked_after_a_frame(protocol: Protocol) {
    fifty(protocol, Rest::Endless, Holder::ParksAfterAPiece).await;
}

async fn fifty_calls_without_a_head(protocol: Protocol) {
    fifty(protocol, Rest::Silence, Holder::Reads).await;
}

/// The permits pass through fifty calls, and a new body never begins before an old one is dropped.
async fn fifty_endless_bodies_dropped_after_a_frame(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Endless).await;
    let stack = Stack::new(protocol, Settings::lasting(Duration::from_secs(10)).with_permits(2));
    let calls = (0..CALLS).map(|_| async {
        let mut body = stack.get(&server).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
    });
    futures::future::join_all(calls).await;
    until(|| server.open() == 0).await;
    assert_eq!((server.census.requests(), stack.bulkhead.in_flight()), (CALLS, 0));
    assert!(server.census.most_answers() <= 2, "{} open at once", server.census.most_answers());
}
