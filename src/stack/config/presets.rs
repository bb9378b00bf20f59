//! Settings for three kinds of work, to start from: each a file that [`load`](crate::config::load) takes for a
//! [`Config`](super::Config), with a client of the preset's name, a server `inbound`, and a reason beside
//! each value.
//!
//! ```
//! use seawall::config::{Config, Draft, presets};
//! use seawall::error::InvalidConfig;
//! use seawall::stack;
//!
//! # fn main() -> Result<(), InvalidConfig> {
//! let text = presets::find("interactive").expect("it is one of them");
//! let config: Config = toml::from_str::<Draft>(text).map_err(InvalidConfig::unreadable)?.load()?;
//! let client = stack::client(&config.client["interactive"])?;
//! # drop(client);
//! # Ok(())
//! # }
//! ```

/// Somebody waits for the answer.
pub const INTERACTIVE: &str = include_str!("../../../presets/interactive.toml");

/// Nobody waits: work that has to be done, and gives way.
pub const BACKGROUND: &str = include_str!("../../../presets/background.toml");

/// Responses that go on for long.
pub const STREAMING: &str = include_str!("../../../presets/streaming.toml");

/// All of them, by name: TOML.
pub const ALL: [(&str, &str); 3] = [("interactive", INTERACTIVE), ("background", BACKGROUND), ("streaming", STREAMING)];

/// The preset of this name, if there is one.
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
