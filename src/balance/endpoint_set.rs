//! The endpoints of a balancer at one moment. It is replaced as a whole, and calls read it without a lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::{CallLimits, ChoiceSettings};
use super::endpoint::Endpoint;
use super::endpoint_state::EndpointState;
use super::least_warmth::LeastWarmth;
use super::standing::Wanted;
use crate::admission::registry::EndpointMode;
use crate::algorithm::balance::{
    AliasTable, Candidate, Eligibility, SetLoad, SlowStart, TierHealth, TierShares, choose,
};
use crate::ground::chance;
use crate::ground::time::Instant;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;

/// How many endpoints one is compared with.
const COMPARED: usize = 16;

/// By which factor calls cost less at an endpoint that is much better. Endpoints that fail alike differ by less, for all their chance.
const MUCH_BETTER: f64 = 2.0;

/// See the module.
#[derive(Debug)]
pub(super) struct EndpointSet {
    /// How many sets were published before. Set when this one is.
    pub(super) version: u64,
    /// Changes with the members, and not with their health.
    pub(super) generation: u64,
    pub(super) members: Arc<[Member]>,
    /// They change with the members and their modes, and not with their health.
    tiers: Arc<[TierMembers]>,
    shares: TierShares,
    /// The positions of the members with an open or half-open breaker.
    pub(super) restricted: Box<[usize]>,
    /// Those of them whose tier gets no calls for that reason, although it ranks before one that does.
    pub(super) passed_over: Box<[usize]>,
    slow_start: SlowStart,
    pub(super) limits: CallLimits,
}

/// An endpoint in a set.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    pub(super) state: Arc<EndpointState>,
}

impl Member {
    /// The tier that it is in now. The standbys by hand are a tier after all others.
    pub(super) fn tier(&self) -> u16 {
        match self.state.standing.now().mode() {
            EndpointMode::Standby => u16::from(u8::MAX) + 1,
            _ => self.endpoint.tier().into(),
        }
    }
}

/// The endpoints of a tier, dense: a choice among many reads as few lines of memory as it can.
#[derive(Debug)]
struct TierMembers {
    tier: u16,
    members: Box<[TierMember]>,
    /// Their weights, in the same order.
    table: AliasTable,
    least_warmth: LeastWarmth,
}

#[derive(Debug)]
struct TierMember {
    state: Arc<EndpointState>,
    /// Its position in the set.
    position: usize,
}

/// An endpoint that is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<'a> {
    pub(super) position: usize,
    pub(super) state: &'a Arc<EndpointState>,
}

impl TierMembers {
    fn health(&self) -> TierHealth {
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let healthy = self.states().filter(|state| state.standing.now().is_healthy()).count();
        TierHealth { healthy: count(healthy), total: count(self.members.len()) }
    }

    fn states(&self) -> impl Iterator<Item = &Arc<EndpointState>> {
        self.members.iter().map(|member| &member.state)
    }

    /// The factor on the weight of an endpoint of this tier.
    #[inline]
    fn warmth(&self, state: &EndpointState, slow_start: &SlowStart, now: Instant) -> f64 {
        let warmth = state.warmth(slow_start, now);
        if warmth < 1.0 { warmth.max(self.least_warmth(slow_start, now)) } else { warmth }
    }

    fn least_warmth(&self, slow_start: &SlowStart, now: Instant) -> f64 {
        let states = self.states().enumerate();
        let endpoints = states.map(|(i, state)| (self.table.weight(i), state.warmth(slow_start, now)));
        self.least_warmth.get(slow_start, now, endpoints)
    }

    /// The endpoints of the tier from this position of the set on, and then those before it; not the one that is there.
    fn others(&self, position: usize) -> impl Iterator<Item = Chosen<'_>> {
        let (before, after) = self.members.split_at(self.members.partition_point(|member| member.position <= position));
        let others = after.iter().chain(before).filter(move |member| member.position != position);
        others.map(|TierMember { state, position }| Chosen { position: *position, state })
    }
}

/// What a choice is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChoiceFor<'a> {
    pub(super) wanted: Wanted,
    pub(super) now: Instant,
    pub(super) load: &'a SetLoad,
    /// The endpoints of earlier attempts.
    pub(super) attempted: Option<&'a AttemptedEndpoints>,
    /// Only endpoints whose breaker lets all calls pass.
    pub(super) closed_only: bool,
}

impl EndpointSet {
    /// The set of a balancer that has none yet.
    pub(super) fn empty(settings: &ChoiceSettings) -> Self {
        Self::of_members(0, Arc::new([]), settings)
    }

    /// A set of these members, in the tiers that they have now.
    fn of_members(generation: u64, members: Arc<[Member]>, settings: &ChoiceSettings) -> Self {
        let mut positions = BTreeMap::<u16, Vec<usize>>::new();
        for (i, member) in members.iter().enumerate() {
            positions.entry(member.tier()).or_default().push(i);
        }
        let weight = |i: &usize| members.get(*i).map_or(0.0, |member| member.endpoint.weight());
        let member = |position: usize| {
            members.get(position).map(|member| TierMember { state: Arc::clone(&member.state), position })
        };
        let tiers = positions.into_iter().map(|(tier, positions)| TierMembers {
            tier,
            table: AliasTable::new(positions.iter().map(weight)),
            members: positions.into_iter().filter_map(member).collect(),
            least_warmth: LeastWarmth::new(),
        });
        let tiers = tiers.collect();
        Self::of_tiers(generation, members, tiers, settings)
    }

    fn of_tiers(generation: u64, members: Arc<[Member]>, tiers: Arc<[TierMembers]>, settings: &ChoiceSettings) -> Self {
        let health: Vec<_> = tiers.iter().map(TierMembers::health).collect();
        let shares = settings.overprovisioning.shares(&health);
        let is_restricted =
            |i: &usize| members.get(*i).is_some_and(|member| member.state.standing.now().is_restricted());
        let passed_over = shares.passed_over().filter_map(|tier| tiers.get(tier));
        Self {
            version: 0,
            generation,
            restricted: (0..members.len()).filter(is_restricted).collect(),
            passed_over: passed_over
                .flat_map(|tier| &tier.members)
                .map(|member| member.position)
                .filter(is_restricted)
                .collect(),
            slow_start: settings.slow_start,
            limits: settings.limits,
            tiers,
            shares,
            members,
        }
    }

    /// Other members, in their tiers.
    pub(super) fn with_members(&self, members: Arc<[Member]>, settings: &ChoiceSettings, now: Instant) -> Self {
        Self::of_members(self.generation + 1, members, settings).after(self, now)
    }

    /// The same members, after their health or the settings have changed.
    pub(super) fn judged(&self, settings: &ChoiceSettings, now: Instant) -> Self {
        Self::of_tiers(self.generation, Arc::clone(&self.members), Arc::clone(&self.tiers), settings).after(self, now)
    }

    /// The same members, after their modes have changed.
    pub(super) fn with_new_modes(&self, settings: &ChoiceSettings, now: Instant) -> Self {
        Self::of_members(self.generation, Arc::clone(&self.members), settings).after(self, now)
    }

    /// This set after another one: calls that moved to worse tiers return slowly.
    fn after(self, before: &Self, now: Instant) -> Self {
        let ranks = |tier: usize| {
            let tier = self.tiers.get(tier)?.tier;
            before.tiers.partition_point(|former| former.tier <= tier).checked_sub(1)
        };
        Self { shares: self.shares.after(&before.shares, ranks, &self.slow_start, now), ..self }
    }

    /// Shows the endpoints whether their tier panics.
    pub(super) fn mark_panics(&self) {
        for (i, tier) in self.tiers.iter().enumerate() {
            let panics = self.shares.panics(i);
            tier.states().for_each(|state| state.standing.set_panicking(panics));
        }
    }

    #[inline]
    pub(super) fn get(&self, i: usize) -> Option<&Member> {
        self.members.get(i)
    }

    /// The endpoint at this position.
    pub(super) fn at(&self, position: usize) -> Option<Chosen<'_>> {
        self.get(position).map(|member| Chosen { position, state: &member.state })
    }

    /// How many calls run at once, over the endpoints that take waiting calls.
    pub(super) fn capacity(&self) -> u32 {
        let limits = self.serving().map(|member| member.state.limit(self.limits.max_concurrent));
        limits.fold(0, u32::saturating_add).max(1)
    }

    /// A usable endpoint with a free permit. Takes constant time unless hardly any endpoint has one, or the call has
    /// tried those of its tier.
    pub(super) fn choose(&self, choice: ChoiceFor<'_>) -> Option<Chosen<'_>> {
        let chosen = self.choose_by_tier(choice)?;
        let is_untried = is_untried(chosen.state, choice);
        // An untried endpoint of another tier is better than one that has failed this call: a dead one always has free permits.
        Some(if is_untried { chosen } else { self.choose_untried(choice).unwrap_or(chosen) })
    }

    /// Whether an endpoint of this set is on the list.
    pub(super) fn has_any_of(&self, attempted: &AttemptedEndpoints) -> bool {
        self.members.iter().any(|member| attempted.contains(member.state.id))
    }

    /// A usable endpoint with a free permit that the call has not tried, in a tier that gets calls now.
    pub(super) fn choose_other(&self, choice: ChoiceFor<'_>) -> Option<Chosen<'_>> {
        let tier =
            self.shares.only(choice.now).or_else(|| self.shares.choose(|_| true, chance::sample(), choice.now))?.tier;
        self.choose_within(tier, choice).filter(|chosen| is_untried(chosen.state, choice))
    }

    /// An endpoint of any tier that the call has not tried.
    #[cold]
    fn choose_untried(&self, choice: ChoiceFor<'_>) -> Option<Chosen<'_>> {
        let has_untried = |tier: usize| {
            let mut states = self.tiers.get(tier).into_iter().flat_map(TierMembers::states);
            states.any(|state| is_untried(state, choice) && self.is_free(state, choice))
        };
        let other = self.shares.choose(has_untried, chance::sample(), choice.now)?;
        self.choose_within(other.tier, choice)
    }

    fn choose_by_tier(&self, choice: ChoiceFor<'_>) -> Option<Chosen<'_>> {
        if choice.wanted != Wanted::Healthy {
            return (0..self.tiers.len()).find_map(|tier| self.choose_within(tier, choice));
        }
        if let Some(only) = self.shares.only(choice.now) {
            if let Some(chosen) = self.choose_within(only.tier, choice) {
                return Some(chosen);
            }
        } else {
            let drawn = self.shares.choose(|_| true, chance::sample(), choice.now)?;
            if let Some(chosen) = self.choose_within(drawn.tier, choice) {
                return Some(chosen);
            }
        }
        // The tier has none. To find one that has, all endpoints are looked at.
        let has_capacity = |tier: usize| {
            let mut states = self.tiers.get(tier).into_iter().flat_map(TierMembers::states);
            states.any(|state| self.is_free(state, choice))
        };
        let other = self.shares.choose(has_capacity, chance::sample(), choice.now)?;
        self.choose_within(other.tier, choice)
    }

    fn choose_within(&self, tier: usize, choice: ChoiceFor<'_>) -> Option<Chosen<'_>> {
        let tier = self.tiers.get(tier)?;
        let candidate = |i: usize| Some(self.candidate(tier, &tier.members.get(i)?.state, choice));
        let chosen = choose(&tier.table, choice.load, choice.now, candidate, chance::sample)?;
        tier.members.get(chosen).map(|TierMember { state, position }| Chosen { position: *position, state })
    }

    #[inline]
    fn candidate<'a>(&self, tier: &TierMembers, state: &'a EndpointState, choice: ChoiceFor<'_>) -> Candidate<'a> {
        let eligibility = match self.is_free(state, choice) {
            false => Eligibility::Unusable,
            true if !is_untried(state, choice) => Eligibility::Attempted,
            true => Eligibility::Preferred,
        };
        Candidate { load: &state.load, eligibility, warmth: tier.warmth(state, &self.slow_start, choice.now) }
    }

    /// Whether a call may use this endpoint now.
    #[inline]
    pub(super) fn is_free(&self, state: &EndpointState, choice: ChoiceFor<'_>) -> bool {
        self.has_permit(state, choice.now) && self.is_usable(state, choice)
    }

    #[inline]
    pub(super) fn has_permit(&self, state: &EndpointState, now: Instant) -> bool {
        state.has_permit(self.limits.max_concurrent, now)
    }

    /// Whether a call may use this endpoint now, apart from its permits.
    #[inline]
    pub(super) fn is_usable(&self, state: &EndpointState, choice: ChoiceFor<'_>) -> bool {
        let standing = state.standing.now();
        let is_refused = || {
            (choice.closed_only || state.breaker.refuses_until(choice.now).is_some())
                && !(choice.wanted == Wanted::Unreachable && state.breaker.is_unreachable())
        };
        standing.is_usable(choice.wanted) && !(standing.is_restricted() && is_refused())
    }

    /// Whether a call that waits gets a permit of an endpoint, sooner or later.
    pub(super) fn serves(&self, wanted: Wanted) -> bool {
        self.members.iter().any(|member| member.state.serves(wanted))
    }

    /// Whether a call that waits gets a permit of a healthy endpoint that is not on this list, sooner or later.
    pub(super) fn serves_others(&self, attempted: &AttemptedEndpoints) -> bool {
        self.others_than(attempted).next().is_some()
    }

    /// How many calls run at once at healthy endpoints that are not on this list. `None`: there are none, or the list has no endpoint of
    /// this set.
    pub(super) fn capacity_of_others(&self, attempted: &AttemptedEndpoints) -> Option<u32> {
        let limits = self.others_than(attempted).map(|state| state.limit(self.limits.max_concurrent));
        self.has_any_of(attempted).then(|| limits.reduce(u32::saturating_add))?
    }

    fn others_than(&self, attempted: &AttemptedEndpoints) -> impl Iterator<Item = &Arc<EndpointState>> {
        let states = self.members.iter().map(|member| &member.state);
        states.filter(|state| !attempted.contains(state.id) && state.serves(Wanted::Healthy))
    }

    /// Whether an endpoint that the call has not tried is free.
    pub(super) fn has_other(&self, choice: ChoiceFor<'_>) -> bool {
        self.choose(choice).is_some_and(|chosen| is_untried(chosen.state, choice))
    }

    /// Whether calls cost much less at most other endpoints. Some of them are looked at.
    pub(super) fn others_do_better(&self, state: &EndpointState, now: Instant) -> bool {
        let Some(own) = state.load.last_cost(now) else { return false };
        let start = (chance::sample() * self.members.len() as f64) as usize;
        let (before, after) = self.members.split_at(start.min(self.members.len()));
        let others = after
            .iter()
            .chain(before)
            .take(COMPARED)
            .filter(|other| other.state.id != state.id && other.state.serves(Wanted::Healthy));
        let costs = others.filter_map(|other| other.state.load.last_cost(now));
        let (better, known) =
            costs.fold((0, 0), |(better, known), cost| (better + usize::from(cost * MUCH_BETTER < own), known + 1));
        better > 0 && 2 * better >= known
    }

    /// The best kind of endpoint from which a waiting call gets a permit, sooner or later.
    pub(super) fn serves_best(&self) -> Option<Wanted> {
        Wanted::ALL.into_iter().find(|wanted| self.serves(*wanted))
    }

    /// The endpoints that take waiting calls. A half-open one does not: calls that look at it themselves are its probes.
    pub(super) fn serving(&self) -> impl Iterator<Item = &Member> {
        let wanted = self.serves_best();
        self.members.iter().filter(move |member| wanted.is_some_and(|wanted| member.state.serves(wanted)))
    }

    /// When the first breaker that is open lets a call pass, as far as time alone decides.
    pub(super) fn next_probe(&self, now: Instant) -> Option<Instant> {
        self.members.iter().filter_map(|member| member.state.breaker.refuses_until(now)).min()
    }

    /// The other endpoints: those of its tier, and then those of the other tiers in their order. Within a tier the first one is that
    /// after the position, so that calls which find it taken do not all go to one endpoint.
    pub(super) fn others(&self, position: usize) -> impl Iterator<Item = Chosen<'_>> {
        let is_own = move |tier: &&TierMembers| tier.members.iter().any(|member| member.position == position);
        let rest = self.tiers.iter().filter(move |tier| !is_own(tier));
        self.tiers.iter().filter(is_own).chain(rest).flat_map(move |tier| tier.others(position))
    }
}

/// Whether no earlier attempt of the call was at this endpoint.
#[inline]
fn is_untried(state: &EndpointState, choice: ChoiceFor<'_>) -> bool {
    !choice.attempted.is_some_and(|attempted| attempted.contains(state.id))
}
