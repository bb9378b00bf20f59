//! Retries failed calls, within a budget.
//!
//! A transient failure is worth a retry; a dependency in trouble is not worth three times the load. So a retry is made only if the
//! verdict, the request, the time left and the budget allow it, after an exponential backoff with jitter. In every other case the
//! caller gets the last real response or error, unchanged and at once.
//!
//! # When not
//! Where an inner or outer layer retries already: attempts multiply. Retry in one tier, next to the dependency that fails. (Services
//! that [propagate](crate::http::propagation) their deadlines ensure this by themselves: a tier with exhausted retries tells the
//! tiers above not to retry.)
//!
//! # What follows on a failed attempt
//! The checks run in this order; the first *no* ends the call.
//! 1. **The verdict**: is it one that [is retried](crate::verdict)? [`Lost`] is retried once at most, and not
//!    if a hedge or another retry, inside or around this one, has repeated a lost attempt of the call. A local refusal by a layer of
//!    this crate is never retried, whatever the classifier says.
//! 2. **Attempts**: are any left of `max_attempts`?
//! 3. **The request**: can it be sent again, and may it be ([`Kept::repeatable`])?
//! 4. **Time**: the wait is a fresh [`Backoff`] sample ([longer](#after-a-quick-refusal) for a dependency that is full), plus the pause that the dependency asked for, if any (`Retry-After`, whatever
//!    the status is; see [`Classify::retry_after`](crate::verdict::Classify::retry_after)). Is that pause at most `max_retry_after`,
//!    and does the wait end before the deadline? After a timeout, at least a tenth of the time of that attempt must be left: an attempt
//!    with less would time out again.
//! 5. **The [`Budget`]**: is there a token, and have recent retries helped? If hardly any has, only a share of the wanted retries is
//!    [granted](Budget#when-retries-do-not-help). The token is withdrawn before the wait. Each call deposits once, however many
//!    attempts it makes.
//!
//! The table at [`evidence`](crate::evidence) lists what each end of a call counts as, and what it costs.
//!
//! # After a quick refusal
//! A dependency that is full answers at once, and has room again when one of the calls in it has ended. If a call usually takes a second,
//! three attempts within 150 ms all find it full. So the layer keeps the usual time of a success, for each key. After an attempt that
//! failed sooner than that ([`Transient`], or [`Overloaded`] without a pause), the backoff grows from what is left of the usual time
//! instead of from `base`, if that is longer: the first wait ends within a usual time of the attempt's start. Its `cap` holds, and it is
//! shortened so far that a usual call still fits before the deadline; it is never the reason for no retry.
//!
//! Everything else waits by `base` alone: attempts that took as long as a success or timed out, that were not sent or were lost with their
//! endpoint, or whose answer asks for a pause; calls without an earlier success to go by; and a backoff with [`Jitter::None`]. The
//! time in our own queues and the heads of [long-lived](crate::http::LongLived) calls are not counted.
//!
//! # How it behaves
//! - **Readiness:** always ready. Each attempt waits for the inner service within the call; retries use a clone of it. At the
//!   endpoints of a load balancer this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put the layer
//!   around the balancer.
//! - **Bounds:** the whole call, waits included, ends at its deadline, or after `max_hold` without one. An attempt also ends after
//!   `attempt_timeout`, and counts as [`TimedOut`]. A response that is ready at that moment is returned. The body is part of the
//!   attempt: over HTTP and gRPC it is cut at the same time, read or not, whatever the inner layers are, unless it is
//!   [long-lived](crate::http::LongLived). If the inner service does not become ready in that time, the attempt was not sent and is
//!   not retried.
//! - **Waiting:** before the wait begins, a failed response releases all that it held
//!   ([`Classify::detach`](crate::verdict::Classify::detach)): its connection, and the permits of inner layers. Over HTTP up to 64 KiB
//!   of its body are kept, as far as they arrive within 50 ms, in case no later attempt ends in a response. The last response is
//!   returned as it is, whatever its size.
//! - **Cancellation:** dropping the call cancels the attempt.
//! - **Refunds:** a retry that was paid for and never sent is refunded: the call was dropped during the backoff, the inner service did
//!   not become ready, an inner layer of this crate refused the attempt or queued it until the call was dropped, or the verdict is
//!   [`Unsent`](crate::verdict::Verdict::Unsent). The token is held until the attempt has ended.
//! - **Clones**, and all services that one layer makes, share the budget. A [`Budget`] can be shared by several layers, and
//!   [`keyed_by`](RetryLayer::keyed_by) gives each endpoint or tenant its own.
//! - **Errors:** the inner service's own, or an earlier attempt's if the last one was cut or refused by a layer of this crate. Only if
//!   no attempt failed by itself: [`Reason::AttemptTimeout`], [`Reason::DeadlineExceeded`], [`Reason::HoldExceeded`],
//!   [`Reason::NotReady`]; and [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived.
//! - **Report:** [`report`] returns how a call went; the [context](crate::context) holds the attempt's number.
//! - **The call is over** for this layer when it returns the response, except for the bound of its body.
//! - **A name** ([`named`](RetryLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry): the
//!   calls as their callers see them, the retries by cause, the retries that were not made, and the balance of the budget.
//! - **Off** (`enabled = false`): the layer makes one attempt per call, whatever its type. A reload can switch it on again.
//! - **Cost:** one clone of the request and of the inner service per call, one short lock for the deposit, and one atomic for the usual
//!   time. A call that succeeds reads the clock, unless an inner layer has just read it. Nothing is allocated
//!   unless an attempt fails, or `attempt_timeout` is set and there is a body to bound. A pooled timer if the call has to wait and no
//!   outer layer enforces the deadline.
//! - **Place:** inside the deadline; outside the layers that should see each attempt: bulkhead, circuit breaker, rate limit.
//!
//! # Reload
//! A [reload](RetryLayer::reload) applies:
//!
//! - **For new calls:** `enabled`, `max_attempts`, `backoff`, `attempt_timeout`, `max_retry_after` and `max_hold`. A call in
//!   flight keeps the settings that it started with, for all its attempts.
//! - **At once:** `budget`, in place: deposits are kept, and the reserve is not refilled (see [`Budget::reload`]). And `max_keys`:
//!   a lower value forgets keys whose state is as good as new, and other keys once theirs is. The usual time of a success is measured
//!   anew for a key that was forgotten, and kept otherwise.
//! - **Never:** a budget that was set with [`with_budget`](RetryLayer::with_budget). Other layers may pay from it; it has its own
//!   [`reload`](Budget::reload).
//!
//! ```
//! use seawall::retry::{RetryConfig, RetryLayer};
//!
//! let layer = RetryLayer::new(RetryConfig::default())?;
//! layer.reload(&RetryConfig { max_attempts: 2, ..layer.config() })?;
//! assert_eq!(layer.config().max_attempts, 2);
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
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
//! [`Overloaded`]: crate::verdict::Verdict::Overloaded
//! [`Transient`]: crate::verdict::Verdict::Transient
//! [`TimedOut`]: crate::verdict::Verdict::TimedOut
//! [`Reason::AttemptTimeout`]: crate::error::Reason::AttemptTimeout
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::NotReady`]: crate::error::Reason::NotReady
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded

mod attempts;
pub(crate) mod budget;
mod call_settings;
mod call_state;
mod config;
mod future;
mod keyed_budgets;
mod layer;
mod limit;
mod policy;
mod replay;
pub(crate) mod report;
mod service;
mod state;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use crate::ground::layer_id::LayerKind;

pub use crate::algorithm::backoff::{Backoff, Growth, Jitter};
pub use budget::{Budget, BudgetConfig};
pub use config::RetryConfig;
pub use future::ResponseFuture;
pub(crate) use keyed_budgets::{HoldsBudget, KeyedBudgets};
pub use layer::RetryLayer;
pub use replay::{CloneRequest, Kept, KeptClone, Replay};
pub use report::{Report, Reported, Stop, report};
pub use service::Retry;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Retry;
