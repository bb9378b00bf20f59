//! The gate against a naive model of it.

use proptest::prelude::*;

use super::*;
use crate::algorithm::limit::Law;

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { weight: u32, priority: u8 },
    GiveBack(usize),
    GiveUp(usize),
    Poll(usize),
    SetLimit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..5u32, 0..3u8).prop_map(|(weight, priority)| Step::Ask { weight, priority }),
        3 => any::<usize>().prop_map(Step::GiveBack),
        1 => any::<usize>().prop_map(Step::GiveUp),
        3 => any::<usize>().prop_map(Step::Poll),
        1 => (1..8u32).prop_map(Step::SetLimit),
    ]
}

/// The simplest implementation of the gate.
#[derive(Default)]
struct Naive {
    limit: u32,
    max_waiting: usize,
    lifo: bool,
    in_use: u32,
    /// Identity, weight, priority; the head first.
    queue: Vec<(usize, u32, Priority)>,
    granted: Vec<(usize, u32)>,
    refused: Vec<usize>,
}

impl Naive {
    fn serve(&mut self) {
        while let Some(&(id, weight, _)) = self.queue.first() {
            let weight = weight.min(self.limit);
            if self.in_use + weight > self.limit {
                return;
            }
            self.in_use += weight;
            self.queue.remove(0);
            self.granted.push((id, weight));
        }
    }

    fn admit(&mut self, id: usize, weight: u32, priority: Priority) {
        let fits = self.queue.is_empty() && self.in_use + weight.min(self.limit) <= self.limit;
        let behind = |&(_, _, theirs): &(usize, u32, Priority)| theirs < priority || theirs == priority && self.lifo;
        let at = self.queue.iter().position(behind).unwrap_or(self.queue.len());
        self.queue.insert(at, (id, weight, priority));
        if !fits && self.queue.len() > self.max_waiting {
            let (last, ..) = self.queue.pop().unwrap();
            self.refused.push(last);
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
                Step::Ask { weight, priority } => {
                    let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(priority)];
                    let wanted = PermitRequest { priority, ..wanted(weight) };
                    naive.admit(id, weight, priority);
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
                        naive.queue.retain(|(waiting, ..)| *waiting != id);
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
                            Poll::Pending => prop_assert!(naive.queue.iter().any(|(waiting, ..)| *waiting == id)),
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
