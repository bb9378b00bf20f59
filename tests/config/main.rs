//! Settings from files: every fault is reported at once, with its path; omitted fields take their defaults; and
//! written settings are read back unchanged.

#![cfg(all(feature = "config", feature = "grpc", feature = "metrics"))]

mod contradictions;
mod faults;
mod formats;
mod hostile;
mod own_structs;
mod partial;
mod presets;
mod round_trip;
mod stacks;

use seawall::config::{Config, Draft, Validate};
use seawall::error::{Fault, InvalidConfig};

fn load(toml: &str) -> Result<Config, InvalidConfig> {
    load_as(toml)
}

fn load_as<T: serde::de::DeserializeOwned + Validate>(toml: &str) -> Result<T, InvalidConfig> {
    toml::from_str::<Draft>(toml).map_err(InvalidConfig::unreadable)?.load()
}

/// All faults, as `path: problem`.
fn listed(invalid: &InvalidConfig) -> Vec<String> {
    invalid.faults().iter().map(Fault::to_string).collect()
}

/// All faults of this file.
#[track_caller]
fn faults(toml: &str) -> Vec<String> {
    listed(&load(toml).expect_err("the settings are invalid"))
}
