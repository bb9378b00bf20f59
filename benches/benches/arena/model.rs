//! An independent model of one server, by a heap of events and without tokio: unprotected, to check the arena, and as well as it can be
//! done, for the optimum.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::clock::Ms;
use crate::drive::Record;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A slot's work for an attempt has ended.
    Served { call: usize, attempt: u32 },
    /// A call begins.
    Arrival { call: usize },
    /// The timeout of an attempt.
    TimedOut { call: usize, attempt: u32 },
}

/// What the callers want.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) slots: usize,
    pub(crate) attempts: u32,
    pub(crate) attempt_timeout: Option<Ms>,
    /// The end of the run.
    pub(crate) until: Ms,
}

/// What happens to one server with a queue in order of arrival, if every attempt that times out is made again at once. Returns how the
/// calls went, and how many attempts there were. `service` is the time of an attempt (call, number of the attempt) that starts at an
/// instant.
pub(crate) fn unprotected(
    arrivals: &[Ms],
    wants: Wants,
    mut service: impl FnMut(usize, u32, Ms) -> Ms,
) -> (Vec<Record>, usize) {
    let mut records: Vec<_> = arrivals.iter().map(|at| Record::new(*at)).collect();
    // The number of the attempt that a call waits for; attempts of lower numbers have been given up.
    let mut current = vec![0; arrivals.len()];
    let mut events: BinaryHeap<_> =
        arrivals.iter().enumerate().map(|(call, at)| Reverse((*at, Event::Arrival { call }))).collect();
    let (mut queue, mut free, mut attempts) = (VecDeque::new(), wants.slots, 0);
    while let Some(Reverse((now, event))) = events.pop() {
        if now > wants.until {
            break;
        }
        let (call, attempt) = match event {
            Event::Served { call, attempt } => {
                free += 1;
                if current[call] == attempt && records[call].end.is_none() {
                    (records[call].end, records[call].succeeded) = (Some(now), true);
                }
                (call, None)
            }
            Event::Arrival { call } => (call, Some(0)),
            Event::TimedOut { call, attempt } if current[call] == attempt && records[call].end.is_none() => {
                if attempt + 1 == wants.attempts {
                    current[call] = wants.attempts;
                    records[call].end = Some(now);
                    (call, None)
                } else {
                    (call, Some(attempt + 1))
                }
            }
            Event::TimedOut { .. } => continue,
        };
        if let Some(attempt) = attempt {
            attempts += 1;
            current[call] = attempt;
            queue.push_back((call, attempt));
            if let Some(timeout) = wants.attempt_timeout {
                events.push(Reverse((now + timeout, Event::TimedOut { call, attempt })));
            }
        }
        while free > 0 {
            let Some((call, attempt)) = queue.pop_front() else { break };
            if current[call] == attempt {
                free -= 1;
                events.push(Reverse((now + service(call, attempt, now), Event::Served { call, attempt })));
            }
        }
    }
    (records, attempts)
}

/// A call of the optimum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) at: Ms,
    /// The latest useful end.
    pub(crate) deadline: Ms,
    /// Higher classes are served first.
    pub(crate) class: u32,
}

/// Which calls the best server would answer in time: no slot is idle while a call waits, none works for a call that will not end in time,
/// higher classes come first, and refusals cost nothing. Within a class the latest call comes first: in overload it is as good as any, and
/// has the most time left, so the choice hardly favours short calls, whose length nobody can know.
pub(crate) fn optimum(offers: &[Offer], slots: usize, service: impl Fn(usize, Ms) -> Ms) -> Vec<bool> {
    let mut answered = vec![false; offers.len()];
    let mut waiting: Vec<Vec<usize>> = Vec::new();
    let mut ends = BinaryHeap::new();
    let mut next = 0;
    let mut now;
    loop {
        let arrival = offers.get(next).map(|offer| offer.at);
        let end = ends.peek().map(|Reverse(end)| *end);
        match (arrival, end) {
            (Some(arrival), end) if end.is_none_or(|end| arrival < end) => {
                now = arrival;
                let class = offers[next].class as usize;
                if waiting.len() <= class {
                    waiting.resize(class + 1, Vec::new());
                }
                waiting[class].push(next);
                next += 1;
            }
            (_, Some(end)) => {
                now = end;
                ends.pop();
            }
            _ => return answered,
        }
        while ends.len() < slots {
            let Some(call) = waiting.iter_mut().rev().find_map(Vec::pop) else { break };
            let end = now + service(call, now);
            if end <= offers[call].deadline {
                answered[call] = true;
                ends.push(Reverse(end));
            }
        }
    }
}
