//! Whatever it is told, the limit stays within its bounds, and recovers.

use proptest::prelude::*;

use super::*;

const OUTCOMES: [Outcome; 4] = [Outcome::Good, Outcome::Failed, Outcome::Late, Outcome::NoRoom];

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0u64..1_000_000_000).prop_map(Duration::from_nanos),
        any::<u64>().prop_map(Duration::from_nanos),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn limit_stays_in_bounds_and_recovers(
        (start, max) in (0usize..1000, 0usize..500),
        objective in prop::option::of(durations()),
        calls in prop::collection::vec((any::<u16>(), durations(), 0usize..4, any::<bool>(), 1u32..60), 0..60),
    ) {
        let mut closed = Closed::new(Bounds { start, max, objective });
        let max = max.max(1);
        let mut tickets = vec![Ticket { epoch: u32::MAX, index: u32::MAX, in_flight: 0, among: 0, is_quiet: false }];
        for (n, took, outcome, again, times) in calls {
            for _ in 0..times {
                tickets.push(closed.limit.begin(n as usize % (2 * max)));
                // Any ticket, and maybe the same one again.
                let which = n as usize % tickets.len();
                let ticket = if again { tickets[which] } else { tickets.swap_remove(which) };
                let before = closed.limit.limit();
                let changed = closed.limit.end(ticket, took, OUTCOMES[outcome]);
                prop_assert_eq!(changed, closed.limit.limit() != before);
                prop_assert!((1..=max).contains(&closed.limit.limit()));
                if tickets.is_empty() {
                    break;
                }
            }
        }
        if objective.is_none_or(|objective| objective > 20 * MS) {
            closed.rest(500, 10 * MS);
            closed.run_overloaded(30_000, ten_slots);
            let (least, most) = closed.run_overloaded(3000, ten_slots);
            prop_assert!(least >= (max / 2).clamp(1, 6) && most <= max.min(20), "{} {}", least, most);
        }
    }
}
