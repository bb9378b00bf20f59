//! The algorithms of a balancer: which endpoint of a dependency gets a call.
//!
//! | file | decides | after |
//! |---|---|---|
//! | [`tiers`] | which tier gets the call: shares by health, overflow by capacity, panic | Envoy, "Priority levels", "Panic threshold" |
//! | [`tier_return`] | how slowly calls return to a better tier | Envoy's slow start, over a tier |
//! | [`choice`] | which endpoint of the tier: the better of two draws | Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI'24 |
//! | [`alias`] | the draws, by weight, in constant time | Vose, 1991 |
//! | [`load`] | what an endpoint is worth: calls in flight, cost of a call | Prequal; Finagle's time-weighted averages |
//! | [`reported_load`] | what is known of the calls of other clients | Prequal; ORCA for the reports |
//! | [`refusal_limit`] | how many calls an endpoint takes at once | TCP's slow start, for its trials |
//! | [`slow_start`] | how much of its weight a new or recovered endpoint has | Envoy, "Slow start mode" |
//! | [`call_counter`] | what an endpoint did in an interval: results, median latency | gRFC A50 |
//! | [`outliers`] | which endpoints get no calls for a while | gRFC A50; latency: see [`outliers`] |
//!
//! A call passes them from the top. `TierShares::choose` names a tier. [`choose`] draws two endpoints from that tier's [`AliasTable`] and
//! takes the better one; the [`Candidate`] that its caller supplies says whether an endpoint is usable (not ejected, breaker closed,
//! permits free), whether the call has been there, and how warm it is ([`SlowStart::factor`]). [`EndpointLoad::begin`] counts the call in
//! flight, [`EndpointLoad::end`] no longer; its result goes to [`EndpointLoad`] for the next choices and to [`CallCounter`] for the next
//! sweep. Once in an interval
//! [`Outliers::sweep`] ejects and restores; the owner then computes health and [`TierShares`] again, and starts the slow start of what
//! was restored. A change of the set rebuilds the [`AliasTable`] and nothing else: [`EndpointLoad`], [`CallCounter`] and
//! [`EjectionRecord`] belong to the endpoint, [`SetLoad`] to the set.
//!
//! The two defences against a bad endpoint work at different speeds. The choice avoids a slow or failing endpoint after a few calls, and
//! tries it again every few seconds. It is relative: if the others are worse, the endpoint is used. Ejection needs an interval of
//! evidence and then is firm. It is for endpoints that still get calls: in a set under overload, and among calls that were attempted
//! elsewhere.

mod alias;
mod average;
mod call_counter;
mod choice;
mod load;
mod outliers;
mod refusal_limit;
mod reported_load;
mod slow_start;
mod tier_return;
mod tiers;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

pub(crate) use alias::AliasTable;
pub(crate) use call_counter::CallCounter;
pub(crate) use choice::{Candidate, Eligibility, choose};
pub(crate) use load::{EndpointLoad, SetLoad};
pub(crate) use outliers::{EjectionChange, EjectionRecord, Judged, Outliers};
pub(crate) use refusal_limit::{RefusalLimit, UNLIMITED};
pub(crate) use slow_start::SlowStart;
pub(crate) use tiers::{Overprovisioning, TierHealth, TierShares};
