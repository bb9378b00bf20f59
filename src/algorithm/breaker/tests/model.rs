//! The machine against a naive model of it.

use proptest::prelude::*;

use super::*;
use crate::algorithm::evidence::Evidence;

/// The naive model: all probes ever, each with what became of it; everything is counted anew each time.
#[derive(Debug, Default)]
struct Model {
    phase: Naive,
    breaks: u32,
}

#[derive(Debug, Default)]
enum Naive {
    #[default]
    Closed,
    Open(Instant),
    HalfOpen {
        round: u32,
        probes: Vec<NaiveProbe>,
    },
}

#[derive(Debug)]
struct NaiveProbe {
    probe: Probe,
    since: Instant,
    end: Option<Evidence>,
}

impl Model {
    fn state(&self) -> State {
        match self.phase {
            Naive::Closed => State::Closed,
            Naive::Open(_) => State::Open,
            Naive::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn pause(&self) -> Duration {
        [1, 1, 1, 2, 4, 8, 16, 30][(self.breaks as usize).saturating_sub(1).min(7)] * SECOND
    }

    fn open(&mut self, now: Instant) {
        self.breaks += 1;
        self.phase = Naive::Open(now + self.pause());
    }

    /// Before a call is admitted; says whether there is a place for a probe.
    fn admits_probe(&mut self, now: Instant) -> bool {
        let pause = self.pause();
        match &mut self.phase {
            Naive::Open(until) if *until <= now => {
                self.phase = Naive::HalfOpen { round: 1, probes: Vec::new() };
            }
            Naive::HalfOpen { round, probes } => {
                for probe in probes.iter_mut().filter(|probe| probe.end.is_none() && now.since(probe.since) >= pause) {
                    probe.end = Some(Evidence::TimedOut);
                }
                let is_slow = |probe: &&NaiveProbe| match probe.end {
                    None => now.since(probe.since) >= SECOND,
                    Some(end) => matches!(end, Evidence::TimedOut | Evidence::GivenUpLate),
                };
                if 10 * probes.iter().filter(is_slow).count() >= 8 << (*round - 1) {
                    self.open(now);
                } else {
                    self.judge(now);
                }
            }
            _ => {}
        }
        match &self.phase {
            Naive::HalfOpen { round, probes } => {
                let places = probes.iter().filter(|probe| probe.end != Some(Evidence::Nothing)).count();
                places < 1 << (round - 1)
            }
            _ => false,
        }
    }

    fn settle(&mut self, probe: Probe, end: Evidence, now: Instant) {
        if let Naive::HalfOpen { probes, .. } = &mut self.phase {
            if let Some(probe) = probes.iter_mut().find(|known| known.probe == probe && known.end.is_none()) {
                probe.end = Some(end);
                self.judge(now);
            }
        }
    }

    fn judge(&mut self, now: Instant) {
        let Naive::HalfOpen { round, probes } = &mut self.phase else { return };
        let size = 1 << (*round - 1);
        let count = |wanted: fn(Evidence) -> bool| {
            probes.iter().filter_map(|probe| probe.end).filter(|end| wanted(*end)).count()
        };
        let failures = count(|end| matches!(end, Evidence::Bad(_) | Evidence::TimedOut | Evidence::GivenUpLate));
        let answers = count(|end| end != Evidence::Nothing);
        if 2 * failures >= size {
            self.open(now);
        } else if answers == size {
            if *round == 4 {
                *self = Self::default();
            } else {
                *round += 1;
                probes.clear();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Settle(prop::sample::Index, Evidence),
    Advance(u64),
    Trip,
    TripLate,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        30 => Just(QUICK),
        1 => Just(FAILED),
        1 => Just(Evidence::GivenUpLate),
        3 => Just(Evidence::Nothing),
    ];
    let step = prop_oneof![
        20 => Just(Step::Admit),
        20 => (any::<prop::sample::Index>(), end).prop_map(|(which, end)| Step::Settle(which, end)),
        4 => (0..300u64).prop_map(Step::Advance),
        2 => (0..3000u64).prop_map(Step::Advance),
        2 => Just(Step::Trip),
        1 => Just(Step::TripLate),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes in whatever order, late or twice: the states and the number of probes are those of the model.
    #[test]
    fn never_more_probes_than_allowed(steps in steps()) {
        let (mut rig, mut model) = (Rig::new(policy()), Model::default());
        // Probes stay in the list when they are settled, and may be settled again, which must change nothing.
        let mut probes: Vec<Probe> = Vec::new();
        rig.trip();
        model.open(rig.now);
        for step in steps {
            match step {
                Step::Admit => {
                    let expected = model.admits_probe(rig.now);
                    let admission = rig.admit();
                    prop_assert_eq!(matches!(admission, Admission::Probe(_)), expected, "{:?} {:?}", admission, model);
                    prop_assert_eq!(admission == Admission::Closed, model.state() == State::Closed);
                    if let (Admission::Probe(probe), Naive::HalfOpen { probes: known, .. }) = (admission, &mut model.phase) {
                        prop_assert!(!probes.contains(&probe), "a probe of its own");
                        known.push(NaiveProbe { probe, since: rig.now, end: None });
                        probes.push(probe);
                    }
                }
                Step::Settle(which, end) => {
                    if !probes.is_empty() {
                        let probe = probes[which.index(probes.len().min(12)) + probes.len().saturating_sub(12)];
                        model.settle(probe, end, rig.now);
                        rig.settle(probe, end);
                    }
                }
                Step::Advance(millis) => rig.now = rig.now + Duration::from_millis(millis),
                Step::Trip => {
                    if model.state() == State::Closed {
                        model.open(rig.now);
                    }
                    rig.trip();
                }
                Step::TripLate => {
                    let _ = rig.machine.trip(rig.machine.generation().wrapping_sub(1), &rig.policy, rig.now, 0.0);
                }
                Step::Reset => {
                    model = Model::default();
                    let _ = rig.machine.reset();
                }
            }
            prop_assert_eq!(rig.machine.state(), model.state());
        }
    }
}
