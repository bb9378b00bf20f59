//! Calls differ: with permits free, a call is refused only if hardly any call would finish in its time, and no history
//! refuses quick calls for good.

use std::time::Duration;

use seawall::deadline::DeadlineLayer;
use seawall::error::Reason;
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, ServiceExt};

use crate::{MS, SECOND, Sleeper, gated, reason, sleeper};

/// Sends `count` calls that take `takes`, one every `every`, each with this much time, and returns how many were
/// refused.
async fn refused(gate: &Sleeper, count: u32, every: Duration, takes: Duration, time: Duration) -> u32 {
    let calls: Vec<_> = {
        let mut calls = Vec::new();
        for _ in 0..count {
            calls.push(tokio::spawn(call(gate, takes, time)));
            sleep(every).await;
        }
        calls
    };
    let mut refused = 0;
    for call in calls {
        let reason = reason(call.await.unwrap());
        refused += u32::from(matches!(reason, Some(Reason::NotInTime | Reason::QueueFull)));
    }
    refused
}

fn call(gate: &Sleeper, takes: Duration, time: Duration) -> impl Future<Output = Result<(), BoxError>> + Send + use<> {
    DeadlineLayer::new(time).unwrap().layer(gate.clone()).oneshot(takes)
}

#[tokio::test(start_paused = true)]
async fn slow_call_does_not_refuse_quick_calls() {
    for warm in [0, 3, 1000] {
        for (layer, gate) in gated(64, &sleeper()) {
            assert_eq!(refused(&gate, warm, 5 * MS, 5 * MS, 500 * MS).await, 0);
            let slow = [30 * SECOND, 300 * SECOND].map(|takes| tokio::spawn(gate.clone().oneshot(takes)));
            let refused = refused(&gate, 4000, 20 * MS, 5 * MS, 500 * MS).await;
            assert_eq!(refused, 0, "{layer} after {warm}");
            drop(slow);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_first_call_does_not_refuse_quick_calls() {
    for (layer, gate) in gated(64, &sleeper()) {
        gate.clone().oneshot(3 * SECOND).await.unwrap();
        let refused = refused(&gate, 200, 5 * MS, 5 * MS, 100 * MS).await;
        assert_eq!(refused, 0, "{layer}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_quick_call_in_twenty_keeps_the_gate_open() {
    for (layer, gate) in gated(256, &sleeper()) {
        let mut quick = 0;
        for n in 0..2000 {
            if n % 20 == 0 {
                quick += refused(&gate, 1, Duration::ZERO, 5 * MS, 100 * MS).await;
            } else {
                tokio::spawn(gate.clone().oneshot(2 * SECOND));
                sleep(10 * MS).await;
            }
        }
        assert_eq!(quick, 0, "{layer}: of 100");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_spell_is_forgotten_at_once() {
    for (layer, gate) in gated(64, &sleeper()) {
        assert_eq!(refused(&gate, 1000, 5 * MS, 10 * MS, 50 * MS).await, 0, "{layer}");
        // Some calls have enough time to measure how slow the service is.
        let spell = [refused(&gate, 500, 5 * MS, 100 * MS, 50 * MS), refused(&gate, 500, 5 * MS, 100 * MS, SECOND)];
        let [hurried, patient] = spell;
        let (hurried, patient) = tokio::join!(hurried, patient);
        assert!(hurried > 300, "{layer}: {hurried} of 500 were refused");
        assert_eq!(patient, 0, "{layer}");
        let after = refused(&gate, 1000, 5 * MS, 10 * MS, 50 * MS).await;
        assert!(after < 30, "{layer}: {after} of 1000");
    }
}

/// Permits are scarce, and every fifth call is slow: quick calls wait, and are not refused for the time of slow calls.
#[tokio::test(start_paused = true)]
async fn quick_calls_beside_slow_ones_are_served() {
    for (layer, gate) in gated(4, &sleeper()) {
        let (mut slow, mut served, start) = (Vec::new(), 0, Instant::now());
        let mut quick = Vec::new();
        while start.elapsed() < 60 * SECOND {
            // Slow calls hold 2 of 4 permits all the time, and quick calls hold one more.
            slow.push(tokio::spawn(call(&gate, 400 * MS, 10 * SECOND)));
            for _ in 0..10 {
                quick.push(tokio::spawn(call(&gate, 20 * MS, 150 * MS)));
                sleep(20 * MS).await;
            }
        }
        let all = quick.len();
        for call in quick {
            served += usize::from(call.await.unwrap().is_ok());
        }
        assert!(served * 10 > all * 9, "{layer}: {served} of {all}");
        drop(slow);
    }
}

/// A call that takes a second cannot finish in a tenth of a second, however idle the service is: the estimate must
/// refuse it.
#[tokio::test(start_paused = true)]
async fn short_deadline_calls_are_refused_except_a_share() {
    for (layer, gate) in gated(64, &sleeper()) {
        assert_eq!(refused(&gate, 100, 100 * MS, SECOND, 5 * SECOND).await, 0);
        let patient = refused(&gate, 100, 100 * MS, SECOND, 5 * SECOND);
        let hurried = refused(&gate, 1000, 10 * MS, SECOND, 100 * MS);
        let (patient, hurried) = tokio::join!(patient, hurried);
        assert_eq!(patient, 0, "{layer}");
        assert!((800..950).contains(&hurried), "{layer}: {hurried} of 1000");
    }
}
