use proptest::prelude::*;

use super::*;

type Request = (Option<u8>, &'static str);

fn by_number() -> ByKey<impl Fn(&u8) -> u8, u8> {
    ByKey::new(|request: &u8| *request)
}

#[test]
fn one_key_is_one_state_for_all() {
    let store = Keyed::new(OneKey, 1, 7);
    let (a, b) = (store.get(&"a", || unreachable!()), store.get(&"b", || unreachable!()));
    assert!(Arc::ptr_eq(&a, &b) && Arc::ptr_eq(&a, store.common()));
    assert_eq!((store.len(), store.all().len()), (0, 1));
}

#[test]
fn each_key_has_its_own_state_and_requests_without_one_share() {
    #[derive(Clone)]
    struct ByNumber;
    impl Keying for ByNumber {
        type Key = u8;
    }
    impl KeyBy<Request> for ByNumber {
        fn key(&self, request: &Request) -> Option<u8> {
            request.0
        }
    }
    let store = Keyed::new(ByNumber, 8, 0);
    let one = store.get(&(Some(1), "a"), || 1);
    assert!(Arc::ptr_eq(&one, &store.get(&(Some(1), "b"), || 9)));
    assert_eq!(*store.get(&(Some(2), "a"), || 2), 2);
    assert!(Arc::ptr_eq(store.common(), &store.get(&(None, "a"), || 9)));
    assert_eq!(store.all().iter().map(|state| **state).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn keys_in_use_stay_and_the_rest_shares_until_there_is_room() {
    let store = Keyed::new(by_number(), 2, 99);
    let (one, two) = (store.get(&1, || 1), store.get(&2, || 2));
    assert_eq!(*store.get(&3, || 3), 99, "no room");
    assert!(Arc::ptr_eq(&one, &store.get(&1, || 8)));
    drop(two);
    assert_eq!(*store.get(&3, || 3), 3, "two is idle now");
    assert_eq!(*store.get(&2, || 22), 22, "and so was three");
    assert!(Arc::ptr_eq(&one, &store.get(&1, || 8)), "while one was never forgotten");
}

#[test]
fn memory_is_bounded_whatever_the_number_of_keys() {
    let store = Keyed::new(ByKey::new(|request: &u32| *request), 100, Arc::new(()));
    let (state, mut held) = (Arc::new(()), Vec::new());
    for request in 0..10_000 {
        let got = store.get(&request, || Arc::clone(&state));
        if request % 3 == 0 && held.len() < 500 {
            held.push(got);
        }
    }
    assert_eq!(store.len(), 100);
    assert!(Arc::strong_count(&state) <= 101, "what was forgotten is gone");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u8),
    Hold(u8),
    LetGo(usize),
    Bound(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u8).prop_map(Step::Get),
        2 => (0..12u8).prop_map(Step::Hold),
        2 => any::<usize>().prop_map(Step::LetGo),
        1 => (1..6usize).prop_map(Step::Bound),
    ]
}

#[test]
fn a_lower_bound_forgets_idle_keys_at_once_and_used_ones_when_they_are_idle() {
    let store = Keyed::new(by_number(), 8, 99);
    let held: Vec<_> = (0..4).map(|n| store.get(&n, || n)).collect();
    let idle: Vec<_> = (4..8).map(|n| *store.get(&n, || n)).collect();
    assert_eq!(idle, [4, 5, 6, 7]);
    let forgotten = store.set_max_keys(2);
    assert_eq!(forgotten.iter().map(|(key, _)| *key).collect::<Vec<_>>(), idle);
    assert_eq!(*store.get(&9, || 9), 99, "the four in use are more than the bound");
    assert_eq!(*store.get(&3, || 33), 3, "and stay what they are");
    drop(held);
    assert_eq!(*store.get(&9, || 9), 9);
    assert_eq!(store.len(), 2);
    drop(store.set_max_keys(3));
    assert_eq!((*store.get(&7, || 77), store.len()), (77, 3));
}

/// Which of them it is asked for again is none of the idle ones, however long nobody asked for it.
#[test]
fn a_lower_bound_does_not_forget_the_very_key_that_is_asked_for() {
    let store = Keyed::new(by_number(), 2, 99);
    let held: Vec<_> = (0..2).map(|n| store.get(&n, || n)).collect();
    assert!(store.set_max_keys(1).is_empty(), "both are in use");
    drop(held);
    assert_eq!(*store.get(&0, || 33), 0, "its state is what it was");
    assert_eq!(store.len(), 1);
    assert_eq!(*store.get(&1, || 11), 11, "the other had to go");
}

proptest! {
    /// Against a plain list of the keys, the latest used first.
    #[test]
    fn it_forgets_what_a_naive_list_would_forget(steps in prop::collection::vec(step(), 0..300), max in 1..6usize) {
        let mut max = max;
        let store = Keyed::new(by_number(), max, (u8::MAX, 0));
        let mut list: Vec<(u8, usize)> = Vec::new();
        let mut held: Vec<Arc<(u8, usize)>> = Vec::new();
        for (serial, step) in steps.into_iter().enumerate() {
            let key = match step {
                Step::Get(key) | Step::Hold(key) => key,
                Step::LetGo(n) => {
                    if !held.is_empty() {
                        held.swap_remove(n % held.len());
                    }
                    continue;
                }
                Step::Bound(bound) => {
                    max = bound;
                    let forgotten = store.set_max_keys(max);
                    let mut naive = Vec::new();
                    while list.len() > max {
                        let idle = list.iter().rposition(|known| held.iter().all(|state| **state != *known));
                        let Some(idle) = idle else { break };
                        naive.push(list.remove(idle).0);
                    }
                    prop_assert_eq!(forgotten.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), naive);
                    prop_assert_eq!(store.len(), list.len());
                    continue;
                }
            };
            // Where the bound was lowered, what was in use goes when it is idle.
            while list.len() > max {
                let in_use = |known: &(u8, usize)| known.0 == key || held.iter().any(|state| **state == *known);
                let before = list.len();
                for _ in 0..before {
                    let oldest = list.pop().unwrap();
                    if !in_use(&oldest) {
                        break;
                    }
                    list.insert(0, oldest);
                }
                if list.len() == before {
                    break;
                }
            }
            let expected = if let Some(at) = list.iter().position(|(known, _)| *known == key) {
                let found = list.remove(at);
                list.insert(0, found);
                found
            } else {
                let mut room = list.len() < max;
                for _ in 0..if list.len() == max { max } else { 0 } {
                    if room {
                        break;
                    }
                    let oldest = list.pop().unwrap();
                    if held.iter().any(|state| **state == oldest) {
                        list.insert(0, oldest);
                    } else {
                        room = true;
                    }
                }
                if room {
                    list.insert(0, (key, serial));
                    (key, serial)
                } else {
                    (u8::MAX, 0)
                }
            };
            let got = store.get(&key, || (key, serial));
            prop_assert_eq!(*got, expected);
            prop_assert_eq!(store.len(), list.len());
            if matches!(step, Step::Hold(_)) {
                held.push(got);
            }
        }
    }
}
