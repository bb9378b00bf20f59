//! Concurrency limits that learn how many calls a service can work on at once.
//!
//! | law | raises and lowers the limit by | |
//! |---|---|---|
//! | [`TwoPoint`](two_point::TwoPoint) | the times at two levels of the limit | the law that seawall stands for |
//! | [`Aimd`](aimd::Aimd) | calls without an answer, or beyond a timeout | needs a timeout that fits the service |
//! | [`Gradient`](gradient::Gradient) | the times now against the times before | a lasting slowdown becomes the new normal; noise starves it |
//! | [`Vegas`](vegas::Vegas) | the times against the lowest one | noise starves it |
//!
//! The last three are those of Netflix's `concurrency-limits`, for comparison and for whoever knows them. They change with each call;
//! the original averages the samples of a second or more first.
//!
//! The owner holds a [`Limit`] under its lock. It reports each admission ([`Limit::begin`]) and each end ([`Limit::end`]), with the
//! time that the call spent in the service, without its wait for a permit. Both are O(1) and allocate nothing.

mod aimd;
mod gradient;
mod law;
mod ticket;
mod two_point;
mod vegas;

#[cfg(all(test, not(seawall_loom)))]
pub(crate) mod plant;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

pub(crate) use self::law::{Law, Limit};
pub(crate) use self::ticket::{Outcome, Ticket};
pub(crate) use self::two_point::{is_ample, is_short};
