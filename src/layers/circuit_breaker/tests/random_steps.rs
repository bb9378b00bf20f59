//! Any sequence of steps keeps the invariants.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Settle(prop::sample::Index, Evidence),
    Abandon(prop::sample::Index, u64),
    Queue(prop::sample::Index, bool),
    Advance(u64),
    Mode(Mode),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = any::<prop::sample::Index>;
    let end = prop_oneof![4 => Just(S), 4 => Just(F), 1 => Just(Evidence::TimedOut), 1 => Just(Evidence::Nothing)];
    let mode = prop_oneof![Just(Mode::Enforcing), Just(Mode::Observing), Just(Mode::ForcedOpen), Just(Mode::Disabled)];
    let step = prop_oneof![
        30 => Just(Step::Admit),
        20 => (which(), end).prop_map(|(which, end)| Step::Settle(which, end)),
        5 => (which(), 0..2000u64).prop_map(|(which, waited)| Step::Abandon(which, waited)),
        3 => (which(), any::<bool>()).prop_map(|(which, queues)| Step::Queue(which, queues)),
        5 => (0..2000u64).prop_map(Step::Advance),
        1 => mode.prop_map(Step::Mode),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    /// Whatever the order of events: when all calls are over, nothing is in flight, and the breaker recovers from every state.
    #[test]
    fn breaker_leaks_no_calls_and_always_recovers(steps in steps()) {
        let mut rig = Rig::new(CircuitBreakerConfig { minimum_calls: 3, consecutive_failures: Some(5), ..default() });
        let mut passes = Vec::new();
        for step in steps {
            match step {
                Step::Admit => passes.extend(rig.pass()),
                Step::Settle(which, end) if !passes.is_empty() => {
                    let pass = passes.swap_remove(which.index(passes.len()));
                    rig.breaker.settle(pass, end, rig.now);
                }
                Step::Abandon(which, waited) if !passes.is_empty() => {
                    let pass = passes.swap_remove(which.index(passes.len()));
                    rig.give_up(pass, Ending::GivenUp, Duration::from_millis(waited), 60 * SECOND);
                }
                Step::Queue(which, queues) if !passes.is_empty() => {
                    let which = which.index(passes.len());
                    if queues {
                        rig.breaker.stop_aging(&mut passes[which], rig.now);
                    } else {
                        rig.breaker.start_aging(&mut passes[which], || false, rig.now);
                    }
                }
                Step::Settle(..) | Step::Abandon(..) | Step::Queue(..) => {}
                Step::Advance(millis) => rig.wait(Duration::from_millis(millis)),
                Step::Mode(mode) => rig.breaker.set_mode(mode, rig.now),
                Step::Reset => rig.breaker.reset(rig.now),
            }
            prop_assert!(rig.snapshot().in_flight <= passes.len() as u64);
        }
        for pass in passes {
            rig.breaker.settle(pass, Evidence::Nothing, rig.now);
        }
        prop_assert_eq!(rig.snapshot().in_flight, 0);
        rig.breaker.set_mode(Mode::Enforcing, rig.now);
        rig.wait(31 * SECOND);
        for _ in 0..15 {
            rig.call(S);
        }
        prop_assert_eq!(rig.state(), Closed);
    }
}
