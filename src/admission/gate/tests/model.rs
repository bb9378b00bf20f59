//! The gate against a naive model of it.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::algorithm::limit::Law;
use crate::ground::scope::ShareKey;

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { weight: u32, priority: u8, key: Option<u8> },
    GiveBack(usize),
    GiveUp(usize),
    Poll(usize),
    SetLimit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..5u32, 0..3u8, prop::option::of(0..3u8))
            .prop_map(|(weight, priority, key)| Step::Ask { weight, priority, key }),
        3 => any::<usize>().prop_map(Step::GiveBack),
        1 => any::<usize>().prop_map(Step::GiveUp),
        3 => any::<usize>().prop_map(Step::Poll),
        1 => (1..8u32).prop_map(Step::SetLimit),
    ]
}

/// A waiting call.
#[derive(Clone, Copy)]
struct Waiting {
    id: usize,
    weight: u32,
    priority: Priority,
    key: Option<u8>,
    /// On the virtual clock of its priority.
    start: u64,
    cost: u64,
}

/// The virtual clock of one priority.
#[derive(Default)]
struct Clock {
    now: u64,
    turns: HashMap<Option<u8>, Turn>,
}

/// Where the last call of a key starts, and where it ends.
struct Turn {
    start: u64,
    end: u64,
}

/// The simplest implementation of the gate.
#[derive(Default)]
struct Naive {
    limit: u32,
    max_waiting: usize,
    lifo: bool,
    in_use: u32,
    /// The head first.
    queue: Vec<Waiting>,
    clocks: HashMap<Priority, Clock>,
    granted: Vec<(usize, u32)>,
    refused: Vec<usize>,
}

impl Naive {
    fn serve(&mut self) {
        while let Some(&call) = self.queue.first() {
            let weight = call.weight.min(self.limit);
            if self.in_use + weight > self.limit {
                return;
            }
            self.in_use += weight;
            self.queue.remove(0);
            self.granted.push((call.id, weight));
            self.left(call, true);
        }
    }

    /// A call left the queue. Its key is forgotten if that changes nothing, and the clock if no call waits.
    fn left(&mut self, call: Waiting, was_served: bool) {
        let others: Vec<_> = self.queue.iter().filter(|other| other.priority == call.priority).collect();
        let clock = self.clocks.get_mut(&call.priority).unwrap();
        if others.is_empty() {
            *clock = Clock::default();
        } else if call.cost > 0 {
            let keys: HashSet<_> = others.iter().filter(|other| other.cost > 0).map(|other| other.key).collect();
            let is_last = !keys.contains(&call.key);
            let turn = clock.turns.get_mut(&call.key).unwrap();
            match was_served {
                true => {
                    clock.now = call.start.max(clock.now + call.cost / (keys.len() as u64 + u64::from(is_last)) / 8)
                }
                false => turn.end = turn.start.max(turn.end - call.cost),
            }
            if turn.end <= clock.now && is_last {
                clock.turns.remove(&call.key);
            }
        }
    }

    fn admit(&mut self, id: usize, weight: u32, priority: Priority, key: Option<u8>) {
        let takes = weight.min(self.limit);
        let fits = self.queue.is_empty() && self.in_use + takes <= self.limit;
        if fits {
            self.in_use += takes;
            self.granted.push((id, takes));
            return;
        }
        let clock = self.clocks.entry(priority).or_default();
        let is_charged = key.is_some() || !clock.turns.is_empty();
        let start = clock.turns.get(&key).map_or(clock.now, |turn| clock.now.max(turn.end));
        let cost = (100_000_000.0 * (f64::from(takes) / f64::from(self.limit))) as u64;
        let cost = if is_charged { cost } else { 0 };
        let call = Waiting { id, weight, priority, key, start, cost };
        let behind = |theirs: &Waiting| {
            theirs.priority < priority
                || theirs.priority == priority && (theirs.start > start || theirs.start == start && self.lifo)
        };
        let at = self.queue.iter().position(behind).unwrap_or(self.queue.len());
        if self.queue.len() >= self.max_waiting && at == self.queue.len() {
            return self.refused.push(id);
        }
        if is_charged {
            clock.turns.insert(key, Turn { start, end: start + cost });
        }
        self.queue.insert(at, call);
        if self.queue.len() > self.max_waiting {
            let last = self.queue.pop().unwrap();
            self.refused.push(last.id);
            self.left(last, false);
        }
        self.serve();
    }
}

proptest! {
    #[test]
    fn gate_matches_a_naive_model(
        steps in prop::collection::vec(step(), 0..120), limit in 1..8u32, max_waiting in 0..5usize, lifo: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _inside = runtime.enter();
        let gate = gate(limit, if lifo { Order::Lifo } else { Order::Fifo });
        let mut naive = Naive { limit, max_waiting, lifo, ..Naive::default() };
        let mut held: Vec<(usize, Permit)> = Vec::new();
        let mut callers: Vec<(usize, Caller)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Ask { weight, priority, key } => {
                    let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(priority)];
                    let share_key = key.map(|key| ShareKey::of_hash((u64::from(key) + 1) << 32));
                    let wanted = PermitRequest { priority, share_key, ..wanted(weight) };
                    naive.admit(id, weight, priority, key);
                    match Gate::admit(Arc::clone(&gate), time::now(), wanted, max_waiting as u32, Duration::from_secs(1000)) {
                        Ok(Admitted::Now(permit)) => {
                            prop_assert!(naive.granted.iter().any(|(granted, _)| *granted == id));
                            held.push((id, permit));
                        }
                        Ok(Admitted::Later(waiter)) => callers.push((id, Caller::new(waiter))),
                        Err(refusal) => {
                            prop_assert_eq!(refusal.reason, Reason::QueueFull);
                            prop_assert!(naive.refused.contains(&id));
                        }
                    }
                }
                Step::GiveBack(n) => {
                    if !held.is_empty() {
                        let (id, permit) = held.swap_remove(n % held.len());
                        drop(permit);
                        let at = naive.granted.iter().position(|(granted, _)| *granted == id).unwrap();
                        naive.in_use -= naive.granted.remove(at).1;
                        naive.serve();
                    }
                }
                Step::GiveUp(n) => {
                    if !callers.is_empty() {
                        let (id, caller) = callers.swap_remove(n % callers.len());
                        drop(caller);
                        if let Some(at) = naive.queue.iter().position(|waiting| waiting.id == id) {
                            let left = naive.queue.remove(at);
                            naive.left(left, false);
                        }
                        if let Some(at) = naive.granted.iter().position(|(granted, _)| *granted == id) {
                            naive.in_use -= naive.granted.remove(at).1;
                        }
                        naive.serve();
                    }
                }
                Step::Poll(n) => {
                    if !callers.is_empty() {
                        let n = n % callers.len();
                        let id = callers[n].0;
                        match callers[n].1.poll() {
                            Poll::Pending => prop_assert!(naive.queue.iter().any(|waiting| waiting.id == id)),
                            Poll::Ready(Ok(permit)) => {
                                prop_assert!(naive.granted.iter().any(|(granted, _)| *granted == id));
                                held.push((id, permit));
                                callers.swap_remove(n);
                            }
                            Poll::Ready(Err(reason)) => {
                                prop_assert_eq!(reason, Reason::Displaced);
                                prop_assert!(naive.refused.contains(&id));
                                callers.swap_remove(n);
                            }
                        }
                    }
                }
                Step::SetLimit(limit) => {
                    gate.configure(Law::Fixed, limit);
                    naive.limit = limit;
                    naive.serve();
                }
            }
            prop_assert_eq!((gate.in_use(), gate.waiting() as usize), (naive.in_use, naive.queue.len()));
        }
        drop((held, callers));
        prop_assert!(gate.is_idle(), "everything is back");
    }
}
