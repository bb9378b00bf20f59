//! Where the endpoints come from, if they change at run time.

pub(super) mod discovered;
#[cfg(feature = "dns")]
pub(super) mod dns;
mod follow;
mod follower;
mod known_endpoints;
#[cfg(feature = "dns")]
mod lookup;
