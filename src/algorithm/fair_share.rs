//! Who is served next when several tenants wait: each in turn, however many calls one of them has.
//!
//! Every waiting call belongs to a round, and rounds are served one after the other. The first call of a tenant belongs to the present
//! round, its second to the next one, and so on. So a tenant with a thousand calls waits for itself, and a tenant with one call is
//! served in the present round. This is start-time fair queueing with calls of equal size (Goyal, Vin and Cheng, "Start-time Fair
//! Queuing", 1996).
//!
//! A call without a tenant always belongs to the present round: where no call has a tenant, they are served in the order in which they
//! came.
//!
//! Only tenants with waiting calls are remembered.

use std::collections::HashMap;
use std::hash::Hash;

/// See the module. `T` identifies a tenant.
#[derive(Debug)]
pub(crate) struct FairShare<T> {
    /// The round of the call that was served last.
    present: u64,
    tenants: HashMap<T, Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    calls: u32,
    /// The round of the next call.
    next: u64,
}

impl<T> Default for FairShare<T> {
    fn default() -> Self {
        Self { present: 0, tenants: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash> FairShare<T> {
    /// The round of a new call.
    pub(crate) fn next(&self, tenant: Option<T>) -> u64 {
        let waiting = tenant.and_then(|tenant| self.tenants.get(&tenant));
        waiting.map_or(self.present, |waiting| waiting.next.max(self.present))
    }

    /// The call waits, in this round.
    pub(crate) fn enter(&mut self, tenant: Option<T>, round: u64) {
        let Some(tenant) = tenant else { return };
        let waiting = self.tenants.entry(tenant).or_insert(Waiting { calls: 0, next: 0 });
        waiting.calls += 1;
        waiting.next = round + 1;
    }

    /// A call of this round no longer waits.
    pub(crate) fn leave(&mut self, tenant: Option<T>, round: u64) {
        let Some(tenant) = tenant else { return };
        if let Some(waiting) = self.tenants.get_mut(&tenant) {
            waiting.calls -= 1;
            // It was the tenant's last call, and had nothing: calls that are refused must not delay those that come later.
            if waiting.next == round + 1 {
                waiting.next = round;
            }
            if waiting.calls == 0 {
                self.tenants.remove(&tenant);
            }
        }
    }

    /// A call of this round is served.
    pub(crate) fn serve(&mut self, round: u64) {
        self.present = self.present.max(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(share: &mut FairShare<u32>, tenant: Option<u32>) -> u64 {
        let round = share.next(tenant);
        share.enter(tenant, round);
        round
    }

    #[test]
    fn each_call_of_a_tenant_belongs_to_a_later_round() {
        let mut share = FairShare::default();
        let rounds: Vec<u64> = (0..4).map(|_| enter(&mut share, Some(1))).collect();
        assert_eq!(rounds, [0, 1, 2, 3]);
        assert_eq!(enter(&mut share, Some(2)), 0, "the second tenant waits for one call of the first");
        assert_eq!([enter(&mut share, None), enter(&mut share, None)], [0, 0]);
        share.serve(2);
        assert_eq!([enter(&mut share, Some(1)), enter(&mut share, Some(3)), enter(&mut share, None)], [4, 2, 2]);
    }

    #[test]
    fn refused_calls_do_not_delay_later_ones() {
        let mut share = FairShare::default();
        let rounds = [(); 3].map(|()| enter(&mut share, Some(1)));
        assert_eq!(rounds, [0, 1, 2]);
        share.leave(Some(1), 2);
        assert_eq!(enter(&mut share, Some(1)), 2);
        share.leave(Some(1), 0);
        assert_eq!(enter(&mut share, Some(1)), 3, "the first one was served");
    }

    #[test]
    fn tenant_without_waiting_calls_is_forgotten() {
        let mut share = FairShare::default();
        let rounds = [(); 3].map(|()| enter(&mut share, Some(1)));
        rounds.into_iter().for_each(|round| share.leave(Some(1), round));
        assert!(share.tenants.is_empty());
        assert_eq!(enter(&mut share, Some(1)), 0, "calls that left have had nothing");
    }
}
