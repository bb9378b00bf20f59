//! The bounds of a call: the head timeout, the idle timeout between frames of the body, and the deadline.

use std::time::Duration;

use http_body_util::BodyExt;
use seawall::deadline::DeadlineConfig;
use seawall::error::Reason;
use tokio::time::{Instant, sleep};

use crate::client::{LATEST, Settings, Stack, drain, refusal, until};
use crate::servers::{Protocol, Rest, Server};

both_protocols!(
    missing_head_is_cut_at_the_head_timeout,
    timely_head_leaves_the_body_the_rest_of_the_deadline,
    drip_slower_than_the_idle_timeout_is_cut,
    drip_faster_than_the_idle_timeout_lasts_to_the_deadline,
    reader_pause_does_not_count_as_idle,
    idle_timeout_starts_after_a_reader_pause,
    body_ends_at_the_deadline_of_its_call,
);

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_millis(300);

fn idle(timeout: Duration) -> Settings {
    Settings::lasting(DeadlineConfig { timeout, idle_timeout: Some(IDLE), ..DeadlineConfig::default() })
}

async fn missing_head_is_cut_at_the_head_timeout(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Silence).await;
    let config = DeadlineConfig { timeout: LATEST, head_timeout: Some(SECOND / 2), ..DeadlineConfig::default() };
    let stack = Stack::new(protocol, Settings::lasting(config));
    let start = Instant::now();
    let error = stack.get(&server).await.unwrap_err();
    assert!(start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(refusal(&error), Some(("deadline", Reason::HeadTimeout)));
    until(|| server.open() == 0).await;
}

async fn timely_head_leaves_the_body_the_rest_of_the_deadline(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(6, SECOND / 5)).await;
    let config = DeadlineConfig { timeout: 10 * SECOND, head_timeout: Some(SECOND / 2), ..DeadlineConfig::default() };
    let stack = Stack::new(protocol, Settings::lasting(config));
    let mut body = stack.get(&server).await.unwrap().into_body();
    assert_eq!(drain(&mut body).await.unwrap(), 6);
}

async fn drip_slower_than_the_idle_timeout_is_cut(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Drip(3 * IDLE)).await;
    let stack = Stack::new(protocol, idle(LATEST));
    let start = Instant::now();
    let mut body = stack.get(&server).await.unwrap().into_body();
    let error = drain(&mut body).await.unwrap_err();
    assert!(start.elapsed() >= IDLE && start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(refusal(&error), Some(("deadline", Reason::IdleTimeout)));
    until(|| server.open() == 0).await;
}

async fn drip_faster_than_the_idle_timeout_lasts_to_the_deadline(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Drip(IDLE / 4)).await;
    let stack = Stack::new(protocol, idle(4 * IDLE));
    let start = Instant::now();
    let mut body = stack.get(&server).await.unwrap().into_body();
    let error = drain(&mut body).await.unwrap_err();
    assert!(start.elapsed() >= 4 * IDLE && start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
    until(|| server.open() == 0).await;
}

async fn reader_pause_does_not_count_as_idle(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(10, IDLE / 4)).await;
    let stack = Stack::new(protocol, idle(LATEST));
    let mut body = stack.get(&server).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    // No reader waits meanwhile, so the pause is not the dependency's.
    sleep(3 * IDLE).await;
    assert_eq!(drain(&mut body).await.unwrap(), 9);
}

async fn idle_timeout_starts_after_a_reader_pause(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let stack = Stack::new(protocol, idle(LATEST));
    let mut body = stack.get(&server).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    sleep(2 * IDLE).await;
    let start = Instant::now();
    let error = drain(&mut body).await.unwrap_err();
    assert!(start.elapsed() >= IDLE && start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(refusal(&error), Some(("deadline", Reason::IdleTimeout)));
}

async fn body_ends_at_the_deadline_of_its_call(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let config = DeadlineConfig {
        timeout: 2 * IDLE,
        head_timeout: Some(SECOND),
        idle_timeout: Some(5 * SECOND),
        ..DeadlineConfig::default()
    };
    let stack = Stack::new(protocol, Settings::lasting(config));
    let start = Instant::now();
    let mut body = stack.get(&server).await.unwrap().into_body();
    let error = drain(&mut body).await.unwrap_err();
    assert!(start.elapsed() >= 2 * IDLE && start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
}
