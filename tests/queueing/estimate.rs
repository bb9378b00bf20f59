//! What a gate knows of its calls: the time that they take, and when a refused one could be served.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::error::{Reason, rejection};
use seawall::registry::{Condition, Registry};
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};

use crate::fifo::BoundedFifo;
use crate::gates::{Call, MEAN, Request, answers, calls, load_shed, server};

const COUNT: usize = 10_000;

/// The mean over time of the estimated time of a call.
async fn mean_estimate(utilisation: f64) -> f64 {
    let registry = Registry::new();
    let layer = load_shed(4, 1000.0).named_in(&registry, "server").unwrap();
    let service = BoxCloneService::new(layer.layer(server()));
    let work = tokio::spawn(answers(service, calls(COUNT, 4, utilisation, |random| random.exponential(MEAN))));
    sleep(Duration::from_secs(100)).await;
    let (mut samples, mut sum) = (0, 0.0);
    while !work.is_finished() {
        sleep(Duration::from_secs(10)).await;
        let snapshot = registry.snapshot();
        let Condition::LoadShed(gate) = &snapshot.components[0].condition else { panic!("{snapshot:?}") };
        samples += 1;
        sum += gate.service_time.as_secs_f64() * 1e3;
    }
    sum / f64::from(samples)
}

/// The estimate counts a call only up to the time that one in thirty exceeds, which for exponential times is 3 % less.
#[tokio::test(start_paused = true)]
async fn estimate_is_the_mean_time_of_calls() {
    for utilisation in [0.5, 0.9] {
        let mean = mean_estimate(utilisation).await;
        assert!((0.93..1.02).contains(&(mean / MEAN)), "{utilisation}: {mean}");
    }
}

const QUEUE_RATIO: f64 = 4.5;

/// How many calls may wait.
fn places(permits: u32) -> u32 {
    (QUEUE_RATIO * f64::from(permits)) as u32
}

/// One and a half times what the permits can serve.
fn overload(permits: u32) -> impl Iterator<Item = Call> {
    calls(COUNT, permits, 1.5, |random| random.exponential(MEAN))
}

/// A call that is refused because the queue is full would have its turn after all calls of the queue.
struct Refused {
    at: Instant,
    retry_after: Duration,
    /// How many calls must end before.
    ends_before: usize,
}

/// At one and a half times the capacity, as many calls are refused as in theory, and a refusal says how long the queue takes.
#[tokio::test(start_paused = true)]
async fn refusals_predict_how_long_the_queue_takes() {
    for permits in [1, 4, 10] {
        let layer = load_shed(permits, QUEUE_RATIO);
        let (handle, shed) = (layer.handle(), BoxCloneService::new(layer.layer(server())));
        let ends = Arc::new(Mutex::new(Vec::new()));
        let refused = Arc::new(Mutex::new(Vec::new()));
        let service = service_fn({
            let (ends, refused) = (Arc::clone(&ends), Arc::clone(&refused));
            move |request: Request| {
                let (ends, refused, handle, shed) = (ends.clone(), refused.clone(), handle.clone(), shed.clone());
                async move {
                    let answer = shed.oneshot(request).await;
                    let mut ends = ends.lock().unwrap();
                    match &answer {
                        Ok(_) => ends.push(Instant::now()),
                        Err(error) => {
                            let rejected = rejection(error).unwrap();
                            assert_eq!(rejected.reason(), Reason::QueueFull);
                            let retry_after = rejected.retry_after().unwrap();
                            let ends_before = ends.len() + handle.waiting() + 1;
                            refused.lock().unwrap().push(Refused { at: Instant::now(), retry_after, ends_before });
                        }
                    }
                    answer
                }
            }
        });
        answers(BoxCloneService::new(service), overload(permits)).await;
        let (ends, refused) = (ends.lock().unwrap(), refused.lock().unwrap());
        let (mut predicted, mut measured) = (Duration::ZERO, Duration::ZERO);
        // The calls at the end leave before it can be seen how long they would have waited.
        for refused in refused.iter().filter(|refused| refused.ends_before <= ends.len()) {
            predicted += refused.retry_after;
            measured += ends[refused.ends_before - 1] - refused.at;
        }
        let mut fifo = BoundedFifo::new(permits, places(permits));
        let expected = overload(permits).filter(|call| !fifo.admits(call.at, call.takes)).count();
        // Calls that come in the millisecond in which another one ends may come before or after it.
        assert!(refused.len().abs_diff(expected) <= COUNT / 100, "{} refused, {expected} in theory", refused.len());
        let share = predicted.as_secs_f64() / measured.as_secs_f64();
        assert!((0.95..1.05).contains(&share), "{permits} permits: predicted {share} of the measured wait");
    }
}
