//! Replaces the set of endpoints: which ones keep their state, and what becomes of the calls at those that left.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::balancer::{Balancer, look_at_breakers};
use super::config::BalanceConfig;
use super::ejections;
use super::endpoint::{self, Endpoint};
use super::endpoint_set::Member;
use super::endpoint_state::EndpointState;
use crate::algorithm::balance::EjectionRecord;
use crate::ground::error::InvalidConfig;
use crate::ground::sync::{foreign, lock};
use crate::ground::time;

impl Balancer {
    /// Replaces the set. Endpoints that stay, or are back soon, keep their state; new ones start slowly, unless there was none before. A
    /// set of a superseded stream, by its `epoch`, is ignored.
    pub(super) fn set_endpoints(
        self: &Arc<Self>,
        endpoints: Vec<Endpoint>,
        epoch: Option<u64>,
    ) -> Result<(), InvalidConfig> {
        let config = self.settings.get();
        endpoint::check(&endpoints, config.max_endpoints)?;
        let (now, settings) = (time::now(), config.choice());
        let mut records = lock(&self.records);
        if epoch.is_some_and(|epoch| !self.discovery.is_current(epoch)) {
            return Ok(());
        }
        let before = self.set.load();
        if before.members.iter().map(|member| &member.endpoint).eq(&endpoints) {
            return Ok(());
        }
        let known: HashMap<&str, (&Member, EjectionRecord)> = before
            .members
            .iter()
            .zip(records.iter())
            .map(|(member, record)| (member.endpoint.key(), (member, *record)))
            .collect();
        let (mut members, mut kept) = (Vec::with_capacity(endpoints.len()), Vec::with_capacity(endpoints.len()));
        let (mut departed, mut returned) = (lock(&self.departed), Vec::new());
        for endpoint in endpoints {
            let (state, record) = match known.get(endpoint.key()) {
                Some((member, record)) => {
                    // Another instance has its name now.
                    if member.endpoint.address() != endpoint.address() {
                        member.state.warm_up(now);
                    }
                    (Arc::clone(&member.state), *record)
                }
                None => {
                    let departed = departed.take(endpoint.key(), now);
                    let (state, record) = match departed {
                        Some((state, record)) => {
                            state.standing.come_back();
                            returned.push(Arc::clone(&state));
                            (state, record)
                        }
                        None => (self.new_endpoint(&endpoint, &config), EjectionRecord::default()),
                    };
                    if !known.is_empty() {
                        state.warm_up(now);
                    }
                    (state, record)
                }
            };
            state.load.set_weight(endpoint.weight());
            members.push(Member { endpoint, state });
            kept.push(record);
        }
        // A smaller tier allows fewer ejections.
        let restored = ejections::bound(&settings.outliers, &mut kept, &members, now);
        *records = kept;
        look_at_breakers(&members, now);
        let members: Arc<[Member]> = members.into();
        let after = before.with_members(Arc::clone(&members), &settings, now);
        let addresses: HashMap<&str, &str> =
            after.members.iter().map(|member| (member.endpoint.key(), member.endpoint.address())).collect();
        let has_moved = |member: &&Member| {
            addresses.get(member.endpoint.key()).is_some_and(|address| *address != member.endpoint.address())
        };
        let moved = before.members.iter().filter(has_moved);
        let moved: Vec<_> = moved.map(|member| Arc::clone(&member.state)).collect();
        let left = known.values().filter(|(member, _)| !addresses.contains_key(member.endpoint.key()));
        let left: Vec<_> = left.map(|(member, record)| (Arc::clone(&member.state), *record)).collect();
        drop(addresses);
        let replaced = self.publish(after);
        // After the swap: a call that finds an endpoint removed finds the new set, too.
        let mut former = Vec::new();
        for (state, record) in &left {
            state.standing.remove();
            former.extend(departed.add(Arc::clone(state), *record, now));
        }
        drop(departed);
        drop(known);
        drop(before);
        drop(records);
        // The states of endpoints that left are dropped without the lock.
        drop((replaced, former));
        self.forget_departed(now);
        // Settings may have changed while they were away.
        returned.iter().for_each(|state| state.adopt(&config));
        // A reload meanwhile has not seen the new endpoints.
        if self.settings.get() != config {
            self.spread_settings();
        }
        left.iter().map(|(state, _)| state).chain(&moved).for_each(|state| foreign(|| state.moved.notify_waiters()));
        self.serve_all();
        ejections::report(self.instruments(), &restored, &members);
        Ok(())
    }

    fn new_endpoint(self: &Arc<Self>, endpoint: &Endpoint, config: &BalanceConfig) -> Arc<EndpointState> {
        self.common.endpoints.get_or_init(|| Arc::downgrade(self) as _);
        let state = EndpointState::new(endpoint.shared_key(), config, &self.common);
        let balancer = Arc::downgrade(self);
        state.breaker.on_change(move || {
            if let Some(balancer) = Weak::upgrade(&balancer) {
                balancer.breaker_changed();
            }
        });
        Arc::new(state)
    }
}
