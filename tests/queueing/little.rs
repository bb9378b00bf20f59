//! Little's law, from a layer's own numbers: what is in flight and waiting on average is the rate times the mean time.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::Layer;
use tower::util::BoxCloneService;

use crate::gates::{MEAN, answers, calls, load_shed, server};
use crate::queueing::little;

#[tokio::test(start_paused = true)]
async fn layer_counts_as_many_calls_as_by_littles_law() {
    const COUNT: usize = 10_000;
    let layer = load_shed(4, 1000.0);
    let (handle, service) = (layer.handle(), BoxCloneService::new(layer.layer(server())));
    let calls = || calls(COUNT, 4, 0.8, |random| random.exponential(MEAN));
    let start = Instant::now();
    let work = tokio::spawn(answers(service, calls()));
    let (mut samples, mut in_flight, mut waiting) = (0, 0, 0);
    while !work.is_finished() {
        // An eleventh of a call: an error of each call's time, and none of the mean.
        sleep(Duration::from_millis(91)).await;
        samples += 1;
        in_flight += handle.in_flight();
        waiting += handle.waiting();
    }
    let rate = COUNT as f64 / start.elapsed().as_secs_f64();
    let waits = work.await.unwrap().into_iter().map(|wait| wait.unwrap().as_secs_f64());
    let mean_wait = waits.sum::<f64>() / COUNT as f64;
    let mean_time = calls().map(|call| call.takes).sum::<f64>() / 1e3 / COUNT as f64;
    for (name, counted, time) in [("in flight", in_flight, mean_time), ("waiting", waiting, mean_wait)] {
        let (counted, expected) = (counted as f64 / f64::from(samples), little(rate, time));
        assert!((counted / expected - 1.0).abs() < 0.01, "{name}: {counted}, by the law {expected}");
    }
}
