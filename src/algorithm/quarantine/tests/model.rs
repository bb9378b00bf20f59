//! Properties, and a naive model of fingerprints that explain nothing of each other.

use std::collections::VecDeque;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A call is sent, if that is allowed.
    Send {
        fingerprint: u64,
    },
    /// The oldest call in flight is over: lost at an endpoint, successful, or neither.
    Lost {
        endpoint: u64,
    },
    Succeeds,
    Ends,
    Passes(u64),
}

fn event(endpoints: u64) -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..4u64).prop_map(|fingerprint| Event::Send { fingerprint }),
        4 => (0..endpoints).prop_map(|endpoint| Event::Lost { endpoint }),
        1 => Just(Event::Succeeds),
        1 => Just(Event::Ends),
        2 => prop_oneof![1..100u64, 900..1100u64, 29_000..31_000u64, 59_000..61_000u64].prop_map(Event::Passes),
    ]
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    fingerprint: u64,
    sent: Instant,
    turn: Option<Turn>,
}

/// The whole history of one fingerprint since its last success.
#[derive(Default)]
struct Naive {
    losses: Vec<Loss>,
    turn: Option<(Turn, Instant)>,
}

impl Naive {
    /// The losses that count at `now`, and the end of the quarantine.
    fn judged(&self, now: Instant) -> (Vec<Loss>, Option<Instant>) {
        let (mut counted, mut until, mut duration) = (Vec::<Loss>::new(), None::<Instant>, FIRST);
        for loss in &self.losses {
            Self::lapse(&mut counted, &mut until, loss.at);
            let in_time = |last: &Loss| until.is_some() || loss.at < last.at + limits().window;
            let is_first = !counted.iter().any(in_time);
            let is_later = counted.last().is_some_and(|last| last.at <= loss.sent);
            if is_first || is_later && until.is_none_or(|until| until <= loss.sent) {
                counted.retain(|last| in_time(last) && last.endpoint != loss.endpoint);
                counted.push(*loss);
                if until.is_some() || counted.len() >= 2 {
                    duration = if until.is_some() { limits().duration.min(2 * duration) } else { FIRST };
                    until = Some(loss.at + duration);
                }
                if counted.len() > 2 {
                    counted.remove(0);
                }
            }
        }
        Self::lapse(&mut counted, &mut until, now);
        (counted, until)
    }

    fn lapse(counted: &mut Vec<Loss>, until: &mut Option<Instant>, now: Instant) {
        let last = counted.iter().map(|loss| loss.at).chain(*until).max();
        if last.is_some_and(|last| last + limits().window <= now) {
            counted.clear();
            *until = None;
        }
    }

    fn admits(&self, now: Instant) -> &'static str {
        let (counted, until) = self.judged(now);
        match () {
            () if counted.is_empty() => "free",
            () if until.is_some_and(|until| now < until) => "refused",
            () if self.turn.is_some_and(|(_, until)| now < until) => "wait",
            () => "turn",
        }
    }
}

fn word(admission: QuarantineAdmission) -> &'static str {
    match admission {
        QuarantineAdmission::Free => "free",
        QuarantineAdmission::Turn(_) => "turn",
        QuarantineAdmission::Wait(_) => "wait",
        QuarantineAdmission::Refused(_) => "refused",
    }
}

proptest! {
    /// Each fingerprint has endpoints of its own, so that nothing is explained.
    #[test]
    fn fingerprints_apart_are_as_in_the_model(events in vec(event(3), 1..60)) {
        let (mut suspects, mut now) = (Suspects::default(), START);
        let mut naive: BTreeMap<u64, Naive> = BTreeMap::new();
        let mut flight: VecDeque<InFlight> = VecDeque::new();
        for event in events {
            match event {
                Event::Passes(ms) => now = now + Duration::from_millis(ms),
                Event::Send { fingerprint } => {
                    let own = naive.entry(fingerprint).or_default();
                    let expected = own.admits(now);
                    let admission = suspects.admit(fingerprint, true, &limits(), now);
                    prop_assert_eq!(word(admission), expected);
                    let turn = if let QuarantineAdmission::Turn(turn) = admission { Some(turn) } else { None };
                    own.turn = turn.map(|turn| (turn, now + limits().turn)).or(own.turn);
                    if expected == "free" || turn.is_some() {
                        flight.push_back(InFlight { fingerprint, sent: now, turn });
                    }
                }
                Event::Lost { .. } | Event::Succeeds | Event::Ends => {
                    let Some(InFlight { fingerprint, sent, turn }) = flight.pop_front() else { continue };
                    let own = naive.entry(fingerprint).or_default();
                    if let Event::Lost { endpoint } = event {
                        let endpoint = at(10 * fingerprint + endpoint);
                        let loss = Loss { fingerprint, endpoint, sent, at: now };
                        if own.judged(now).0.is_empty() {
                            // It is forgotten, with its turn.
                            *own = Naive::default();
                        }
                        let before = own.judged(now).1;
                        own.losses.push(loss);
                        let changes = suspects.lost(loss, None, &limits());
                        prop_assert!(changes.withdrawn.is_empty());
                        let after = own.judged(now).1;
                        prop_assert_eq!(changes.quarantined.map(|left| now + left).or(before), after);
                    } else if matches!(event, Event::Succeeds) {
                        let (counted, until) = own.judged(now);
                        if until.is_none() || counted.last().is_none_or(|last| last.at <= sent) {
                            *own = Naive::default();
                        }
                        suspects.cleared(fingerprint, sent);
                    }
                    if let Some(turn) = turn {
                        own.turn = own.turn.filter(|(current, _)| *current != turn);
                        suspects.pass_on(fingerprint, turn, now);
                    }
                }
            }
        }
    }

    /// Whatever happens: memory is bounded, the bits are those of the suspects, and a quarantine has losses on two endpoints, of
    /// calls one after the other, since the last success.
    #[test]
    fn quarantine_has_its_evidence(events in vec((event(4), 1..12u64), 1..120)) {
        let (mut suspects, mut now) = (Suspects::default(), START);
        let mut losses: BTreeMap<u64, Vec<Loss>> = BTreeMap::new();
        let mut flight: VecDeque<InFlight> = VecDeque::new();
        for (event, fingerprint) in events {
            match event {
                Event::Passes(ms) => now = now + Duration::from_millis(ms),
                Event::Send { .. } => match suspects.admit(fingerprint, true, &limits(), now) {
                    QuarantineAdmission::Free => flight.push_back(InFlight { fingerprint, sent: now, turn: None }),
                    QuarantineAdmission::Turn(turn) => flight.push_back(InFlight { fingerprint, sent: now, turn: Some(turn) }),
                    QuarantineAdmission::Wait(until) => prop_assert!(until > now && until <= now + limits().turn),
                    QuarantineAdmission::Refused(left) => {
                        prop_assert!(left <= limits().duration);
                        let own = &losses[&fingerprint];
                        let follows = |later: &Loss| {
                            own.iter().any(|loss| loss.at <= later.sent && loss.endpoint != later.endpoint)
                        };
                        prop_assert!(own.iter().any(follows), "{:?}", own);
                    }
                },
                Event::Lost { .. } | Event::Succeeds | Event::Ends => {
                    let Some(InFlight { fingerprint, sent, turn }) = flight.pop_front() else { continue };
                    if let Event::Lost { endpoint } = event {
                        let loss = Loss { fingerprint, endpoint: at(endpoint), sent, at: now };
                        losses.entry(fingerprint).or_default().push(loss);
                        suspects.lost(loss, None, &limits());
                    } else if matches!(event, Event::Succeeds) && suspects.cleared(fingerprint, sent).is_some() {
                        losses.remove(&fingerprint);
                    }
                    if let Some(turn) = turn {
                        suspects.pass_on(fingerprint, turn, now);
                    }
                }
            }
            prop_assert!(suspects.suspects.len() <= limits().max_fingerprints && suspects.recent.len() <= recent::RECENT);
            prop_assert!(suspects.suspects.values().all(|suspect| (1..=2).contains(&suspect.counted.len())));
            let bits = suspects.suspects.keys().fold(0, |bits, fingerprint| bits | bit(*fingerprint));
            prop_assert_eq!(suspects.bits(), bits);
        }
    }

    /// Endpoints that crash for all requests, one after the other: no fingerprint is quarantined for longer than a second after others were
    /// lost there that are not quarantined.
    #[test]
    fn endpoints_that_crash_for_all_quarantine_no_request(calls in vec((1..5u64, 1..3u64), 20..100)) {
        let (mut suspects, mut now) = (Suspects::default(), START);
        for (fingerprint, endpoint) in calls.iter().copied().chain([(5, 1), (6, 2)]) {
            // Not in the aftermath of the crash before it, which would be one crash for both.
            let sent = now + 50 * MS;
            now = sent + 50 * MS;
            suspects.settle(&limits(), sent);
            // What is quarantined is not sent.
            match suspects.admit(fingerprint, true, &limits(), sent) {
                QuarantineAdmission::Refused(_) | QuarantineAdmission::Wait(_) => continue,
                QuarantineAdmission::Turn(turn) => suspects.pass_on(fingerprint, turn, sent),
                QuarantineAdmission::Free => {}
            }
            suspects.lost(Loss { fingerprint, endpoint: at(endpoint), sent, at: now }, None, &limits());
        }
        suspects.settle(&limits(), now + ALIVE);
        for fingerprint in 1..7 {
            let admission = suspects.admit(fingerprint, true, &limits(), now + ALIVE);
            prop_assert!(!matches!(admission, QuarantineAdmission::Refused(_)), "{fingerprint}");
        }
    }
}
