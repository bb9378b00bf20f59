//! How often a check must pass before it brings an endpoint back.
//!
//! A check may pass although calls fail: it asks for less than they do. It would bring such an endpoint back all the time, and so undo
//! ejections and breaks. Each time that an endpoint is out again soon after its return, the check must therefore pass twice as often in
//! a row. The ejection or the break still ends by itself.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use super::outage::EndpointOutage;
use crate::ground::time::Instant;

/// The check must pass this many times at most, as a power of two.
const MOST_DOUBLINGS: u32 = 10;

/// What is known of the endpoints that are out, or were so recently.
#[derive(Debug, Default)]
pub(super) struct CheckHistory {
    records: HashMap<NonZeroU64, Record>,
}

#[derive(Debug)]
struct Record {
    outage: EndpointOutage,
    /// When the endpoint was last seen out.
    seen_at: Instant,
    checked_at: Option<Instant>,
    /// Consecutive checks that passed in this outage.
    passed: u32,
    /// The checks have ended this outage.
    brought_back: bool,
    /// How often the endpoint was out again after that.
    in_vain: u32,
}

impl CheckHistory {
    /// Forgets endpoints that have left, or have not been out for this long.
    pub(super) fn forget(&mut self, is_member: impl Fn(NonZeroU64) -> bool, after: Duration, now: Instant) {
        self.records.retain(|id, record| now.since(record.seen_at) <= after && is_member(*id));
    }

    /// The endpoint is out now. Returns when it was last checked.
    pub(super) fn seen(&mut self, id: NonZeroU64, outage: EndpointOutage, now: Instant) -> Option<Instant> {
        let new = || Record { outage, seen_at: now, checked_at: None, passed: 0, brought_back: false, in_vain: 0 };
        let record = self.records.entry(id).or_insert_with(new);
        record.seen_at = now;
        if record.outage != outage {
            let in_vain = record.in_vain.saturating_add(u32::from(record.brought_back));
            *record = Record { checked_at: record.checked_at, in_vain, ..new() };
        }
        record.checked_at
    }

    /// A check of the endpoint begins.
    pub(super) fn began(&mut self, id: NonZeroU64, now: Instant) {
        if let Some(record) = self.records.get_mut(&id) {
            record.checked_at = Some(now);
        }
    }

    /// A check in this outage has ended. Returns whether it is to bring the endpoint back.
    pub(super) fn ended(&mut self, id: NonZeroU64, outage: EndpointOutage, has_passed: bool) -> bool {
        let Some(record) = self.records.get_mut(&id).filter(|record| record.outage == outage) else { return false };
        record.passed = if has_passed { record.passed.saturating_add(1) } else { 0 };
        record.passed >= 1 << record.in_vain.min(MOST_DOUBLINGS)
    }

    /// The outage was ended.
    pub(super) fn brought_back(&mut self, id: NonZeroU64) {
        if let Some(record) = self.records.get_mut(&id) {
            record.brought_back = true;
        }
    }
}
