//! Each call waits at a gate exactly as long as in the simulation.

use crate::fifo::{Fifo, Random};
use crate::gates::{Call, MEAN, answers, calls, gated};

async fn assert_waits(servers: u32, utilisation: f64, takes: impl Fn(&mut Random) -> f64 + Copy) {
    let calls = || calls(4000, servers, utilisation, takes);
    let mut fifo = Fifo::new(servers);
    let expected: Vec<f64> = calls().map(|Call { at, takes }| fifo.wait(at, takes)).collect();
    assert!(expected.iter().sum::<f64>() > 0.0, "{servers} servers at {utilisation}: no call waits");
    for (name, service) in gated(servers) {
        let waits = answers(service, calls()).await;
        for (call, (wait, expected)) in waits.into_iter().zip(&expected).enumerate() {
            let wait = wait.unwrap().as_secs_f64() * 1e3;
            let off = (wait - expected).abs();
            assert!(off < 1.0, "{name}, {servers} servers at {utilisation}: call {call} waited {wait}, not {expected}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_at_a_gate_as_in_theory() {
    for servers in [1, 4, 10] {
        for utilisation in [0.5, 0.7, 0.8, 0.9] {
            assert_waits(servers, utilisation, |random| random.exponential(MEAN)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unlike_calls_wait_at_a_gate_as_in_theory() {
    for utilisation in [0.5, 0.7] {
        assert_waits(1, utilisation, |random| random.two_kinds(MEAN)).await;
    }
}
