//! The parts of a call's time: its head, the waits between pieces of its body, and the whole.

use std::time::Duration;

use http_body_util::BodyExt;
use seawall::deadline::DeadlineConfig;
use seawall::error::Reason;
use tokio::time::{Instant, sleep};

use crate::client::{LATEST, Settings, Stack, drain, told, until};
use crate::servers::{Protocol, Rest, Server};

both_protocols!(
    a_head_that_does_not_come_is_waited_for_no_longer_than_the_head_timeout,
    a_head_that_came_in_time_leaves_the_body_all_the_rest,
    a_drip_slower_than_the_idle_timeout_is_cut,
    a_drip_faster_than_the_idle_timeout_goes_on_to_the_deadline,
    a_holder_who_pauses_is_not_cut_for_idling,
    a_body_that_stalls_after_a_pause_gets_the_whole_idle_timeout,
    a_body_has_what_the_deadline_leaves_and_no_more,
);

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_millis(300);

fn idle(timeout: Duration) -> Settings {
    Settings::lasting(DeadlineConfig { timeout, idle_timeout: Some(IDLE), ..DeadlineConfig::default() })
}

async fn a_head_that_does_not_come_is_waited_for_no_longer_than_the_head_timeout(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Silence).await;
    let config = DeadlineConfig { timeout: LATEST, head_timeout: Some(SECOND / 2), ..DeadlineConfig::default() };
    let stack = Stack::new(protocol, Settings::lasting(config));
    let start = Instant::now();
    let error = stack.get(&server).await.unwrap_err();
    assert!(start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(told(&error), Some(("deadline", Reason::HeadTimeout)));
    until(|| server.open() == 0).await;
}

async fn a_head_that_came_in_time_leaves_the_body_all_the_rest(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(6, SECOND / 5)).await;
    let config = DeadlineConfig { timeout: 10 * SECOND, head_timeout: Some(SECOND / 2), ..DeadlineConfig::default() };
    let stack = Stack::new(protocol, Settings::lasting(config));
    let mut body = stack.get(&server).await.unwrap().into_body();
    assert_eq!(drain(&mut body).await.unwrap(), 6);
}

async fn a_drip_slower_than_the_idle_timeout_is_cut(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Drip(3 * IDLE)).await;
    let stack = Stack::new(protocol, idle(LATEST));
    let start = Instant::now();
    let mut body = stack.get(&server).await.unwrap().into_body();
    let error = drain(&mut body).await.unwrap_err();
    assert!(start.elapsed() >= IDLE && start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(told(&error), Some(("deadline", Reason::IdleTimeout)));
    until(|| server.open() == 0).await;
}

async fn a_drip_faster_than_the_idle_timeout_goes_on_to_the_deadline(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Drip(IDLE / 4)).await;
    let stack = Stack::new(protocol, idle(4 * IDLE));
    let start = Instant::now();
    let mut body = stack.get(&server).await.unwrap().into_body();
    let error = drain(&mut body).await.unwrap_err();
    assert!(start.elapsed() >= 4 * IDLE && start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(told(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
    until(|| server.open() == 0).await;
}

async fn a_holder_who_pauses_is_not_cut_for_idling(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(10, IDLE / 4)).await;
    let stack = Stack::new(protocol, idle(LATEST));
    let mut body = stack.get(&server).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    // Nobody waits meanwhile, and it is not the callee's fault.
    sleep(3 * IDLE).await;
    assert_eq!(drain(&mut body).await.unwrap(), 9);
}

async fn a_body_that_stalls_after_a_pause_gets_the_whole_idle_timeout(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let stack = Stack::new(protocol, idle(LATEST));
    let mut body = stack.get(&server).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    sleep(2 * IDLE).await;
    let start = Instant::now();
    let error = drain(&mut body).await.unwrap_err();
    assert!(start.elapsed() >= IDLE && start.elapsed() < LATEST, "{:?}", start.elapsed());
    assert_eq!(told(&error), Some(("deadline", Reason::IdleTimeout)));
}

async fn a_body_has_what_the_deadline_leaves_and_no_more(protocol: Protocol) {
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
    assert_eq!(told(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
}
