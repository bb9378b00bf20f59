//! A learned delay while calls end without a success: their latencies are known only to be longer than the calls had.

use seawall::deadline::DeadlineLayer;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::*;

/// The dependency during a phase: the least and the greatest latency of its answers, and the share that is never answered.
#[derive(Clone, Copy, Debug)]
struct Phase {
    millis: [u64; 2],
    hanging: f64,
}

const USUAL: Phase = Phase { millis: [5, 15], hanging: 0.0 };
const TEN_TIMES: Phase = Phase { millis: [50, 150], hanging: 0.0 };

/// What a phase comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outcome {
    hedges: usize,
    successes: usize,
    delay: Option<Duration>,
}

/// A hundred calls a second with this deadline.
struct Load {
    layer: HedgeLayer,
    deadline: Duration,
    /// Whether the deadline is that of each attempt.
    timeout_inside: bool,
    phase: Arc<Mutex<(Phase, fastrand::Rng)>>,
    log: Log,
}

impl Load {
    fn new(deadline: Duration) -> Self {
        let phase = Arc::new(Mutex::new((USUAL, fastrand::Rng::with_seed(3))));
        // A fifth of the calls may be hedged.
        let budget = BudgetConfig { ratio: 0.2, reserve_per_second: 1.0, ..BudgetConfig::default() };
        let layer = layer(HedgeConfig { budget, ..HedgeConfig::default() });
        Self { layer, deadline, timeout_inside: false, phase, log: Log::default() }
    }

    async fn run(&self, phase: Phase, seconds: usize) -> Outcome {
        self.phase.lock().unwrap().0 = phase;
        self.log.started.lock().unwrap().clear();
        let phase = Arc::clone(&self.phase);
        let callee = callee(&self.log, move |attempt| {
            let (Phase { millis: [least, most], hanging }, rng) = &mut *phase.lock().unwrap();
            let takes = if rng.f64() < *hanging { SECOND * 3600 } else { millis(rng.u64(*least..=*most)) };
            async move {
                sleep(takes).await;
                Ok(attempt)
            }
        });
        let deadline = DeadlineLayer::new(self.deadline).unwrap();
        let service = match self.timeout_inside {
            true => BoxCloneSyncService::new(self.layer.layer(deadline.layer(callee))),
            false => BoxCloneSyncService::new(deadline.layer(self.layer.layer(callee))),
        };
        let (mut calls, mut successes) = (JoinSet::new(), 0);
        for _ in 0..seconds * 100 {
            calls.spawn(service.clone().oneshot(()));
            sleep(millis(10)).await;
            while let Some(done) = calls.try_join_next() {
                successes += usize::from(done.unwrap().is_ok());
            }
        }
        for done in calls.join_all().await {
            successes += usize::from(done.is_ok());
        }
        let hedges = self.log.attempts().into_iter().filter(|attempt| *attempt > 1).count();
        Outcome { hedges, successes, delay: self.layer.delay() }
    }
}

/// The slowdown lasts, and the calls have time: they are samples.
#[tokio::test(start_paused = true)]
async fn lasting_slowness_is_learned_from_successes() {
    let load = Load::new(SECOND);
    load.run(USUAL, 60).await;
    load.run(TEN_TIMES, 90).await;
    let Outcome { hedges, successes, delay } = load.run(TEN_TIMES, 30).await;
    assert_eq!((hedges, successes), (0, 3000));
    // No hedge has won, so the next one would wait for twice the quantile.
    assert!((280..330).contains(&delay.unwrap().as_millis()), "{delay:?}");
}

/// The deadline cuts half of the calls, so no success is slower than it. The quantile of the successes would lie just below it, and a
/// hedge for each call that is cut would start just before its end.
#[tokio::test(start_paused = true)]
async fn slowness_that_cuts_half_of_the_calls_ends_hedges() {
    let load = Load::new(millis(100));
    load.run(USUAL, 60).await;
    let first = load.run(TEN_TIMES, 30).await;
    assert!(first.hedges < 650, "{first:?}");
    let then = load.run(TEN_TIMES, 60).await;
    assert!(then.hedges < 60 && then.successes > 2900, "{then:?}");
    assert!(then.delay >= Some(millis(100)), "{then:?}");
}

/// The deadline cuts all calls. Without a sample, the delay would stay at what was usual, and a fifth of the calls would be hedged for
/// as long as old samples count.
#[tokio::test(start_paused = true)]
async fn slowness_that_cuts_all_calls_ends_hedges() {
    let load = Load::new(millis(50));
    load.run(USUAL, 60).await;
    let slow = Phase { millis: [51, 150], ..TEN_TIMES };
    let first = load.run(slow, 30).await;
    assert!(first.hedges < 300, "{first:?}");
    assert_eq!(load.run(slow, 120).await, Outcome { hedges: 0, successes: 0, delay: first.delay });
    let after = load.run(USUAL, 60).await;
    assert_eq!((after.hedges, after.successes), (0, 6000));
    assert!(after.delay < Some(millis(17)), "it is learned again: {after:?}");
}

/// The same with a timeout for each attempt.
#[tokio::test(start_paused = true)]
async fn timeouts_of_attempts_end_hedges_of_slow_ones() {
    let load = Load { timeout_inside: true, ..Load::new(millis(50)) };
    load.run(USUAL, 60).await;
    let slow = load.run(Phase { millis: [51, 150], ..TEN_TIMES }, 60).await;
    assert!(slow.successes == 0 && slow.delay >= Some(millis(50)), "{slow:?}");
}

/// One instance of three never answers, and the budget pays for a hedge of two in three of its calls: the others are cut. Hedges win, so
/// calls that are cut do not stop them.
#[tokio::test(start_paused = true)]
async fn partial_outage_is_hedged_all_the_time() {
    let load = Load::new(SECOND);
    load.run(USUAL, 60).await;
    for _ in 0..4 {
        let outcome = load.run(Phase { hanging: 0.333, ..USUAL }, 60).await;
        assert!(outcome.hedges > 1200 && outcome.successes > 4700, "{outcome:?}");
        assert!(outcome.delay < Some(millis(150)), "{outcome:?}");
    }
}
