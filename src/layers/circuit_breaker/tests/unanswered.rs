//! Calls without an answer: abandoned, unsent, or with too little time.

use super::*;

/// tower-resilience: 200 of 200 calls cut by an outer timeout, none recorded, and then 50 of 50 probes sent to the hanging dependency.
#[test]
fn abandoned_calls_open_a_hanging_dependency_with_few_probes() {
    let mut rig = Rig::new(default());
    rig.calls([S; 50]);
    rig.wait(20 * SECOND);
    let mut sent = 0;
    for _ in 0..200 {
        if let Some(pass) = rig.pass() {
            rig.wait(50 * MS);
            rig.give_up(pass, Ending::GivenUp, 50 * MS, 60 * SECOND);
            sent += 1;
        }
    }
    assert_eq!(rig.state(), Open);
    assert_eq!(sent, 11, "ten of them, and half a second without an answer");
    let mut probes = 0;
    for _ in 0..3000 {
        rig.wait(MS);
        if let Some(pass) = rig.pass() {
            rig.give_up(pass, Ending::GivenUp, 50 * MS, 60 * SECOND);
            probes += 1;
        }
    }
    assert!(probes <= 3 * 3, "{probes} probes in three seconds, which have three breaks");
}

/// A balancer that drops a hundred clients at once says nothing about a dependency that has just answered others.
#[test]
fn simultaneous_abandoned_calls_do_not_open() {
    let mut rig = Rig::new(default());
    rig.calls([S; 300]);
    let crowd: Vec<_> = (0..100).filter_map(|_| rig.pass()).collect();
    rig.wait(200 * MS);
    rig.call(S);
    for pass in crowd {
        rig.give_up(pass, Ending::GivenUp, 200 * MS, 60 * SECOND);
    }
    assert_eq!(rig.state(), Closed);
}

/// A connection that closes takes its calls along, beside calls that are answered, or after a pause in which there were none.
#[test]
fn burst_of_unsent_calls_does_not_open() {
    for (good, pause) in [(0, Duration::ZERO), (300, Duration::ZERO), (300, 3600 * SECOND)] {
        for end in [Evidence::Unsent, Evidence::Unanswered] {
            let mut rig = Rig::new(default());
            (0..good).for_each(|_| _ = rig.call(S));
            rig.wait(pause);
            for _ in 0..100 {
                assert_eq!(rig.call(end), Closed, "{end:?} after {good} and {pause:?}");
            }
            rig.call(F);
            rig.wait(20 * MS);
            assert_eq!(rig.call(S), Closed);
        }
    }
}

/// For a long time some calls are unsent, and others have too little time: no call is refused while some are answered.
#[test]
fn unsent_calls_beside_answers_do_not_open() {
    for answer in [S, Evidence::Alive] {
        let mut rig = Rig::new(default());
        for n in 0..10_000 {
            rig.wait(10 * MS);
            let end = if n % 40 == 0 {
                answer
            } else if n % 2 == 0 {
                Evidence::Unsent
            } else {
                Evidence::Unanswered
            };
            assert_eq!(rig.call(end), Closed, "the {n}th");
        }
        assert!(rig.snapshot().calls <= 25, "they are in no rate");
    }
}

/// It refuses connections, or all callers time out before the hang is visible.
#[test]
fn silence_for_as_long_as_the_slow_threshold_opens() {
    for (known, end) in
        [(0, Evidence::Unsent), (0, Evidence::Unanswered), (50, Evidence::Unsent), (50, Evidence::Unanswered)]
    {
        let mut rig = Rig::new(default());
        (0..known).for_each(|_| _ = rig.call(S));
        let start = rig.now;
        while rig.call(end) == Closed {
            rig.wait(20 * MS);
            assert!(rig.now.since(start) < 2 * SECOND, "{end:?}");
        }
        assert!(rig.now.since(start) >= SECOND / 2, "{:?}", rig.now.since(start));
    }
}

/// Abandoned before a success usually arrives. (Later, they count only while no call at all is answered.)
#[test]
fn calls_abandoned_early_do_not_count() {
    let mut rig = Rig::new(default());
    rig.calls([Evidence::Good(20 * MS); 20]);
    rig.wait(20 * SECOND);
    for _ in 0..1000 {
        let pass = rig.pass().expect("it stays closed");
        rig.give_up(pass, Ending::GivenUp, 19 * MS, SECOND);
        rig.wait(MS);
    }
    assert_eq!((rig.state(), rig.snapshot().calls), (Closed, 0));
}

/// A last retry, two milliseconds before its deadline: cut, but not because of the dependency.
#[test]
fn calls_with_too_little_time_do_not_count() {
    let mut rig = Rig::new(default());
    rig.calls([Evidence::Good(20 * MS); 20]);
    rig.wait(20 * SECOND);
    for ending in [Ending::GivenUp, Ending::Deadline] {
        for _ in 0..100 {
            let pass = rig.pass().expect("it stays closed");
            rig.wait(2 * MS);
            rig.give_up(pass, ending, 2 * MS, 2 * MS);
        }
        assert_eq!((rig.state(), rig.snapshot().calls), (Closed, 0));
    }
    for _ in 0..11 {
        let pass = rig.pass().expect("it is closed");
        rig.wait(50 * MS);
        rig.give_up(pass, Ending::Deadline, 50 * MS, 50 * MS);
    }
    assert_eq!(rig.state(), Open, "with time for an answer they do, if there is none for the slow threshold");
}

#[test]
fn waiting_in_our_queue_does_not_age() {
    let mut rig = Rig::new(default());
    rig.calls([S; 20]);
    rig.wait(20 * SECOND);
    let mut queued: Vec<_> = (0..30).filter_map(|_| rig.pass()).collect();
    for pass in &mut queued {
        rig.breaker.stop_aging(pass, rig.now);
    }
    for _ in 0..100 {
        rig.wait(100 * MS);
        rig.call(Evidence::Nothing);
    }
    assert_eq!((rig.state(), rig.snapshot().overdue), (Closed, 0));
    for mut pass in queued {
        rig.breaker.start_aging(&mut pass, || false, rig.now);
        rig.breaker.start_aging(&mut pass, || false, rig.now);
        assert_eq!(rig.snapshot().in_flight, 1);
        rig.settle(pass, S);
    }
    assert_eq!(rig.snapshot().in_flight, 0);
}
