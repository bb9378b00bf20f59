//! The errors of refused and cut calls, and of invalid configurations.

mod at_deadline;
mod chain;
mod failed_votes;
mod injected;
mod invalid_config;
mod numbers;
mod reason;
mod rejected;
mod trip;
mod why;

pub(crate) use self::at_deadline::AtDeadline;
#[cfg(feature = "http")]
pub(crate) use self::chain::{chain, rejection_here};
pub use self::chain::{rejection, rejection_in};
pub(crate) use self::failed_votes::FailedVotes;
pub use self::injected::Injected;
pub(crate) use self::invalid_config::FaultList;
pub use self::invalid_config::{Fault, InvalidConfig};
pub use self::numbers::Numbers;
pub use self::reason::Reason;
#[cfg(feature = "http")]
pub(crate) use self::rejected::RefusalKind;
pub use self::rejected::Rejected;
pub(crate) use self::trip::Trip;
pub use self::trip::TripCause;
pub(crate) use self::why::Why;
