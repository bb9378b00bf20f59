//! A budget for each key. All follow the same rules, which a reload replaces.

use super::budget::{self, Budget, BudgetConfig};
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying};
use crate::algorithm::budget::Rules;
use crate::ground::settings::Settings;
use crate::ground::sync::Arc;
use crate::ground::time;
use crate::layers::core::AfterReload;

/// What all calls with one key share, their budget included.
pub(crate) trait HoldsBudget: Forgettable {
    /// The budget, unless the user gave it, and so manages its rules.
    fn own_budget(&self) -> Option<&Budget>;
}

/// See the module.
#[derive(Debug)]
pub(crate) struct KeyedBudgets<K: Keying, P: Forgettable> {
    /// The rules of all budgets, except of one that was given.
    rules: Arc<Settings<Rules>>,
    policies: Keyed<K, P>,
}

impl<K: Keying, P: HoldsBudget> KeyedBudgets<K, P> {
    pub(crate) fn new(config: &BudgetConfig, max_keys: usize, keying: K, common: P) -> Self {
        let rules = match common.own_budget() {
            Some(budget) => Arc::clone(budget.rules()),
            None => Arc::clone(Budget::valid(config).rules()),
        };
        Self { rules, policies: Keyed::new(keying, max_keys, common) }
    }

    /// What the calls with this key share. `make` gets the budget of a new key.
    #[inline]
    pub(crate) fn get<Req>(&self, request: &Req, make: impl Fn(Budget) -> P) -> Arc<P>
    where
        K: KeyBy<Req>,
    {
        self.policies.get(request, || make(Budget::by(Arc::clone(&self.rules))))
    }

    pub(crate) fn common(&self) -> &P {
        self.policies.common()
    }

    pub(crate) fn keys(&self) -> usize {
        self.policies.len()
    }

    pub(crate) fn reload(&self, config: &BudgetConfig, max_keys: usize) -> AfterReload<'_> {
        let now = time::now();
        self.rules.replace(budget::rules(config), |_| {
            self.policies.for_each(|policy| {
                if let Some(budget) = policy.own_budget() {
                    budget.apply_rules(now);
                }
            });
        });
        self.policies.set_max_keys(max_keys);
        Box::new(|| self.policies.shrink())
    }
}
