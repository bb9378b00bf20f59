use std::sync::Arc;

use crate::admission::registry::{Condition, Observed, Registry, SettingsCondition};
use crate::ground::error::{Fault, InvalidConfig};
use crate::ground::layer_id::LayerKind;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time::{self, Instant};
use crate::layers::core::observed;
use crate::telemetry::Instruments;

/// How many faults are shown. The error of the reload has all of them.
const MAX_SHOWN: usize = 20;

/// The settings as a component of the registry: how many reloads were applied and rejected, and the faults of the last.
pub(super) struct SettingsStatus {
    instruments: Instruments,
    rejected: Mutex<Option<Rejection>>,
}

struct Rejection {
    faults: Arc<[String]>,
    at: Instant,
}

impl SettingsStatus {
    pub(super) fn named_in(registry: &Registry, name: &str) -> Result<Arc<Self>, InvalidConfig> {
        let status = Arc::new(Self { instruments: Instruments::new(LayerKind::Settings), rejected: Mutex::new(None) });
        let observed: Arc<dyn Observed> = Arc::<Self>::clone(&status);
        registry.register(name, &[observed])?;
        Ok(status)
    }

    pub(super) fn reloaded(&self, result: &Result<(), InvalidConfig>) {
        let rejection = result.as_ref().err().map(|invalid| Rejection {
            faults: invalid.faults().iter().take(MAX_SHOWN).map(Fault::to_string).collect(),
            at: time::now(),
        });
        let before = std::mem::replace(&mut *lock(&self.rejected), rejection);
        drop(before);
        let _ = observed::reload([&self.instruments], result.clone());
    }
}

impl Observed for SettingsStatus {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, now: Instant) -> Condition {
        let rejected = lock(&self.rejected);
        let (faults, rejected_for) = match &*rejected {
            Some(rejection) => (Arc::clone(&rejection.faults), Some(now.since(rejection.at))),
            None => (Arc::default(), None),
        };
        drop(rejected);
        Condition::Settings(SettingsCondition { faults: faults.to_vec(), rejected_for })
    }
}
