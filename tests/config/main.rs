//! Settings from files: all that is wrong is told at once, with its path; what is left out takes its default; and what is
//! written is read back as it was.

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

/// All that is wrong, as `path: problem`.
fn told(invalid: &InvalidConfig) -> Vec<String> {
    invalid.faults().iter().map(Fault::to_string).collect()
}

/// All that is wrong with this file.
#[track_caller]
fn faults(toml: &str) -> Vec<String> {
    told(&load(toml).expect_err("there is something wrong"))
}
