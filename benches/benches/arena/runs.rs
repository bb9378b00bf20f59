//! All runs, on as many threads as there are processors, and what is wrong with their results.

#![allow(clippy::disallowed_methods, reason = "how long the runs took is real time")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::options::Options;
use crate::scenarios::{Outcome, Setting};
use crate::score;
use crate::server::lock;

/// The outcomes of all runs.
pub(crate) struct Results {
    pub(crate) scenarios: Vec<(&'static str, &'static str)>,
    pub(crate) contestants: Vec<&'static str>,
    /// What a reader has to know of a contestant.
    pub(crate) notes: Vec<(&'static str, &'static str)>,
    /// How long the runs of each scenario took, in seconds of one thread.
    pub(crate) times: Vec<f64>,
    /// By scenario, contestant and seed.
    outcomes: Vec<Vec<Vec<Outcome>>>,
}

impl Results {
    pub(crate) fn outcomes(&self, scenario: usize, contestant: usize) -> &[Outcome] {
        &self.outcomes[scenario][contestant]
    }

    pub(crate) fn scores(&self, scenario: usize, contestant: usize) -> Vec<f64> {
        self.outcomes(scenario, contestant).iter().map(|outcome| outcome.score).collect()
    }

    /// The median over the seeds.
    pub(crate) fn score(&self, scenario: usize, contestant: usize) -> f64 {
        score::of_scores(&self.scores(scenario, contestant), 0.5)
    }

    /// The one number of a contestant.
    pub(crate) fn total(&self, contestant: usize) -> f64 {
        100.0 * score::geometric((0..self.scenarios.len()).map(|scenario| self.score(scenario, contestant)))
    }
}

/// Runs all scenarios with all contestants and all seeds.
pub(crate) fn run(options: &Options) -> Results {
    let (scenarios, contestants, seeds) = (options.scenarios.len(), options.contestants.len(), options.seeds as usize);
    let jobs = scenarios * contestants * seeds;
    let bar = ProgressBar::new(jobs as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} [{elapsed}]") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let times = Mutex::new(vec![0.0; scenarios]);
    let work = || {
        loop {
            let job = next.fetch_add(1, Relaxed);
            if job >= jobs {
                return;
            }
            let scenario = options.scenarios[job / (contestants * seeds)];
            let contestant = &*options.contestants[job / seeds % contestants];
            let setting = Setting {
                contestant,
                seed: (job % seeds) as u64 + 1,
                clients: options.clients,
                stretch: options.stretch,
                is_quick: options.is_quick,
            };
            bar.set_message(format!("{} {}", scenario.name, contestant.name()));
            let start = Instant::now();
            let outcome = (scenario.run)(&setting);
            lock(&times)[job / (contestants * seeds)] += start.elapsed().as_secs_f64();
            lock(&done).push((job, outcome));
            bar.inc(1);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    bar.finish_and_clear();
    let mut done = std::mem::take(&mut *lock(&done));
    done.sort_unstable_by_key(|(job, _)| *job);
    let mut outcomes = done.into_iter().map(|(_, outcome)| outcome);
    let mut of_contestant = || outcomes.by_ref().take(seeds).collect();
    Results {
        scenarios: options.scenarios.iter().map(|scenario| (scenario.name, scenario.title)).collect(),
        contestants: options.contestants.iter().map(|contestant| contestant.name()).collect(),
        notes: options
            .contestants
            .iter()
            .filter_map(|contestant| Some((contestant.name(), contestant.note()?)))
            .collect(),
        times: times.into_inner().unwrap_or_default(),
        outcomes: (0..scenarios).map(|_| (0..contestants).map(|_| of_contestant()).collect()).collect(),
    }
}

/// What is wrong: where the model and the arena differ, and what must hold in a quick run and does not.
pub(crate) fn faults(results: &Results, options: &Options) -> Vec<String> {
    let mut faults = Vec::new();
    for (scenario, (name, _)) in results.scenarios.iter().enumerate() {
        for (contestant, label) in results.contestants.iter().enumerate() {
            let checks = results.outcomes(scenario, contestant).iter().flat_map(|outcome| &outcome.checks);
            for (what, arena, model) in checks {
                if (arena - model).abs() > 0.02 * model.abs().max(1.0) {
                    faults.push(format!("{name}, {label}, {what}: {arena} in the arena, {model} by the model"));
                }
            }
            let least = match (*name, *label) {
                ("E0", "seawall_default") => 0.99,
                ("E1", "seawall_default" | "seawall_tuned") => 0.5,
                _ => continue,
            };
            let score = results.score(scenario, contestant);
            if options.is_quick && score <= least {
                faults.push(format!("{name}, {label}: {score:.3}, but it must be above {least}"));
            }
        }
    }
    faults
}
