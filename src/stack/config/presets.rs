//! Presets: settings to start from, for three kinds of work.
//!
//! Each is a file that [`load`](crate::config::load) reads into a [`Config`](super::Config). It has a client with the preset's name
//! and a server `inbound`. A comment beside each value states its reason.
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

/// For calls whose response a user waits for.
pub const INTERACTIVE: &str = include_str!("../../../presets/interactive.toml");

/// For work that no user waits for: it must be done, and gives way to other calls.
pub const BACKGROUND: &str = include_str!("../../../presets/background.toml");

/// For responses that last long.
pub const STREAMING: &str = include_str!("../../../presets/streaming.toml");

/// All presets by name, as TOML.
pub const ALL: [(&str, &str); 3] = [("interactive", INTERACTIVE), ("background", BACKGROUND), ("streaming", STREAMING)];

/// The preset of this name, if there is one.
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
