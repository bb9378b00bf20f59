//! Compares the machine with a naive model.

use proptest::prelude::*;

use super::*;
use crate::algorithm::evidence::Evidence;

/// The model keeps all probes of the phase and all ends in order, and counts everything again each time.
#[derive(Debug, Default)]
struct Model {
    phase: Naive,
    breaks: u32,
}

#[derive(Debug, Default)]
enum Naive {
    #[default]
    Closed,
    Open {
        since: Instant,
        until: Instant,
    },
    HalfOpen {
        probes: Vec<NaiveProbe>,
        /// Of all ended probes, in order.
        ends: Vec<Evidence>,
    },
}

#[derive(Debug)]
struct NaiveProbe {
    probe: Probe,
    stage: ProbeStage,
    admitted: Instant,
    first_sent: Option<Instant>,
    lost_its_slot: bool,
    is_overdue: bool,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
enum ProbeStage {
    Idle,
    Sent(Instant),
    Head(Instant, Evidence),
}

impl Model {
    fn state(&self) -> State {
        match self.phase {
            Naive::Closed => State::Closed,
            Naive::Open { .. } => State::Open,
            Naive::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn pause(&self) -> Duration {
        [1, 1, 1, 2, 4, 8, 16, 30][(self.breaks as usize).saturating_sub(1).min(7)] * SECOND
    }

    fn open(&mut self, now: Instant) {
        let has_good_answer = match &self.phase {
            Naive::HalfOpen { ends, .. } => ends.iter().any(|end| is_good(*end)),
            _ => false,
        };
        self.breaks = if has_good_answer { 1 } else { self.breaks + 1 };
        self.phase = Naive::Open { since: now, until: now + self.pause() };
    }

    /// Called before a call is admitted; returns whether a slot for a probe is free.
    fn admits_probe(&mut self, may_probe: bool, refused_enough: bool, now: Instant) -> bool {
        let pause = self.pause();
        match &mut self.phase {
            Naive::Open { since, until } => {
                let over = *until <= now || refused_enough && *since + SECOND <= now;
                if may_probe && over {
                    self.phase = Naive::HalfOpen { probes: Vec::new(), ends: Vec::new() };
                }
            }
            Naive::HalfOpen { probes, ends } => {
                for probe in probes.iter_mut().filter(|probe| !probe.is_over) {
                    let end = match probe.stage {
                        ProbeStage::Head(since, says) => (now.since(since) >= SECOND).then_some(says),
                        ProbeStage::Sent(since) => (now.since(since) >= pause).then_some(Evidence::TimedOut),
                        ProbeStage::Idle => None,
                    };
                    if let Some(end) = end {
                        probe.is_over = true;
                        ends.push(end);
                    }
                    if !matches!(probe.stage, ProbeStage::Head(..)) {
                        let since = probe.first_sent.unwrap_or(probe.admitted);
                        probe.lost_its_slot |= now.since(since) >= SECOND;
                    }
                    if let ProbeStage::Sent(since) = probe.stage {
                        probe.is_overdue = now.since(since) >= SECOND;
                    }
                }
                self.judge(now);
            }
            Naive::Closed => {}
        }
        let Naive::HalfOpen { probes, ends } = &self.phase else { return false };
        let in_slots = probes.iter().filter(|probe| !probe.is_over && !probe.lost_its_slot).count();
        let good = ends.iter().filter(|end| is_good(**end)).count();
        let answered = ends.iter().filter(|end| is_answer(**end)).count();
        let lost = answered + unanswered(ends) + slow_in_flight(probes);
        let free = if good == 0 { 3_usize.saturating_sub(lost) } else { 15 - answered };
        may_probe && in_slots < 1 + good && in_slots < free
    }

    fn set_stage(&mut self, probe: Probe, stage: ProbeStage) {
        if let Naive::HalfOpen { probes, .. } = &mut self.phase {
            for known in probes.iter_mut().filter(|known| known.probe == probe) {
                match (known.stage, stage) {
                    (ProbeStage::Head(..), ProbeStage::Idle | ProbeStage::Sent(_))
                    | (ProbeStage::Sent(_), ProbeStage::Sent(_)) => continue,
                    (_, ProbeStage::Sent(now)) => known.first_sent = known.first_sent.or(Some(now)),
                    _ => {}
                }
                known.stage = stage;
                known.is_overdue = false;
            }
        }
    }

    fn record(&mut self, probe: Probe, end: Evidence, now: Instant) {
        if let Naive::HalfOpen { probes, ends } = &mut self.phase {
            if let Some(probe) = probes.iter_mut().find(|known| known.probe == probe && !known.is_over) {
                probe.is_over = true;
                ends.push(end);
                self.judge(now);
            }
        }
    }

    fn judge(&mut self, now: Instant) {
        let Naive::HalfOpen { probes, ends } = &self.phase else { return };
        let count = |wanted: fn(Evidence) -> bool| ends.iter().filter(|end| wanted(**end)).count();
        let failures = count(|end| matches!(end, Evidence::Bad(_) | Evidence::TimedOut | Evidence::GivenUpLate));
        let slow = count(|end| matches!(end, Evidence::TimedOut | Evidence::GivenUpLate) || end == SLOW);
        let (answers, good) = (count(is_answer), count(is_good));
        let slow = slow + if good == 0 { 0 } else { slow_in_flight(probes) };
        let lost = good == 0 && answers + unanswered(ends) >= 3;
        if lost || unanswered(ends) >= 10 || 2 * failures >= 15 || 10 * slow >= 8 * 15 {
            self.open(now);
        } else if answers >= 15 {
            *self = Self::default();
        }
    }
}

const SLOW: Evidence = Evidence::Good(SECOND);

fn is_good(end: Evidence) -> bool {
    matches!(end, QUICK | Evidence::Alive)
}

fn is_answer(end: Evidence) -> bool {
    !matches!(end, Evidence::Nothing | Evidence::Unanswered | Evidence::Unsent)
}

fn slow_in_flight(probes: &[NaiveProbe]) -> usize {
    probes.iter().filter(|probe| !probe.is_over && probe.is_overdue).count()
}

/// The probes without an answer since the last answer.
fn unanswered(ends: &[Evidence]) -> usize {
    let since = ends.iter().rev().take_while(|end| !is_answer(**end));
    since.filter(|end| **end != Evidence::Nothing).count()
}

#[derive(Clone, Debug)]
enum Step {
    Admit { may_probe: bool, refused_enough: bool },
    Sent(prop::sample::Index, bool),
    Head(prop::sample::Index, Evidence),
    Settle(prop::sample::Index, Evidence),
    Advance(u64),
    Trip,
    TripLate,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || {
        prop_oneof![
            30 => Just(QUICK),
            4 => Just(FAILED),
            1 => Just(SLOW),
            1 => Just(Evidence::Alive),
            1 => Just(Evidence::GivenUpLate),
            2 => Just(Evidence::Unsent),
            2 => Just(Evidence::Unanswered),
            3 => Just(Evidence::Nothing),
        ]
    };
    let which = any::<prop::sample::Index>;
    let step = prop_oneof![
        20 => Just(Step::Admit { may_probe: true, refused_enough: false }),
        2 => any::<(bool, bool)>().prop_map(|(may_probe, refused_enough)| Step::Admit { may_probe, refused_enough }),
        5 => (which(), any::<bool>()).prop_map(|(which, sent)| Step::Sent(which, sent)),
        5 => (which(), end()).prop_map(|(which, says)| Step::Head(which, says)),
        20 => (which(), end()).prop_map(|(which, end)| Step::Settle(which, end)),
        4 => (0..300u64).prop_map(Step::Advance),
        2 => (0..3000u64).prop_map(Step::Advance),
        2 => Just(Step::Trip),
        1 => Just(Step::TripLate),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 1..300)
}

fn recent(probes: &[Probe], which: prop::sample::Index) -> Option<Probe> {
    let last = &probes[probes.len().saturating_sub(12)..];
    (!last.is_empty()).then(|| last[which.index(last.len())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// For any events in any order, stale or repeated, states and numbers of probes equal those of the model.
    #[test]
    fn machine_matches_a_naive_model(steps in steps()) {
        let (mut rig, mut model) = (Rig::new(policy()), Model::default());
        // Probes stay in the list after their record, and may be recorded again, which must change nothing.
        let mut probes: Vec<Probe> = Vec::new();
        rig.trip();
        model.open(rig.now);
        for step in steps {
            match step {
                Step::Admit { may_probe, refused_enough } => {
                    let expected = model.admits_probe(may_probe, refused_enough, rig.now);
                    let admission = rig.step(|machine, moment| machine.admit(may_probe, refused_enough, moment).0);
                    prop_assert_eq!(matches!(admission, Admission::Probe(_)), expected, "{:?} {:?}", admission, model);
                    prop_assert_eq!(matches!(admission, Admission::Closed(_)), model.state() == State::Closed);
                    if let (Admission::Probe(probe), Naive::HalfOpen { probes: known, .. }) = (admission, &mut model.phase) {
                        prop_assert!(!probes.contains(&probe), "a probe of its own");
                        known.push(NaiveProbe {
                            probe,
                            stage: ProbeStage::Idle,
                            admitted: rig.now,
                            first_sent: None,
                            lost_its_slot: false,
                            is_overdue: false,
                            is_over: false,
                        });
                        probes.push(probe);
                    }
                }
                Step::Sent(which, sent) => {
                    if let Some(probe) = recent(&probes, which) {
                        model.set_stage(probe, if sent { ProbeStage::Sent(rig.now) } else { ProbeStage::Idle });
                        rig.machine.set_sent(probe, sent, rig.now);
                    }
                }
                Step::Head(which, says) => {
                    if let Some(probe) = recent(&probes, which) {
                        model.set_stage(probe, ProbeStage::Head(rig.now, says));
                        rig.machine.set_head(probe, says, rig.now);
                    }
                }
                Step::Settle(which, end) => {
                    if let Some(probe) = recent(&probes, which) {
                        model.record(probe, end, rig.now);
                        rig.record(probe, end);
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
                    let before = rig.machine.generation().wrapping_sub(1);
                    let _ = rig.step(|machine, moment| machine.trip(before, TRIP, moment));
                }
                Step::Reset => {
                    model = Model::default();
                    let _ = rig.machine.reset(rig.now);
                }
            }
            prop_assert_eq!(rig.machine.state(), model.state());
        }
    }
}
