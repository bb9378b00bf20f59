//! Another attempt for a call that failed, within a budget.
//!
//! A failure that may pass is worth a second try; a dependency in trouble is not worth three times the load. So a retry is
//! made only if the verdict, the request, the time left and the budget allow it, after a wait that grows and that
//! chance shortens. In every other case the caller gets the last real response or error, unchanged and at once.
//!
//! # When not
//! Where a layer below or above retries already: attempts multiply. Retry in one tier, the one next to what fails. (Services
//! that have their deadlines [carried](crate::http::propagation) to each other see to that by themselves: a tier that has spent
//! its retries tells the tiers above not to try again.)
//!
//! # What follows on a failed attempt
//! In this order; the first *no* ends the call.
//! 1. **Its verdict**: is it one that [is retried](crate::verdict)? [`Lost`] once at most. What a layer of this crate
//!    refused locally is not, whatever the classifier says.
//! 2. **Attempts**: are any left of `max_attempts`?
//! 3. **The request**: can it be made again, and may it be ([`Kept::repeatable`])?
//! 4. **Time**: the wait is a fresh [`Backoff`] sample, on top of the pause that the dependency asked for if it did
//!    (`Retry-After`, whatever the status is; see [`Classify::retry_after`](crate::verdict::Classify::retry_after)). Does the dependency ask for no more than `max_retry_after`, and does the wait end before the deadline? After an
//!    attempt that timed out at least a tenth of its time must be left: with less, it would time out again.
//! 5. **The [`Budget`]**: is there a token? It is asked before the wait, and each call deposits once, however many
//!    attempts it takes.
//!
//! What each end of a call says, and what it costs, is one table: [`evidence`](crate::evidence).
//!
//! # How it behaves
//! - **Readiness:** always ready; each attempt waits for the inner service within the call, further ones for a clone. At the endpoints of
//!   a load balancer this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put it around the balancer.
//! - **Bounds:** the whole call, waits included, ends at its deadline, or after `max_hold` where there is none; an
//!   attempt also ends after `attempt_timeout`, and counts as [`TimedOut`]. A response that is ready in the same moment
//!   is returned. Its body is part of the attempt: over HTTP and gRPC it is cut at the same time, read or not, whatever layers are
//!   further in, unless it is [meant to go on](crate::http::LongLived). An attempt that the inner service is not ready for in that time was not sent, and is not retried.
//! - **Waiting:** a failed response has let go of all it held before the wait begins
//!   ([`Classify::detach`](crate::verdict::Classify::detach)): its connection, and the permits of layers further in. Over HTTP
//!   64 KiB of its body are kept, as far as they come within 50 ms, in case that no later attempt ends in a response; the last
//!   response is handed on as it is, however large.
//! - **Cancellation:** dropping the call cancels the attempt.
//! - **Refunds:** a retry that was paid for and never sent is refunded: the call was dropped while it waited, the inner service did
//!   not become ready, a layer of this crate further in refused the attempt or kept it in a queue until the call was dropped, or
//!   the verdict is [`Unsent`](crate::verdict::Verdict::Unsent). Until the attempt has ended, its price is held.
//! - **Clones**, and all services that one layer makes, share the budget; [`Budget`] lets layers share one,
//!   and [`keyed_by`](RetryLayer::keyed_by) gives each host or tenant its own.
//! - **Errors:** the inner service's own, or an earlier attempt's if the last one was cut or refused by a layer of this
//!   crate. Only if no attempt has failed by itself: [`Reason::AttemptTimeout`], [`Reason::DeadlineExceeded`],
//!   [`Reason::HoldExceeded`], [`Reason::NotReady`]; and [`Reason::DeadlineExpired`] if there was no time left when the
//!   call came.
//! - **How it went** is returned by [`report`]; the attempt's number is in the [context](crate::context).
//! - **The call is over** for this layer when it returns the response, but for the bound of its body.
//! - **A name** ([`named`](RetryLayer::named)) makes it seen in metrics, logs, refusals and the [registry](crate::registry): the calls as
//!   their callers see them, retries by cause, those that were not made, and what is left of the budget.
//! - **Switched off** (`enabled = false`), the layer passes each call on once, whatever its type, and a reload can switch it on again.
//! - **A reload** ([`reload`](RetryLayer::reload)) is for calls to come: one that has begun keeps its terms for all its attempts. The budget
//!   changes in place: what calls have earned is kept, and nothing is given away.
//! - **Cost:** one clone of the request and of the inner service a call, one atomic update for the budget; nothing is
//!   allocated unless an attempt fails, or `attempt_timeout` is set and there is a body to bound. A pooled timer if the call has to wait and no deadline around it keeps time.
//! - **Place:** inside the deadline; outside the layers that should see each attempt: bulkhead, circuit breaker, rate
//!   limit.
//!
//! # Example
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//! use seawall::retry::{Backoff, RetryConfig, RetryLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let mut service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryConfig {
//!         backoff: Backoff::exponential(Duration::from_millis(2), 2.0),
//!         attempt_timeout: Some(Duration::from_millis(500)),
//!         ..RetryConfig::default()
//!     })?)
//!     .service(service_fn(|()| async {
//!         match CALLS.fetch_add(1, Ordering::Relaxed) {
//!             0 => Err("stumbled"),
//!             _ => Ok("arrived"),
//!         }
//!     }));
//!
//! assert_eq!(service.ready().await?.call(()).await?, "arrived");
//! # Ok(())
//! # }
//! ```
//!
//! The budget is Finagle's (`RetryBudget`), the jitter that of *Exponential Backoff And Jitter* (AWS Architecture
//! Blog).
//!
//! [`Lost`]: crate::verdict::Verdict::Lost
//! [`TimedOut`]: crate::verdict::Verdict::TimedOut
//! [`Reason::AttemptTimeout`]: crate::error::Reason::AttemptTimeout
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::NotReady`]: crate::error::Reason::NotReady
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded

mod budget;
mod call_settings;
mod call_state;
mod config;
mod future;
mod layer;
mod limit;
mod policy;
mod replay;
mod report;
mod service;
mod state;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use crate::ground::layer_id::LayerKind;

pub use crate::algorithm::backoff::{Backoff, Growth, Jitter};
pub use budget::{Budget, BudgetConfig};
pub use config::RetryConfig;
pub use future::ResponseFuture;
pub use layer::RetryLayer;
pub use replay::{CloneRequest, Kept, KeptRequest, Replay};
pub use report::{Report, Reported, Stop, report};
pub use service::Retry;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Retry;
