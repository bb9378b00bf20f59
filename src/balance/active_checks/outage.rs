//! Which endpoints get no calls, for which reason, and the early end of that.

use std::num::NonZeroU64;

use crate::admission::registry::EndpointMode;
use crate::algorithm::balance::EjectionRecord;
use crate::balance::balancer::Balancer;
use crate::balance::config::BalanceConfig;
use crate::balance::endpoint_set::Member;
use crate::balance::endpoint_state::EndpointState;
use crate::balance::standing::Wanted;
use crate::ground::sync::lock;
use crate::ground::time::Instant;
use crate::telemetry;

/// Why an endpoint gets no calls: it is ejected, its breaker is in a break, or both. Two outages of an endpoint are not equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndpointOutage {
    /// When the ejection or the outage behind the break began.
    pub(super) since: Instant,
    ejected_at: Option<Instant>,
    /// The generation of the break.
    in_break: Option<u64>,
}

/// An endpoint that gets no calls.
#[derive(Clone, Debug)]
pub(super) struct OutEndpoint {
    pub(super) member: Member,
    pub(super) outage: EndpointOutage,
}

impl EndpointOutage {
    /// `None`: calls may use the endpoint. One that is draining or isolated gets no calls for another reason.
    fn of(member: &Member, record: &EjectionRecord, now: Instant) -> Option<Self> {
        if !may_serve(&member.state) {
            return None;
        }
        let (ejected_at, in_break) = (record.ejected_at(), member.state.breaker.current_break(now));
        let since = [ejected_at, in_break.map(|in_break| in_break.outage_since)].into_iter().flatten().min()?;
        Some(Self { since, ejected_at, in_break: in_break.map(|in_break| in_break.generation) })
    }
}

/// Whether the endpoint is in the set and neither draining nor isolated by hand.
fn may_serve(state: &EndpointState) -> bool {
    let standing = state.standing.now();
    standing.is_usable(Wanted::Any) && standing.mode() != EndpointMode::Draining
}

impl OutEndpoint {
    pub(super) fn id(&self) -> NonZeroU64 {
        self.member.state.id
    }

    /// Whether it still gets no calls, for one of the reasons.
    pub(super) fn is_still_out(&self, now: Instant) -> bool {
        let Self { member: Member { state, .. }, outage } = self;
        let is_ejected = outage.ejected_at.is_some() && state.standing.now().is_ejected();
        let in_break = || state.breaker.current_break(now).map(|in_break| in_break.generation);
        may_serve(state) && (is_ejected || outage.in_break.is_some() && outage.in_break == in_break())
    }
}

impl Balancer {
    /// The endpoints that get no calls because they are ejected or their breakers are open.
    pub(super) fn out_endpoints(&self, now: Instant) -> Vec<OutEndpoint> {
        let records = lock(&self.records);
        let set = self.set.load();
        let out = |(member, record): (&Member, &EjectionRecord)| {
            let outage = EndpointOutage::of(member, record, now)?;
            Some(OutEndpoint { member: member.clone(), outage })
        };
        set.members.iter().zip(records.iter()).filter_map(out).collect()
    }

    /// Ends this outage early, on behalf of the checks of this epoch: an ejection with a slow start, a break with probes. It changes
    /// nothing and returns `false` if the checks are superseded, the outage is over, or the endpoint has left, has another address or
    /// was moved by hand meanwhile.
    pub(super) fn end_outage(&self, epoch: u64, out: &OutEndpoint, now: Instant) -> bool {
        let settings = self.settings.read(BalanceConfig::choice);
        let OutEndpoint { member: checked, outage } = out;
        let replaced = {
            let mut records = lock(&self.records);
            if !self.active_checks.is_current(epoch) {
                return false;
            }
            let set = self.set.load();
            let is_checked = |(member, _): &(&Member, &mut EjectionRecord)| {
                member.state.id == checked.state.id && member.endpoint.address() == checked.endpoint.address()
            };
            let Some((member, record)) = set.members.iter().zip(records.iter_mut()).find(is_checked) else {
                return false;
            };
            if EndpointOutage::of(member, record, now) != Some(*outage) {
                return false;
            }
            record.is_ejected().then(|| {
                record.restore();
                member.state.restore(now);
                self.publish(set.judged(&settings, now))
            })
        };
        if let Some(generation) = outage.in_break {
            checked.state.breaker.end_break(generation, now);
        }
        if replaced.is_some() {
            drop(replaced);
            self.serve_all();
            telemetry::endpoint_restored(self.instruments(), checked.endpoint.key());
        }
        true
    }
}
