//! The endpoints of a balancer at one moment. It is replaced as a whole, and calls read it without a lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::ChoiceSettings;
use super::endpoint::Endpoint;
use super::endpoint_state::EndpointState;
use crate::algorithm::balance::{
    AliasTable, Candidate, Eligibility, SetLoad, SlowStart, TierHealth, TierShares, choose,
};
use crate::ground::chance;
use crate::ground::time::Instant;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;

/// See the module.
#[derive(Debug)]
pub(super) struct EndpointSet {
    /// Changes with the members, and not with their health.
    pub(super) generation: u64,
    pub(super) members: Arc<[Member]>,
    tiers: Arc<[TierMembers]>,
    shares: TierShares,
    slow_start: SlowStart,
}

/// An endpoint in a set.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    pub(super) state: Arc<EndpointState>,
}

#[derive(Debug)]
struct TierMembers {
    /// Positions in the set.
    members: Box<[usize]>,
    /// Their weights, in the same order.
    table: AliasTable,
}

/// What a call needs of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A permit that is free now.
    FreePermit,
    /// A breaker that lets calls pass. The call waits for a permit.
    Permit,
    /// The same, of an ejected endpoint too: to be slow or unreliable is better than nothing.
    AnyPermit,
}

impl Wanted {
    /// In the order of preference.
    pub(super) const ALL: [Self; 3] = [Self::FreePermit, Self::Permit, Self::AnyPermit];
}

impl EndpointSet {
    /// A set with other members.
    pub(super) fn new(generation: u64, members: Vec<Member>, settings: &ChoiceSettings) -> Self {
        let mut tiers = BTreeMap::<u8, Vec<usize>>::new();
        for (i, member) in members.iter().enumerate() {
            tiers.entry(member.endpoint.tier()).or_default().push(i);
        }
        let weight = |i: &usize| members.get(*i).map_or(0.0, |member| member.endpoint.weight());
        let tiers = tiers.into_values().map(|positions| TierMembers {
            table: AliasTable::new(positions.iter().map(weight)),
            members: positions.into(),
        });
        let tiers = tiers.collect();
        Self {
            generation,
            members: members.into(),
            tiers,
            shares: TierShares::default(),
            slow_start: settings.slow_start,
        }
        .judged(settings)
    }

    /// The same members, after their health or the settings have changed.
    pub(super) fn judged(&self, settings: &ChoiceSettings) -> Self {
        let health = |tier: &TierMembers| {
            let healthy =
                tier.members.iter().filter(|i| self.get(**i).is_some_and(|member| !member.state.is_ejected()));
            let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
            TierHealth { healthy: count(healthy.count()), total: count(tier.members.len()) }
        };
        let health: Vec<_> = self.tiers.iter().map(health).collect();
        Self {
            generation: self.generation,
            members: Arc::clone(&self.members),
            tiers: Arc::clone(&self.tiers),
            shares: settings.overprovisioning.shares(&health),
            slow_start: settings.slow_start,
        }
    }

    #[inline]
    pub(super) fn get(&self, i: usize) -> Option<&Member> {
        self.members.get(i)
    }

    /// The position of an endpoint that has what is wanted. Takes constant time unless hardly any endpoint has.
    pub(super) fn choose(
        &self,
        wanted: Wanted,
        load: &SetLoad,
        now: Instant,
        attempted: Option<&AttemptedEndpoints>,
    ) -> Option<usize> {
        let within = |tier: usize, panics: bool| self.choose_within(tier, panics, wanted, load, now, attempted);
        if wanted == Wanted::AnyPermit {
            return (0..self.tiers.len()).find_map(|tier| within(tier, true));
        }
        let drawn = self.shares.choose(|_| true, chance::sample())?;
        within(drawn.tier, drawn.panics).or_else(|| {
            // The tier has none. To find one that has, all endpoints are looked at.
            let has_capacity = |tier: usize| {
                let members = self.tiers.get(tier).map_or(&[][..], |tier| &tier.members);
                members.iter().any(|i| self.has(*i, wanted, false, now))
            };
            let other = self.shares.choose(has_capacity, chance::sample())?;
            within(other.tier, other.panics)
        })
    }

    fn choose_within(
        &self,
        tier: usize,
        panics: bool,
        wanted: Wanted,
        load: &SetLoad,
        now: Instant,
        attempted: Option<&AttemptedEndpoints>,
    ) -> Option<usize> {
        let tier = self.tiers.get(tier)?;
        let candidate = |i: usize| self.candidate(*tier.members.get(i)?, panics, wanted, now, attempted);
        let chosen = choose(&tier.table, load, now, candidate, chance::sample)?;
        tier.members.get(chosen).copied()
    }

    #[inline]
    fn candidate(
        &self,
        i: usize,
        panics: bool,
        wanted: Wanted,
        now: Instant,
        attempted: Option<&AttemptedEndpoints>,
    ) -> Option<Candidate<'_>> {
        let state = &self.get(i)?.state;
        let eligibility = match self.has(i, wanted, panics, now) {
            false => Eligibility::Unusable,
            true if attempted.is_some_and(|attempted| attempted.contains(state.id)) => Eligibility::Attempted,
            true => Eligibility::Preferred,
        };
        Some(Candidate { load: &state.load, eligibility, warmth: state.warmth(&self.slow_start, now) })
    }

    /// Whether this endpoint has what is wanted. In a `panic` ejections do not count.
    #[inline]
    pub(super) fn has(&self, i: usize, wanted: Wanted, panics: bool, now: Instant) -> bool {
        let Some(Member { state, .. }) = self.get(i) else { return false };
        let ejection_counts = wanted != Wanted::AnyPermit && !panics;
        !(ejection_counts && state.is_ejected())
            && state.breaker.refuses_until(now).is_none()
            && (wanted != Wanted::FreePermit || !state.bulkhead.is_full())
    }

    /// The positions of the other endpoints: those of the same tier first.
    pub(super) fn others(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        let number = self.members.len();
        let tier = move |i: usize| self.get(i).map(|member| member.endpoint.tier());
        let after = move || (1..number).map(move |step| (i + step) % number);
        after().filter(move |other| tier(*other) == tier(i)).chain(after().filter(move |other| tier(*other) != tier(i)))
    }
}
