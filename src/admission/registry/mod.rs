//! The named layers of a process: their state as plain data, and handles to change it by hand.
//!
//! A layer that is given a name, by its own `named` or by that of a stack, registers itself. From then on it counts and measures its
//! calls, its name appears in refusals, logs and metrics, and it is found here:
//!
//! ```
//! use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
//! use seawall::registry::{Command, Condition, Registry};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new(); // or the one that `named` uses: Registry::global()
//! let layer = BulkheadLayer::new(BulkheadConfig::default())?.named_in(&registry, "payments")?;
//!
//! let snapshot = registry.snapshot();
//! assert_eq!((snapshot.components[0].name.as_str(), snapshot.components[0].layer), ("payments", "bulkhead"));
//!
//! for component in registry.find("payments") {
//!     component.apply(Command::SetLimit(16.try_into()?))?;
//! }
//! let Condition::Bulkhead(bulkhead) = &registry.snapshot().components[0].condition else { unreachable!() };
//! assert_eq!(bulkhead.limit, 16);
//!
//! drop(layer);
//! assert!(registry.snapshot().components.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! The registry keeps no component alive: a component is listed for as long as its layer, or a service made by the layer, exists,
//! and leaves nothing behind. Its name is free from that moment, even if a snapshot is being taken or a [`Component`] still exists:
//! those keep the state that they read, and not the name. A name may be given to one layer of each kind at a time: the deadlines of
//! a client and of a server need two names. Names become labels of metrics: name dependencies, of which there are few, and nothing
//! that comes with a request. A layer is named once, and keeps its name, its counts and its age when it is reloaded.
//!
//! With [`Component::apply`] a breaker can be forced open, disabled, set to observe, enforced again, or reset by hand; a bulkhead
//! and a load shedder can be given a limit. Commands that a component does not support return an error. [`Registry::isolate`] forces
//! the breaker of a name open. [`Registry::set_endpoint_mode`] drains or isolates one endpoint of a balancer, or keeps it as a standby.
//! What is set by hand applies to this process, until it is set again, or a reload changes that very
//! setting.
//!
//! **Cost:** one check for a name, for a layer without one. A named layer pays one or two relaxed atomic additions for each call
//! that it measures (retry, bulkhead, circuit breaker, load shed) or starts (rate limit), and 1.6 kB once for each verdict that
//! occurs. Readers pay for reading: a snapshot reads each component without stopping it. One task of the process publishes metrics
//! once a second.

mod balance_condition;
mod component;
mod endpoint_mode;
mod observed;
#[cfg(feature = "metrics")]
mod publications;
#[cfg(feature = "metrics")]
pub(crate) mod publisher;
#[cfg(feature = "config")]
mod seconds;
mod snapshot;
mod table;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

pub use self::balance_condition::{BalanceCondition, EndpointCondition};
pub use self::component::{Component, NotFound};
pub use self::endpoint_mode::{EndpointMode, NoSuchEndpoint};
pub(crate) use self::observed::Observed;
pub use self::observed::Unsupported;
pub use self::snapshot::{
    BreakerCondition, ChaosCondition, Command, ComponentSnapshot, Condition, Counts, DeadlineCondition,
    FallbackCondition, GateCondition, HedgeCondition, LastRefusal, LastTransition, Latency, QuarantineCondition,
    QuorumCondition, RateLimitCondition, RetryCondition, SettingsCondition, Snapshot, ThrottleCondition,
};
use self::table::{ComponentEntry, NameAndKind, SharedRegistry};
use crate::ground::error::InvalidConfig;
use crate::ground::sync::global::MutexGuard;
use crate::ground::text;
use crate::ground::time;
use crate::ground::validation::Validation;
use crate::telemetry::NAMELESS;

/// The registry of named layers. See the [module](self). Clones are handles of one registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<SharedRegistry>,
}

impl Registry {
    /// A separate registry, for tests.
    pub fn new() -> Self {
        let inner = Arc::default();
        #[cfg(feature = "metrics")]
        publisher::add_registry(&inner);
        Self { inner }
    }

    /// The registry of the process, in which `named` registers.
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<Registry> = LazyLock::new(Registry::new);
        &GLOBAL
    }

    /// The current state of all components.
    pub fn snapshot(&self) -> Snapshot {
        let now = time::now();
        let components = self.inner.live().iter().map(|observed| component::snapshot(&**observed, now)).collect();
        let since_1970 = time::wall_clock().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Snapshot { unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX), components }
    }

    /// Handles of all components, ordered by name. A handle keeps the state of its component alive, but not the name.
    pub fn components(&self) -> Vec<Component> {
        self.inner.live().into_iter().map(Component::new).collect()
    }

    /// Handles of the components with this name: one for each layer of a stack.
    pub fn find(&self, name: &str) -> Vec<Component> {
        self.components().into_iter().filter(|component| component.name() == name).collect()
    }

    /// Isolates a dependency: its circuit breaker refuses all calls until it is set to decide again ([`Command::Enforce`]).
    ///
    /// # Errors
    /// If there is no circuit breaker with this name.
    pub fn isolate(&self, name: &str) -> Result<(), NotFound> {
        let mut found = false;
        for component in self.find(name) {
            found |= component.apply(Command::ForceOpen).is_ok();
        }
        if found { Ok(()) } else { Err(NotFound::new(name)) }
    }

    /// Sets how an endpoint of a balancer is used: to drain it before it is stopped, to isolate it, or to keep it as a standby. The mode
    /// stays in force until it is set again, or the endpoint leaves the set.
    ///
    /// # Errors
    /// If no balancer with this name has an endpoint with this key. The error lists the keys that exist.
    pub fn set_endpoint_mode(&self, name: &str, key: &str, mode: EndpointMode) -> Result<(), NoSuchEndpoint> {
        let components = self.find(name);
        if components.iter().any(|component| component.set_endpoint_mode(key, mode)) {
            return Ok(());
        }
        let mut keys: Vec<_> = components.iter().flat_map(Component::endpoint_keys).collect();
        let more = keys.len().saturating_sub(NoSuchEndpoint::LISTED);
        keys.truncate(NoSuchEndpoint::LISTED);
        Err(NoSuchEndpoint { name: name.to_owned(), key: key.to_owned(), keys, more })
    }

    /// Publishes all metrics now, through the installed recorder. A task in a runtime that makes calls does so once a second. An
    /// endpoint that serves metrics may call this first, so that its response is current.
    ///
    /// No lock is held while the recorder is called. If another thread is publishing to the same recorder at the same time, this
    /// does not wait for it: that thread publishes once more.
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        publisher::publish(&self.inner);
    }

    /// Names the layer value behind each of `observed`, or none of them.
    pub(crate) fn register(&self, name: &str, observed: &[Arc<dyn Observed>]) -> Result<(), InvalidConfig> {
        let name: Arc<str> = Arc::from(name);
        let token = {
            static LAST: AtomicU64 = AtomicU64::new(0);
            LAST.fetch_add(1, Ordering::Relaxed) + 1
        };
        self.enter(&name, observed, token)?;
        let now = time::now();
        // Not under the lock: if another thread has named the layer first, the registration is dropped here, which takes the lock.
        for observed in observed {
            let key = (Arc::clone(&name), observed.instruments().kind());
            let registration = Registration { registry: Arc::downgrade(&self.inner), key, token };
            observed.instruments().give_name(Arc::clone(&name), now, Box::new(registration));
            #[cfg(feature = "metrics")]
            self.inner.unpublished.add(observed.instruments());
        }
        #[cfg(feature = "metrics")]
        publisher::request_publication();
        Ok(())
    }

    /// Inserts all of them, or none.
    fn enter(&self, name: &Arc<str>, observed: &[Arc<dyn Observed>], token: u64) -> Result<(), InvalidConfig> {
        let mut components = self.lock();
        let key = |kind| (Arc::clone(name), kind);
        let is_taken = |kind| components.get(&key(kind)).is_some_and(ComponentEntry::has_owner);
        Validation::of(|validation| {
            let is_empty = name.trim().is_empty();
            validation.check(!is_empty, "name", "must not be empty");
            let problem = format_args!("{NAMELESS:?} is reserved for layers without a name");
            validation.check(**name != *NAMELESS, "name", problem);
            validation.check(name.len() <= LONGEST, "name", format_args!("is longer than {LONGEST} bytes"));
            let problem = format_args!("{name:?} has control or format characters, which could forge log lines");
            validation.check(text::is_plain(name), "name", problem);
            for instruments in observed.iter().map(|observed| observed.instruments()) {
                let (kind, layer) = (instruments.kind(), instruments.kind().as_str());
                if let Some(other) = instruments.name() {
                    validation.check(false, "name", format_args!("this {layer} layer is already named {other:?}"));
                    continue;
                }
                let problem = format_args!(
                    "{name:?} is already taken by another {layer} layer: use another name, or clone that layer"
                );
                validation.check(!is_taken(kind), "name", problem);
            }
        })?;
        for observed in observed {
            components.insert(key(observed.instruments().kind()), ComponentEntry::new(token, observed));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NameAndKind, ComponentEntry>> {
        self.inner.lock()
    }
}

/// The longest name, in bytes.
const LONGEST: usize = 128;

/// Replaces the registered state of a layer value by `observed`, after the state was made anew, for instance by `keyed_by`.
pub(crate) fn replace(observed: Arc<dyn Observed>) {
    let Some(named) = observed.instruments().named() else { return };
    let Some(Registration { registry, key, token }) = named.registration.downcast_ref() else { return };
    let Some(registry) = registry.upgrade() else { return };
    if let Some(entry) = registry.lock().get_mut(key).filter(|entry| entry.token == *token) {
        *entry = ComponentEntry::new(*token, &observed);
    }
}

/// A registration. Dropping it removes the component from the registry.
struct Registration {
    registry: Weak<SharedRegistry>,
    key: NameAndKind,
    token: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(registry) = self.registry.upgrade() else { return };
        let mut components = registry.lock();
        let gone = match components.get(&self.key) {
            Some(entry) if entry.token == self.token => components.remove(&self.key),
            _ => None,
        };
        drop(components);
        drop(gone);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("components", &self.lock().len()).finish_non_exhaustive()
    }
}
