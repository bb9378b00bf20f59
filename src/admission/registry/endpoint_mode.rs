//! How an endpoint of a balancer is used, as set by hand.

use std::error::Error;
use std::fmt;

/// How an endpoint is used, as set [by hand](crate::balance::BalanceHandle::set_mode). It stays in force until it is set again, or the endpoint
/// leaves the set for more than a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EndpointMode {
    /// It gets calls.
    #[default]
    Serving,
    /// It gets calls only while the endpoints of all tiers are too few or full, whatever its own tier is.
    Standby,
    /// It gets a new call only if no other endpoint is usable. Calls in flight go on.
    Draining,
    /// It gets no new call. Calls in flight go on.
    Isolated,
}

impl EndpointMode {
    /// The mode in one word, for logs and snapshots.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Standby => "standby",
            Self::Draining => "draining",
            Self::Isolated => "isolated",
        }
    }
}

impl fmt::Display for EndpointMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of a change to an endpoint that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchEndpoint {
    pub(super) name: String,
    pub(super) key: String,
    /// The first keys that exist.
    pub(super) keys: Vec<String>,
    /// How many more there are.
    pub(super) more: usize,
}

impl NoSuchEndpoint {
    /// How many keys it lists.
    pub(super) const LISTED: usize = 20;

    /// The keys of the endpoints of the balancers with this name: the first 20.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }
}

impl fmt::Display for NoSuchEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no balancer that is named {:?} has an endpoint with the key {:?}", self.name, self.key)?;
        for (i, key) in self.keys.iter().enumerate() {
            write!(f, "{}{key:?}", if i == 0 { ", expected one of " } else { ", " })?;
        }
        if self.more > 0 { write!(f, " and {} others", self.more) } else { Ok(()) }
    }
}

impl Error for NoSuchEndpoint {}
