//! An endpoint as its user describes it, and the checks of a set of them.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validation;

/// The weights that an endpoint may have. Ratios of weights that are further apart lose their precision.
const WEIGHTS: RangeInclusive<f64> = 1e-6..=1e6;

/// One instance of a dependency: where it is, and how large its share of the calls is.
///
/// The key identifies the endpoint when the set changes: an endpoint that stays keeps its state. It is the address unless
/// [`with_key`](Self::with_key) sets another one.
///
/// ```
/// use seawall::balance::Endpoint;
///
/// let endpoint = Endpoint::new("10.0.0.7:8080").with_weight(2.0).with_tier(1).with_label("zone", "b");
/// assert_eq!((endpoint.key(), endpoint.weight(), endpoint.label("zone")), ("10.0.0.7:8080", 2.0, Some("b")));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    key: Arc<str>,
    address: Arc<str>,
    weight: f64,
    tier: u8,
    labels: BTreeMap<String, String>,
}

impl Endpoint {
    /// An endpoint of weight 1 in tier 0. The address is for the closure that makes the endpoint's service, which alone reads it: an
    /// authority, a URI, a path.
    pub fn new(address: impl Into<Arc<str>>) -> Self {
        let address = address.into();
        Self { key: Arc::clone(&address), address, weight: 1.0, tier: 0, labels: BTreeMap::new() }
    }

    /// Sets the key, if it is not the address: the name of an instance whose address may change. An endpoint that gets another
    /// address under its key gets a new service, keeps its state, and starts slowly.
    #[must_use]
    pub fn with_key(self, key: impl Into<Arc<str>>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// Sets the weight, in `1e-6..=1e6`: an endpoint of weight 2 gets twice as many calls as one of weight 1.
    #[must_use]
    pub fn with_weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// Sets the tier. Tier 0 gets all calls while it is healthy and has free permits, then the next one joins.
    #[must_use]
    pub fn with_tier(self, tier: u8) -> Self {
        Self { tier, ..self }
    }

    /// Adds a label, such as a zone. Labels are for users; the choice does not read them.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn shared_key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    /// The address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The weight.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The tier.
    pub fn tier(&self) -> u8 {
        self.tier
    }

    /// The label with this name.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// All labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

/// Checks a set: all faults are reported, with the position of the endpoint in their paths.
pub(super) fn check(endpoints: &[Endpoint], max_endpoints: usize) -> Result<(), InvalidConfig> {
    Validation::of(|validation| {
        let number = endpoints.len();
        validation.check(number > 0, "endpoints", "must not be empty");
        let problem =
            format_args!("invalid value: {number} endpoints, must be at most {max_endpoints} (`max_endpoints`)");
        validation.check(number <= max_endpoints, "endpoints", problem);
        if number > max_endpoints {
            // A fault for each of them would be as long as the list.
            return;
        }
        let mut first = HashMap::new();
        for (i, endpoint) in endpoints.iter().enumerate() {
            validation.nested(&format!("endpoints[{i}]"), |validation| {
                let Endpoint { key, weight, .. } = endpoint;
                validation.check(!key.is_empty(), "key", "must not be empty");
                let other = *first.entry(&**key).or_insert(i);
                validation.check(
                    other == i,
                    "key",
                    format_args!("invalid value: {key:?}, must be unique, and is the key of endpoints[{other}]"),
                );
                let problem = format_args!("invalid value: {weight}, must be in [1e-6, 1e6]");
                validation.check(WEIGHTS.contains(weight), "weight", problem);
            });
        }
    })
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    #[test]
    fn faults_of_a_set_are_reported_by_path() {
        let faults = |endpoints: &[Endpoint]| match check(endpoints, 5) {
            Ok(()) => Vec::new(),
            Err(invalid) => invalid.faults().iter().map(ToString::to_string).collect(),
        };
        assert_eq!(faults(&[]), ["endpoints: must not be empty"]);
        let a = || Endpoint::new("a");
        assert_eq!(faults(&[a(), Endpoint::new("b")]), [""; 0]);
        let bad =
            [a(), a(), a().with_key(""), Endpoint::new("b").with_weight(0.0), Endpoint::new("c").with_weight(f64::NAN)];
        let expected = [
            "endpoints[1].key: invalid value: \"a\", must be unique, and is the key of endpoints[0]",
            "endpoints[2].key: must not be empty",
            "endpoints[3].weight: invalid value: 0, must be in [1e-6, 1e6]",
            "endpoints[4].weight: invalid value: NaN, must be in [1e-6, 1e6]",
        ];
        assert_eq!(faults(&bad), expected);
        for weight in [-1.0, 0.9e-6, 1.1e6, f64::MIN_POSITIVE, f64::INFINITY] {
            assert_eq!(faults(&[a().with_weight(weight)]).len(), 1, "{weight}");
        }
        for weight in [1e-6, 1e6] {
            assert_eq!(faults(&[a().with_weight(weight)]), [""; 0], "{weight}");
        }
        assert_eq!(
            faults(&vec![a(); 6]),
            ["endpoints: invalid value: 6 endpoints, must be at most 5 (`max_endpoints`)"]
        );
    }
}
