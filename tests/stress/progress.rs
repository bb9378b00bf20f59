//! Counters of what the callers have completed, and the watchdog that checks that they go on.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tower::BoxError;

use crate::clock::Clock;

/// How often the watchdog checks.
const TICK: Duration = Duration::from_millis(10);

// Bounds in the time of [`Clock`], which is slower on a busy machine.

/// The longest time in which no call of any kind completes.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such time in one setup: there are fewer calls, and sometimes all of them wait for a new connection.
const LONGEST_PAUSE_OF_SETUP: Duration = Duration::from_secs(3);
/// The longest such time for one kind of call in one setup, for a single call, and for a round of the operator.
const LONGEST_CALL: Duration = Duration::from_secs(8);

/// By which factor the whole run may exceed its planned duration, in real time.
const AT_LAST: Duration = Duration::from_secs(300);

const IDLE: u64 = u64::MAX;

/// How a call ended.
#[derive(Debug)]
pub(crate) enum End {
    /// As expected: the whole response was read, or the expected error came.
    Completed,
    /// The caller dropped it, or gave it too little time.
    GivenUp,
    /// A reset or a refusal.
    Failed,
    /// Not at all: a client without layers waited in vain, though its connection had ended.
    Lost,
}

/// Why a call failed; used only for debugging.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Failure(pub(crate) BoxError);

impl Failure {
    pub(crate) fn of(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

/// Calls of one kind in one setup.
#[derive(Debug)]
struct Lane {
    name: String,
    completed: AtomicU64,
    given_up: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

/// A task that makes one call after another.
#[derive(Debug)]
struct Caller {
    lane: AtomicUsize,
    /// When its present call began, or [`IDLE`].
    since: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Progress {
    /// Names the run and its seed in messages.
    title: String,
    /// The lanes of the first setup, then those of the second one, and so on.
    lanes: Vec<Lane>,
    kinds: usize,
    callers: Vec<Caller>,
    /// The time since the watchdog began, in microseconds of [`Clock`].
    now: AtomicU64,
    /// When the operator last completed a round.
    operator: AtomicU64,
    /// Increases every half second.
    turn: AtomicUsize,
    stopped: AtomicBool,
}

/// What a run did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) calls: u64,
    /// How many calls were [`End::Lost`].
    pub(crate) lost: u64,
    /// In real time.
    pub(crate) longest_pause: Duration,
}

impl Progress {
    pub(crate) fn new(title: String, lanes: Vec<String>, kinds: usize, callers: usize) -> Self {
        let lane = |name| {
            let [completed, given_up, failed, lost] = Default::default();
            Lane { name, completed, given_up, failed, lost }
        };
        let caller = |_| Caller { lane: AtomicUsize::new(0), since: AtomicU64::new(IDLE) };
        Self {
            title,
            kinds,
            lanes: lanes.into_iter().map(lane).collect(),
            callers: (0..callers).map(caller).collect(),
            now: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            operator: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Which setup most callers use.
    pub(crate) fn turn(&self) -> usize {
        self.turn.load(Relaxed)
    }

    pub(crate) fn begin(&self, caller: usize, lane: usize) {
        self.callers[caller].lane.store(lane, Relaxed);
        self.callers[caller].since.store(self.now.load(Relaxed), Relaxed);
    }

    pub(crate) fn end(&self, caller: usize, lane: usize, end: &End) {
        let lane = &self.lanes[lane];
        let counter = match end {
            End::Completed => &lane.completed,
            End::GivenUp => &lane.given_up,
            End::Failed => &lane.failed,
            End::Lost => &lane.lost,
        };
        counter.fetch_add(1, Relaxed);
        self.callers[caller].since.store(IDLE, Relaxed);
    }

    /// The operator has completed a round of reloads and scrapes.
    pub(crate) fn operated(&self) {
        self.operator.store(self.now.load(Relaxed), Relaxed);
    }

    /// Watches the callers for `run` and until each kind of call has occurred, tells them to stop, and watches until
    /// they have stopped.
    ///
    /// # Panics
    /// If anything hangs. The message says what.
    pub(crate) fn watch(&self, run: Duration) -> Done {
        let (begun, mut clock) = (Instant::now(), Clock::new());
        let (mut last, mut longest) = (begun, Duration::ZERO);
        let (mut all, mut all_since) = (0, 0);
        let mut lanes = vec![(0, 0); self.lanes.len()];
        loop {
            thread::sleep(TICK);
            let passed = clock.tick().as_micros() as u64;
            let now = self.now.fetch_add(passed, Relaxed) + passed;
            self.turn.store((begun.elapsed().as_millis() / 500) as usize, Relaxed);
            let completed: Vec<_> = self.lanes.iter().map(|lane| lane.completed.load(Relaxed)).collect();
            let sum = completed.iter().sum();
            if self.is_stopped() {
                if self.callers.iter().all(|caller| caller.since.load(Relaxed) == IDLE) {
                    let lost = self.lanes.iter().map(|lane| lane.lost.load(Relaxed)).sum();
                    return Done { calls: sum, lost, longest_pause: longest };
                }
            } else {
                longest = longest.max(last.elapsed());
                self.check(time(now - all_since) <= LONGEST_PAUSE, "no call completes");
                for (lane, ((seen, since), &completed)) in self.lanes.iter().zip(lanes.iter_mut().zip(&completed)) {
                    if *seen != completed {
                        (*seen, *since) = (completed, now);
                    }
                    self.check(time(now - *since) <= LONGEST_CALL, &format!("{}: no call completes", lane.name));
                }
                for (setup, lanes) in lanes.chunks(self.kinds).enumerate() {
                    let since = lanes.iter().map(|(_, since)| *since).max().unwrap_or(now);
                    let name = &self.lanes[setup * self.kinds].name;
                    self.check(
                        time(now - since) <= LONGEST_PAUSE_OF_SETUP,
                        &format!("no call completes, as with {name}"),
                    );
                }
                let operator = now - self.operator.load(Relaxed).min(now);
                self.check(time(operator) <= LONGEST_CALL, "the operator's reload, snapshot or scrape does not return");
                if sum != all {
                    (all, all_since, last) = (sum, now, Instant::now());
                }
                if begun.elapsed() >= run && completed.iter().all(|completed| *completed > 0) {
                    self.stop();
                }
            }
            self.check(
                begun.elapsed() < run + AT_LAST,
                "the run takes too long: the machine is too busy, or something spins",
            );
            for caller in &self.callers {
                let since = caller.since.load(Relaxed);
                if since != IDLE && time(now.saturating_sub(since)) > LONGEST_CALL {
                    let lane = &self.lanes[caller.lane.load(Relaxed)].name;
                    self.check(false, &format!("{lane}: a call never ends"));
                }
            }
        }
    }

    #[track_caller]
    fn check(&self, holds: bool, what: &str) {
        if !holds {
            // The other callers must end first.
            self.stop();
            panic!("{}: {what}\n{}", self.title, self.report());
        }
    }

    /// One line for each lane: how its calls ended, how many are in flight, and since when.
    pub(crate) fn report(&self) -> String {
        let now = self.now.load(Relaxed);
        let mut text = String::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            let name = &lane.name;
            let [completed, given_up, failed, lost] =
                [&lane.completed, &lane.given_up, &lane.failed, &lane.lost].map(|counter| counter.load(Relaxed));
            let under_way = self.callers.iter().filter(|caller| caller.lane.load(Relaxed) == index);
            let since: Vec<_> =
                under_way.map(|caller| caller.since.load(Relaxed)).filter(|since| *since != IDLE).collect();
            let _ = write!(text, "  {name}: {completed} completed, {given_up} given up, {failed} failed");
            if lost > 0 {
                let _ = write!(text, ", {lost} lost");
            }
            if let Some(oldest) = since.iter().min() {
                let _ = write!(text, ", {} in flight for up to {:?}", since.len(), time(now.saturating_sub(*oldest)));
            }
            text.push('\n');
        }
        text
    }
}

fn time(micros: u64) -> Duration {
    Duration::from_micros(micros)
}
