use proptest::prelude::*;

use super::*;

fn key(key: u32) -> Option<ShareKey> {
    Some(ShareKey::of_hash(u64::from(key + 1) << 32))
}

/// A call waits. Returns where it starts.
fn enter(turns: &mut FairTurns, key: Option<ShareKey>, cost: u64) -> u64 {
    let start = turns.start_of(key);
    let has_turn = turns.enter(key, start, cost);
    assert!(has_turn || key.is_none());
    start
}

/// Serves `calls`, of which all wait from the start, and returns how often each of the keys came among the first `among`.
fn served(calls: &[(u32, u64)], among: usize) -> Vec<usize> {
    let mut turns = FairTurns::default();
    let mut waiting: Vec<_> = calls.iter().map(|&(id, cost)| (enter(&mut turns, key(id), cost), id, cost)).collect();
    waiting.sort_by_key(|(start, ..)| *start);
    let mut counts = vec![0; 1 + calls.iter().map(|(id, _)| *id as usize).max().unwrap_or(0)];
    for (start, id, cost) in waiting.into_iter().take(among) {
        turns.serve(key(id), start, cost);
        counts[id as usize] += 1;
    }
    counts
}

#[test]
fn each_key_has_its_turn_however_many_calls_another_sends() {
    let mut calls = vec![(0, 10); 100];
    calls.extend([(1, 10); 10]);
    calls.extend([(2, 10); 10]);
    assert_eq!(served(&calls, 30), [10, 10, 10]);
    assert_eq!(served(&calls, 60), [40, 10, 10], "a key gets what the others do not use");
}

#[test]
fn key_whose_calls_take_ten_times_as_long_gets_a_tenth_as_many() {
    let calls: Vec<_> = (0..100).flat_map(|_| [(0, 100), (1, 10)]).collect();
    assert_eq!(served(&calls, 99), [9, 90]);
}

#[test]
fn key_that_comes_later_has_no_claim_on_the_past() {
    let mut turns = FairTurns::default();
    let starts: Vec<_> = (0..100).map(|_| enter(&mut turns, key(0), 10)).collect();
    for start in &starts[..50] {
        turns.serve(key(0), *start, 10);
    }
    assert_eq!(enter(&mut turns, key(1), 10), starts[49], "next, and not before calls that have been served");
    assert_eq!(enter(&mut turns, key(1), 10), starts[50]);
}

/// Each of them starts at once, but not before the call that waits since the first ones.
#[test]
fn new_keys_without_end_keep_no_older_call_from_its_turn() {
    let mut turns = FairTurns::default();
    enter(&mut turns, key(0), 1000);
    let second = enter(&mut turns, key(0), 1000);
    let passed = (1..1000).take_while(|fresh| {
        let start = enter(&mut turns, key(*fresh), 1000);
        turns.serve(key(*fresh), start, 1000);
        start <= second
    });
    assert!(passed.count() <= 20);
}

#[test]
fn call_waits_for_the_turns_of_all_keys() {
    let mut turns = FairTurns::default();
    assert_eq!(turns.paid_before(key(0)), 0);
    for _ in 0..5 {
        enter(&mut turns, key(0), 10);
    }
    assert_eq!((turns.paid_before(key(0)), turns.paid_before(key(1))), (50, 0));
    enter(&mut turns, key(1), 10);
    assert_eq!((turns.paid_before(key(0)), turns.paid_before(key(1))), (100, 20));
    enter(&mut turns, key(2), u64::MAX);
    assert_eq!(turns.paid_before(key(2)), u64::MAX);
}

#[test]
fn calls_of_a_key_are_served_in_their_order_though_others_leave() {
    let mut turns = FairTurns::default();
    let starts = [100, 1, 1].map(|cost| enter(&mut turns, key(0), cost));
    turns.leave(key(0), 100);
    assert!(enter(&mut turns, key(0), 1) >= starts[2]);
}

#[test]
fn call_that_leaves_costs_nothing() {
    let mut turns = FairTurns::default();
    let _other = enter(&mut turns, key(1), 10);
    for _ in 0..100 {
        assert_eq!(enter(&mut turns, key(0), 10), 0);
        turns.leave(key(0), 10);
    }
}

#[test]
fn queue_that_was_empty_begins_anew() {
    let mut turns = FairTurns::default();
    enter(&mut turns, key(1), 10);
    let start = enter(&mut turns, key(0), u64::MAX);
    turns.serve(key(0), start, u64::MAX);
    assert!(turns.start_of(key(2)) > 0);
    turns.end();
    assert_eq!((turns.start_of(key(0)), turns.has_keys()), (0, false));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(Option<u32>, u64),
    Serve,
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let cost = prop_oneof![1..1000_u64, Just(u64::MAX), Just(0)];
    prop_oneof![
        3 => (prop::option::of(0..500_u32), cost).prop_map(|(key, cost)| Step::Enter(key, cost)),
        2 => Just(Step::Serve),
        1 => any::<usize>().prop_map(Step::Leave),
    ]
}

proptest! {
    /// Whatever comes and goes: the virtual clock never goes back, memory is bounded by the calls that wait, and nothing remains of an
    /// empty queue.
    #[test]
    fn turns_are_bounded_and_move_forward(steps in prop::collection::vec(step(), 0..400)) {
        let mut turns = FairTurns::default();
        let mut waiting: Vec<(u64, Option<ShareKey>, u64, bool)> = Vec::new();
        let mut clock = 0;
        for step in steps {
            match step {
                Step::Enter(id, cost) => {
                    let key = id.and_then(key);
                    let start = turns.start_of(key);
                    let has_turn = turns.enter(key, start, cost);
                    waiting.push((start, key, cost, has_turn));
                }
                Step::Serve => {
                    let first = waiting.iter().enumerate().min_by_key(|(_, (start, ..))| *start).map(|(at, _)| at);
                    if let Some((start, key, cost, true)) = first.map(|at| waiting.remove(at)) {
                        turns.serve(key, start, cost);
                    }
                }
                Step::Leave(at) => {
                    if !waiting.is_empty() {
                        let (_, key, cost, has_turn) = waiting.swap_remove(at % waiting.len());
                        if has_turn {
                            turns.leave(key, cost);
                        }
                    }
                }
            }
            if waiting.is_empty() {
                turns.end();
                prop_assert!(!turns.has_keys());
                clock = 0;
            }
            prop_assert!(turns.now >= clock);
            clock = turns.now;
            prop_assert!(turns.keys.len() <= 2 * waiting.len() + MAX_IDLE + 1);
            let counted = turns.keys.values().filter(|turn| turn.waiting > 0).count();
            prop_assert_eq!(turns.waiting_keys as usize, counted);
            prop_assert_eq!(turns.waiting as usize, waiting.iter().filter(|(.., has_turn)| *has_turn).count());
        }
    }

    /// Of keys that always have a call waiting, none is ahead of another by more than the cost of two calls and an eighth.
    #[test]
    fn backlogged_keys_get_equal_permit_time(costs in prop::collection::vec(1..100_u64, 2..8)) {
        let mut turns = FairTurns::default();
        let mut waiting = Vec::new();
        let mut paid = vec![0; costs.len()];
        for (id, cost) in costs.iter().enumerate() {
            waiting.push((enter(&mut turns, key(id as u32), *cost), id));
        }
        for _ in 0..1000 {
            let at = waiting.iter().enumerate().min_by_key(|(_, call)| **call).map(|(at, _)| at).unwrap();
            let (start, id) = waiting.swap_remove(at);
            waiting.push((enter(&mut turns, key(id as u32), costs[id]), id));
            turns.serve(key(id as u32), start, costs[id]);
            paid[id] += costs[id];
        }
        let most = costs.iter().max().copied().unwrap();
        let (least, highest) = (paid.iter().min().copied().unwrap(), paid.iter().max().copied().unwrap());
        prop_assert!(highest - least <= 2 * most + highest / 8, "{:?}", paid);
    }
}
