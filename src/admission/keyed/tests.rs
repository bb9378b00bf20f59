use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

/// A state that is as good as new until it is spoilt, and knows its key.
#[derive(Debug, Default)]
struct State {
    made_for: u64,
    number: u64,
    spoilt: AtomicBool,
    count: AtomicU64,
    inherited: AtomicBool,
}

impl State {
    fn of(key: u64) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self { made_for: key, number: LAST.fetch_add(1, Ordering::SeqCst), ..Self::default() }
    }

    fn spoil(&self, spoilt: bool) {
        self.spoilt.store(spoilt, Ordering::SeqCst);
    }

    fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::SeqCst)
    }
}

impl Forgettable for State {
    fn is_as_good_as_new(&self, _: Instant) -> bool {
        !self.is_spoilt() && self.count.load(Ordering::SeqCst) == 0
    }

    fn inherit(&self, shared: &Self, _: Instant) {
        self.spoil(shared.is_spoilt());
        self.inherited.store(true, Ordering::SeqCst);
    }
}

type Store = Keyed<ByKey<fn(&u64) -> u64, u64>, State>;

fn store(max_keys: usize) -> Store {
    Keyed::new(ByKey::new(|request: &u64| *request), max_keys, State::of(u64::MAX))
}

fn get(store: &Store, key: u64) -> Arc<State> {
    store.get(&key, || State::of(key))
}

fn visited<K: Keying>(store: &Keyed<K, State>) -> Vec<u64> {
    let mut visited = Vec::new();
    store.for_each(|state| visited.push(state.made_for));
    visited[1..].sort_unstable();
    visited
}

fn numbers(store: &Store) -> Vec<u64> {
    let mut numbers = Vec::new();
    store.for_each(|state| numbers.push(state.number));
    numbers
}

#[test]
fn one_key_shares_one_state() {
    let store = Keyed::new(OneKey, 1, State::of(7));
    let (a, b) = (store.get(&"a", || unreachable!()), store.get(&"b", || unreachable!()));
    assert!(Arc::ptr_eq(&a, &b) && Arc::ptr_eq(&a, store.common()));
    assert_eq!((store.len(), visited(&store)), (0, vec![7]));
}

#[test]
fn keys_have_own_states_and_keyless_requests_share() {
    struct ByNumber;
    impl Keying for ByNumber {
        type Key = u64;
    }
    impl KeyBy<Option<u64>> for ByNumber {
        fn key(&self, request: &Option<u64>) -> Option<u64> {
            *request
        }
    }
    let store = Keyed::new(ByNumber, 8, State::of(0));
    let one = store.get(&Some(1), || State::of(1));
    assert!(Arc::ptr_eq(&one, &store.get(&Some(1), || unreachable!())));
    assert_eq!(store.get(&Some(2), || State::of(2)).made_for, 2);
    assert!(Arc::ptr_eq(store.common(), &store.get(&None, || unreachable!())));
    assert_eq!(visited(&store), [0, 1, 2]);
}

#[test]
fn keys_in_use_are_kept_and_further_keys_share() {
    let store = store(2);
    let held = get(&store, 1);
    get(&store, 2).spoil(true);
    let shared = get(&store, 3);
    assert!(Arc::ptr_eq(&shared, &get(&store, 3)), "the same one each time");
    assert!(Arc::ptr_eq(&held, &get(&store, 1)) && get(&store, 2).is_spoilt());
    shared.spoil(true);
    drop(held);
    let own = get(&store, 3);
    assert!(!Arc::ptr_eq(&own, &shared) && own.is_spoilt(), "the first key was idle, and a move keeps the state");
    assert!(!get(&store, 1).inherited.load(Ordering::SeqCst));
}

#[test]
fn keys_without_room_spread_over_shared_states() {
    let store = store(1);
    let _held = get(&store, 0);
    let mut keys_per_state: HashMap<*const State, u32> = HashMap::new();
    for key in 1..=12_800 {
        *keys_per_state.entry(Arc::as_ptr(&get(&store, key))).or_default() += 1;
    }
    assert_eq!(keys_per_state.len(), 128);
    assert!(keys_per_state.values().all(|keys| (40..200).contains(keys)), "{keys_per_state:?}");
    assert_eq!(store.len(), 1);
}

/// Entries in regular use are as good as new, too, and yet entries that were used once are forgotten first.
#[test]
fn one_time_keys_do_not_displace_keys_in_regular_use() {
    let store = store(100);
    let regulars: Vec<_> = (0..50).map(|key| get(&store, key).number).collect();
    for key in 1000..5000 {
        get(&store, key);
        get(&store, key % 50);
    }
    let numbers = numbers(&store);
    let kept = regulars.iter().filter(|number| numbers.contains(number)).count();
    assert!(kept > 40, "{kept} of 50");
}

#[test]
fn lower_max_keys_forgets_fresh_states_at_once() {
    let store = store(1000);
    let held = get(&store, 0);
    get(&store, 1).spoil(true);
    for key in 2..1000 {
        get(&store, key);
    }
    store.set_max_keys(2);
    assert_eq!(store.len(), 1000, "nothing is dropped under a lock");
    store.shrink();
    assert_eq!(visited(&store)[1..], [0, 1]);
    store.set_max_keys(1);
    store.shrink();
    assert_eq!(store.len(), 2, "both are worth keeping");
    assert!(Arc::ptr_eq(&held, &get(&store, 0)) && get(&store, 1).is_spoilt());
    drop(held);
    get(&store, 7);
    assert_eq!(store.len(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u64),
    Hold(u64),
    Release(usize),
    Spoil(u64, bool),
    Bound(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u64).prop_map(Step::Get),
        2 => (0..12u64).prop_map(Step::Hold),
        2 => any::<usize>().prop_map(Step::Release),
        2 => (0..12u64, any::<bool>()).prop_map(|(key, spoilt)| Step::Spoil(key, spoilt)),
        1 => (1..6usize).prop_map(Step::Bound),
    ]
}

/// Identifies a state without holding an `Arc` or a `Weak` to it, which would keep it in the table.
#[derive(Clone, Copy)]
struct Noted {
    number: u64,
    spoilt: bool,
}

proptest! {
    /// Against a plain map: nothing is lost that is held or spoilt, every key that can have a state of its own has one, and there are
    /// no more than the bound allows. With so few keys all entries are checked.
    #[test]
    fn table_matches_a_naive_map(steps in prop::collection::vec(step(), 0..300), max in 1..6usize) {
        let mut max = max;
        let store = store(max);
        let mut known: HashMap<u64, Noted> = HashMap::new();
        let mut held: Vec<Arc<State>> = Vec::new();
        for step in steps {
            let is_kept = |noted: &Noted| noted.spoilt || held.iter().any(|state| state.number == noted.number);
            let kept = known.values().filter(|noted| is_kept(noted)).count();
            let key = match step {
                Step::Get(key) | Step::Hold(key) | Step::Spoil(key, _) => key,
                Step::Release(n) => {
                    if !held.is_empty() {
                        held.swap_remove(n % held.len());
                    }
                    continue;
                }
                Step::Bound(bound) => {
                    max = bound;
                    store.set_max_keys(max);
                    store.shrink();
                    prop_assert_eq!(store.len(), known.len().min(max.max(kept)));
                    let numbers = numbers(&store);
                    known.retain(|_, noted| is_kept(noted) || numbers.contains(&noted.number));
                    prop_assert_eq!(store.len(), known.len());
                    continue;
                }
            };
            let got = get(&store, key);
            let numbers = numbers(&store);
            if let Some(noted) = known.get(&key) {
                prop_assert_eq!(noted.number, got.number);
            } else if kept < max {
                prop_assert_eq!(got.made_for, key);
                known.retain(|_, noted| is_kept(noted) || numbers.contains(&noted.number));
                known.insert(key, Noted { number: got.number, spoilt: got.is_spoilt() });
            } else {
                prop_assert!(known.values().all(|noted| noted.number != got.number), "a shared one");
                known.retain(|_, noted| is_kept(noted) || numbers.contains(&noted.number));
            }
            prop_assert!(known.values().all(|noted| numbers.contains(&noted.number)));
            prop_assert_eq!(store.len(), known.len());
            match step {
                Step::Hold(_) => held.push(got),
                Step::Spoil(_, spoilt) => {
                    got.spoil(spoilt);
                    known.values_mut().filter(|noted| noted.number == got.number).for_each(|noted| noted.spoilt = spoilt);
                }
                _ => {}
            }
        }
    }
}

/// Threads count in the states of a few keys, while others come and go: no count is lost, so that there never were two states of
/// one key.
#[test]
fn concurrent_lookups_share_one_state_per_key() {
    let store = store(64);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..20_000 {
                    get(store, n % 16).count.fetch_add(1, Ordering::SeqCst);
                    get(store, 100 + thread * 1_000_000 + n);
                }
            });
        }
        let (stop, store) = (AtomicBool::new(false), &store);
        scope.spawn(move || {
            for n in 0..2000 {
                store.set_max_keys(if n % 2 == 0 { 32 } else { 64 });
                store.shrink();
                store.for_each(|_| ());
            }
            stop.store(true, Ordering::SeqCst);
        });
    });
    let counts: Vec<_> = (0..16).map(|key| get(&store, key).count.load(Ordering::SeqCst)).collect();
    assert_eq!(counts, [5000; 16]);
    assert!(store.len() <= 64);
}

/// All keys have one hash, as is legal; and there are many of them.
#[test]
fn keys_with_equal_hashes_are_distinct() {
    #[derive(PartialEq, Eq)]
    struct Same(u64);
    impl Hash for Same {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }
    let store = Keyed::new(ByKey::new(|key: &u64| Same(*key)), 8, State::of(0));
    for key in (0..8).chain(0..8) {
        assert_eq!(store.get(&key, || State::of(key)).made_for, key);
    }
    for key in 8..100 {
        assert_eq!(store.get(&key, || State::of(key)).made_for, key, "not the state of another key");
        assert_eq!(store.len(), 8);
    }
}

#[test]
fn survey_is_exact_for_few_keys_and_catches_up_with_many() {
    let (store, survey) = (store(100_000), Survey::<u64>::default());
    let read = || survey.read(&store, |sum, state| *sum += state.count.load(Ordering::SeqCst));
    store.common().count.store(1, Ordering::SeqCst);
    assert_eq!(read(), 1);
    for key in 0..1000 {
        get(&store, key).count.store(1, Ordering::SeqCst);
    }
    assert_eq!(read(), 1001);
    for key in 1000..50_000 {
        get(&store, key).count.store(1, Ordering::SeqCst);
    }
    assert_eq!(read(), 1001, "that of the last round");
    assert_eq!((0..13).map(|_| read()).max(), Some(50_001));
}
