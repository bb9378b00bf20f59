//! Bodies that leave the runtime they were made in, or outlive it.

use std::time::Duration;

use http_body_util::BodyExt;
use seawall::deadline::DeadlineConfig;
use seawall::error::Reason;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout};

use crate::client::{Body, LATEST, Settings, Stack, drain, read, refusal, until};
use crate::servers::{Protocol, Rest, Server};

/// The bound of a body, from its head on: a late head does not matter.
const DEADLINE: Duration = Duration::from_millis(400);

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A runtime that runs although no thread blocks on it.
fn driven() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn stack() -> Stack {
    let (timeout, body_timeout) = (LATEST, Some(DEADLINE));
    let config = DeadlineConfig { timeout, body_timeout, ..DeadlineConfig::default() };
    Stack::new(Protocol::Http1, Settings::lasting(config))
}

/// A stack whose deadline never comes.
fn patient() -> Stack {
    Stack::new(Protocol::Http1, Settings::lasting(2 * LATEST))
}

async fn body(stack: &Stack, server: &Server) -> Body {
    stack.get(server).await.unwrap().into_body()
}

/// Waits for the dependency and the cut, and returns how long that took.
async fn is_cut(body: &mut Body) -> Duration {
    let start = Instant::now();
    let error = timeout(LATEST, drain(body)).await.expect("the body is cut").unwrap_err();
    assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
    start.elapsed()
}

#[test]
fn body_read_in_another_runtime_is_cut_there() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Stall));
    let made_in = driven();
    let stack = stack();
    let mut moved = made_in.block_on(body(&stack, &server));
    assert!(single().block_on(is_cut(&mut moved)) < LATEST);
    assert_eq!(stack.bulkhead.in_flight(), 0);
    servers.block_on(until(|| server.open() == 0));
}

/// The runtime that made the body still exists, but no thread drives it, so nothing wakes in it.
#[test]
fn body_of_an_idle_runtime_is_cut_where_it_is_read() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Stall));
    let standing_still = single();
    let stack = stack();
    let mut moved = standing_still.block_on(body(&stack, &server));
    assert!(single().block_on(is_cut(&mut moved)) < LATEST);
    assert_eq!(stack.bulkhead.in_flight(), 0);
    drop(standing_still);
    servers.block_on(until(|| server.open() == 0));
}

#[test]
fn body_dropped_in_another_runtime_releases_everything() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Stall));
    let made_in = driven();
    let stack = patient();
    let moved = made_in.block_on(body(&stack, &server));
    assert_eq!(stack.bulkhead.in_flight(), 1);
    single().block_on(async { drop(moved) });
    assert_eq!(stack.bulkhead.in_flight(), 0);
    servers.block_on(until(|| server.open() == 0));
}

#[test]
fn runtime_shutdown_with_parked_bodies_leaves_nothing() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Stall));
    for made_in in [single(), driven()] {
        let stack = stack();
        let mut parked: Vec<_> = (0..3).map(|_| made_in.block_on(body(&stack, &server))).collect();
        drop(made_in);
        servers.block_on(until(|| server.open() == 0));
        // Read outside of any runtime, in another runtime, or not at all.
        let mut outside = parked.pop().unwrap();
        let _ = futures::executor::block_on(outside.frame());
        let mut elsewhere = parked.pop().unwrap();
        let frames = single().block_on(async {
            timeout(LATEST, async {
                let mut frames = 0;
                while let Some(Ok(_)) = elsewhere.frame().await {
                    frames += 1;
                }
                frames
            })
            .await
        });
        assert!(frames.expect("the body does not hang") <= 1);
        drop((outside, elsewhere, parked));
        assert_eq!(stack.bulkhead.in_flight(), 0);
    }
}

#[test]
fn many_short_runtimes_each_cut_their_own_bodies() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Stall));
    let mut outlived = Vec::new();
    for round in 0..12 {
        let (runtime, stack) = (single(), stack());
        runtime.block_on(async {
            let parked = body(&stack, &server).await;
            if round % 4 == 0 {
                until(|| stack.bulkhead.in_flight() == 0).await;
            }
            outlived.push((parked, stack.clone()));
        });
    }
    servers.block_on(until(|| server.open() == 0));
    for (parked, stack) in outlived {
        drop(parked);
        assert_eq!(stack.bulkhead.in_flight(), 0);
    }
}

#[test]
fn body_can_be_read_outside_any_runtime() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Trickle(3, Duration::from_millis(5))));
    let made_in = driven();
    let stack = patient();
    let mut body = made_in.block_on(body(&stack, &server));
    assert_eq!(futures::executor::block_on(read(&mut body)).unwrap(), 3);
    assert_eq!(stack.bulkhead.in_flight(), 0);
}

#[test]
fn body_awaited_outside_any_runtime_is_cut_by_its_own() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Stall));
    let made_in = driven();
    let stack = stack();
    let mut body = made_in.block_on(body(&stack, &server));
    let error = futures::executor::block_on(read(&mut body)).unwrap_err();
    assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
    assert_eq!(stack.bulkhead.in_flight(), 0);
}

/// A runtime shuts down in the background: bodies that are being read at that moment end.
#[test]
fn shutdown_of_the_runtime_ends_a_body_read_elsewhere() {
    let servers = driven();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Stall));
    let made_in = driven();
    let stack = patient();
    let mut moved = made_in.block_on(body(&stack, &server));
    single().block_on(async {
        moved.frame().await.unwrap().unwrap();
        let reading = tokio::spawn(async move { timeout(LATEST, moved.frame()).await });
        tokio::task::yield_now().await;
        made_in.shutdown_background();
        let end = reading.await.unwrap().expect("the body does not hang");
        assert!(end.is_none_or(|frame| frame.is_err()));
    });
    assert_eq!(stack.bulkhead.in_flight(), 0);
}
