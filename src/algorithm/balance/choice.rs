//! Which endpoint gets a call: the better of two that are drawn by weight.
//!
//! Two choices are enough to keep the longest queue short (Mitzenmacher, 2001), and they keep clients from all picking the one
//! endpoint that looked best a moment ago. What makes one better is not a sum of load and latency, because any such mix loses to the
//! lexicographic rule (Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI'24):
//!
//! 1. An endpoint is *hot* if its load, the calls in flight there by effective weight, is above a quantile of recent loads of the set; else
//!    it is cold. Cold beats hot.
//! 2. Of two cold ones the cheaper wins (see [`load`](super::load)), of two hot ones the less loaded.
//!
//! Four additions:
//!
//! - Costs within a factor of [`SAME_COST`] are equal, and then the load decides, then the first draw. Estimates are noisy: without the
//!   tolerance the endpoint with the luckiest estimate attracts calls until it is hot. In the simulation of the tests, at 90 % load with
//!   one client, strict comparison doubles the median latency.
//! - Against a heavier endpoint, the second draw is less loaded only if it stays no more loaded, even with this call. Calls in flight
//!   are whole numbers: an endpoint of weight 3 with one call in flight is no reason to prefer an idle endpoint of weight 1. Between
//!   equal weights this is the plain comparison, also of reported loads, which are no whole numbers.
//! - An endpoint whose calls cost [`OUTLYING`] times the average of the set loses against hot ones too. Otherwise an endpoint that
//!   fails at once would be cold forever and take every call whose other candidate is hot. The average is over calls: if the rest of
//!   the set is really overloaded, its cost rises, and the endpoint is used again.
//! - An unknown cost is equal to any other, so a new or forgotten endpoint gets calls.
//!
//! If endpoints are otherwise equal the first draw wins, so calls are spread exactly by weight.

use super::alias::AliasTable;
use super::load::{EndpointLoad, SetLoad};
use crate::ground::time::Instant;

/// Costs up to this ratio are equal. A call that fails one time in twenty costs as much more.
const SAME_COST: f64 = 1.5;

/// See the module.
const OUTLYING: f64 = 4.0;

/// Draws by weight, and then uniform draws, before the whole set is searched. With half of the set usable, one call in 256 goes on
/// after eight draws.
const DRAWS: usize = 8;

/// In a set of this size a search costs less than draws that find the first endpoint again.
const SMALL_SET: usize = 4;

/// What a choice needs to know of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) load: &'a EndpointLoad,
    pub(crate) eligibility: Eligibility,
    /// The factor on its weight in `0.0..=1.0`, which is less than 1 during slow start.
    pub(crate) warmth: f64,
}

/// Whether an endpoint may get a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eligibility {
    Preferred,
    /// Only if no endpoint is preferred: the call has been there.
    Attempted,
    /// It is ejected, full, draining, or its breaker is open.
    Unusable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Cold,
    Hot,
    Outlying,
}

#[derive(Clone, Copy, Debug)]
struct Drawn<'a> {
    endpoint: usize,
    candidate: Candidate<'a>,
    /// The effective weight, relative to the mean of the set.
    weight: f64,
    /// Permits in use by effective weight, and what is [reported](super::reported_load) of those of other clients.
    load: f64,
}

/// Chooses among the endpoints of `table`, which `candidate` describes if they exist; `chance` draws samples in `0.0..1.0`. `None` if none is usable.
///
/// Takes constant time and does not allocate. It is linear in the set only when hardly any endpoint is preferred.
pub(crate) fn choose<'a>(
    table: &AliasTable,
    set: &SetLoad,
    now: Instant,
    candidate: impl Fn(usize) -> Option<Candidate<'a>>,
    mut chance: impl FnMut() -> f64,
) -> Option<usize> {
    let pool = Pool { table, set, now, candidate };
    // The fallback is exact: if few endpoints are preferred, weights still hold among them.
    let first = pool
        .draw(2 * DRAWS, None, AliasTable::draw, &mut chance)
        .or_else(|| pool.search(Eligibility::Preferred, None, &mut chance))
        .or_else(|| pool.search(Eligibility::Attempted, None, &mut chance))?;
    let but = Some(first.endpoint);
    let second = if first.candidate.eligibility == Eligibility::Preferred {
        // One endpoint may have nearly all of the weight. Its rival is then drawn uniformly.
        let draws = if table.len() <= SMALL_SET { 0 } else { DRAWS };
        pool.draw(draws, but, AliasTable::draw, &mut chance)
            .or_else(|| pool.draw(draws, but, AliasTable::uniform, &mut chance))
            .or_else(|| pool.search(Eligibility::Preferred, but, &mut chance))
    } else {
        pool.search(Eligibility::Attempted, but, &mut chance)
    };
    let Some(second) = second else { return Some(first.endpoint) };
    // The first has been drawn with its warmth. The second may be the only other one, and would start with half of the calls.
    let warmth = second.candidate.warmth;
    let is_better = second.beats(&first, set, now) && (warmth >= 1.0 || chance() < warmth);
    let better = if is_better { second.endpoint } else { first.endpoint };
    // One of the two is enough, and the first is drawn by weight.
    set.observe(first.load);
    Some(better)
}

struct Pool<'t, F> {
    table: &'t AliasTable,
    set: &'t SetLoad,
    now: Instant,
    candidate: F,
}

impl<'a, F: Fn(usize) -> Option<Candidate<'a>>> Pool<'_, F> {
    /// The endpoint as it is now, if it has any weight.
    #[inline]
    fn get(&self, endpoint: usize) -> Option<Drawn<'a>> {
        let candidate = (self.candidate)(endpoint)?;
        let full = self.table.weight(endpoint);
        let weight = full * candidate.warmth.clamp(0.0, 1.0);
        // Other clients know nothing of its warmth here.
        let others = candidate.load.reported_above_average(self.now, self.set) / full;
        let load = f64::from(candidate.load.taken()) / weight + others;
        (weight > 0.0).then_some(Drawn { endpoint, candidate, weight, load })
    }

    /// Up to so many draws of a preferred endpoint. A draw is accepted with the probability of the endpoint's warmth: the table need
    /// not be rebuilt while an endpoint warms up.
    fn draw(
        &self,
        draws: usize,
        but: Option<usize>,
        draw: impl Fn(&AliasTable, f64) -> Option<usize>,
        chance: &mut impl FnMut() -> f64,
    ) -> Option<Drawn<'a>> {
        for _ in 0..draws {
            let endpoint = draw(self.table, chance())?;
            if but == Some(endpoint) {
                continue;
            }
            let Some(drawn) = self.get(endpoint) else { continue };
            let Candidate { eligibility, warmth, .. } = drawn.candidate;
            if eligibility == Eligibility::Preferred && (warmth >= 1.0 || chance() < warmth) {
                return Some(drawn);
            }
        }
        None
    }

    /// A draw by effective weight among all endpoints of this eligibility.
    fn search(
        &self,
        eligibility: Eligibility,
        but: Option<usize>,
        chance: &mut impl FnMut() -> f64,
    ) -> Option<Drawn<'a>> {
        let eligible = || {
            let others = (0..self.table.len()).filter(|endpoint| Some(*endpoint) != but);
            others.filter_map(|endpoint| self.get(endpoint)).filter(|drawn| drawn.candidate.eligibility == eligibility)
        };
        let sum: f64 = eligible().map(|drawn| drawn.weight).sum();
        let mut rest = sum * chance();
        // Endpoints can change between the two passes, and sums are rounded: the last one stands in.
        let mut last = None;
        for drawn in eligible() {
            rest -= drawn.weight;
            last = Some(drawn);
            if rest < 0.0 {
                break;
            }
        }
        last
    }
}

impl Drawn<'_> {
    fn beats(&self, first: &Self, set: &SetLoad, now: Instant) -> bool {
        let (mean, hot_above) = (set.mean_cost(), set.hot_above());
        let (own, other) = (self.candidate.load.cost(now, mean), first.candidate.load.cost(now, mean));
        let standing = |cost: Option<f64>, load: f64| match (cost, mean) {
            (Some(cost), Some(mean)) if cost > OUTLYING * mean => Standing::Outlying,
            _ if load > hot_above => Standing::Hot,
            _ => Standing::Cold,
        };
        let (own_standing, other_standing) = (standing(own, self.load), standing(other, first.load));
        // Loads of unequal weights come in steps of unequal size. The difference of the steps is not a difference of loads.
        let step = 1.0 / self.weight - 1.0 / self.weight.max(first.weight);
        let less_loaded = self.load + step < first.load;
        match (own_standing, other_standing, own, other) {
            (Standing::Outlying, Standing::Cold | Standing::Hot, ..) | (Standing::Hot, Standing::Cold, ..) => false,
            (Standing::Cold | Standing::Hot, Standing::Outlying, ..) => true,
            (Standing::Cold, Standing::Cold, Some(own), Some(other)) if own.max(other) > own.min(other) * SAME_COST => {
                own < other
            }
            // Between equal weights, a cold one is less loaded than a hot one.
            _ => less_loaded,
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
