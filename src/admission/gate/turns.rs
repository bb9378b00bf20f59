//! The settings of the order in which waiting calls get permits.

use crate::ground::validation::Validation;

/// The order of waiting calls of one priority, if they have no [key](crate::fair_share).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Order {
    /// First in, first out: fair, and all calls wait about as long.
    #[default]
    Fifo,
    /// Last in, first out: under lasting overload most calls hardly wait, and those at the end of the queue time out.
    Lifo,
}

/// The order in which waiting calls get permits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Turns {
    /// Of the calls of one priority.
    pub(crate) order: Order,
    /// The share of the permits, of those that waiting calls get, that goes to calls of lower priority while others wait.
    pub(crate) low_priority_share: f64,
}

/// Enough for one call in fifty to show that its priority is served at all.
pub(crate) const DEFAULT_LOW_PRIORITY_SHARE: f64 = 0.02;

impl Turns {
    /// Records the faults of the settings, whose fields have these names.
    pub(crate) fn check(self, validation: &mut Validation) {
        let share = self.low_priority_share;
        let problem = format_args!("invalid value: {share}, must be in [0, 0.5]");
        validation.check((0.0..=0.5).contains(&share), "low_priority_share", problem);
    }
}

#[cfg(test)]
impl From<Order> for Turns {
    fn from(order: Order) -> Self {
        Self { order, low_priority_share: 0.0 }
    }
}
