//! Starts a second attempt beside one that is slow, and takes the first good answer.
//!
//! A dependency with many instances is slow now and then: a pause for garbage, a cold cache, a lost packet. One call in a hundred takes
//! twenty times as long, and a page that makes a hundred calls almost always waits for one of them. A second attempt, sent after the
//! time in which most calls are answered, usually meets an instance that is not slow. It is sent for few calls, so it adds little load.
//! The measurement behind this is in Dean and Barroso, *The Tail at Scale* (CACM 2013): a hedge after 10 ms reduced the 99.9th
//! percentile of a read of 1,000 keys from 1,800 ms to 74 ms, with 2 % more requests.
//!
//! # When not
//! - For calls that must not be executed twice at once. A hedge runs beside the first attempt, so it asks for more than a
//!   [`retry`](crate::retry). Over HTTP only requests with a safe method (`GET`, `HEAD`, `OPTIONS`, `TRACE`) or `Idempotent(true)` are hedged;
//!   a `PUT`, a `DELETE` and a `POST` with an `Idempotency-Key` are repeated after a failure only. Over gRPC only calls with
//!   `Idempotent(true)` are. See [`Kept::repeatable_beside`](crate::retry::Kept::repeatable_beside) for other protocols.
//! - Where a second attempt meets the same instance, or the same lock or shard. Put the layer around a load balancer: with
//!   [`balance`](crate::balance) a hedge prefers an endpoint that the call has not used.
//! - Where slowness is a property of the call: a report that takes long takes long at every instance. Hedges of such calls are useless,
//!   and bounded by [`time_ratio`](HedgeConfig::time_ratio). [Key](HedgeLayer::keyed_by) the layer by the kind of call, or leave it out
//!   for these.
//!
//! # When an attempt starts
//! A hedge starts when the last attempt that was sent has taken the [delay](HedgeDelay), if all of the following hold.
//! 1. **Attempts** are left of `max_attempts`.
//! 2. **The request** may be executed twice at once, and can be sent again: its body has been sent, and kept. While the body is being sent, the hedge waits.
//! 3. **Time** is left before the deadline.
//! 4. **The share of time** that useless hedges may take is not used up. A first attempt earns a twentieth of the time that it took
//!    ([`time_ratio`](HedgeConfig::time_ratio)). A hedge pays for its time if another attempt answers first or it fails, and for the time
//!    beyond the delay if it wins. So by Little's law such hedges add at most a twentieth to the calls in flight at the dependency,
//!    whatever the calls are: where 97 % of them take 5 ms and 3 % take 3 s, the learned delay is that of the many, and without this
//!    bound the hedges of the few would double the work. A client with few calls has one second of such time, which comes back in ten
//!    seconds.
//! 5. **The [`Budget`](crate::retry::Budget)** has a token. Give it [that of the retry layer](HedgeLayer::with_budget): then retries and
//!    hedges together stay within one share of the calls.
//!
//! And a layer further in may refuse the hedge: then it was not made, and the call goes on without it. A [balancer](crate::balance) does so
//! unless an endpoint that the call has not used is healthy and has a free permit.
//!
//! An attempt by which the breaker of an endpoint probes is not hedged: cancelled by a hedge that wins, it would never show that the
//! endpoint is well again. A [long-lived](crate::deadline::DeadlineLayer::lasting_by) call is not hedged, and its latency is not learned:
//! a long poll is not slow.
//!
//! An attempt that waits in a queue of this crate, for a permit or its turn, was not sent, and is not hedged: a hedge would wait in the
//! same queue.
//!
//! The delay is time of the dependency: neither a wait for the caller's upload nor a wait in such a queue is part of it. It is fixed, or
//! a quantile of the latencies of recent successes ([`LearnedDelay`]). A learned delay follows the dependency: if all calls become slow,
//! the delay grows, and no more calls are hedged than before. While fewer than one hedge in ten wins, it is
//! twice the quantile. With too few samples, or above a ceiling, no slow call is hedged.
//!
//! A call that ends without an answer, at its deadline or because it is dropped, has no latency. It counts with the time that it had, if
//! that is above the quantile, if it was hedged, and if twenty hedged calls before it ended the same way and no hedge has won since.
//! Measured with a hundred calls a second:
//! - Answers take ten times as long for four minutes, and the deadline cuts all calls. If only successes counted, the delay would stay
//!   as it was, and a fifth of the calls would be hedged, which is what the budget of that run paid for: 5,234 hedges, none of which wins. With this
//!   rule there are 257.
//! - One attempt in three is never answered. Hedges win, so calls that are cut do not count, and 80 % of the calls succeed. If all
//!   hedged calls counted, the delay would grow to the deadline within a minute, and 69 % would succeed, hardly more than without hedges.
//!
//! The delay grows all the same while more attempts hang than the quantile leaves out, because a call that a hedge has answered is a
//! sample above the delay: in the second case by 30 ms each minute, up to the deadline. Let a [balancer](crate::balance) eject such
//! instances, or set a fixed delay.
//!
//! # What an answer means
//! The rules are those of gRPC's hedging policy (proposal A6), for all protocols, by [verdict](crate::verdict).
//!
//! | verdict | what follows |
//! |---|---|
//! | `success`, `caller_fault` | the call is answered, and all other attempts are cancelled |
//! | `failed` | the same: a fatal failure is the result |
//! | `transient`, `unprocessed`, `timed_out`, `unsent`, `overloaded` | the next attempt starts at once (not [inside retries](HedgeLayer::inside_retries)), or after the pause that the dependency asks for (`Retry-After`, `grpc-retry-pushback-ms`); attempts in flight go on |
//! | `do_not_retry` (negative pushback), `ignored` (refused by an inner layer) | no further attempt starts; attempts in flight go on |
//! | `lost` | one other attempt at most, in all retries and hedges around the call: the request may have crashed the dependency |
//!
//! If all attempts fail, the last failure is returned. A cut or a refusal of this crate never replaces a failure of the dependency.
//!
//! # How it behaves
//! - **Readiness:** always ready. Each attempt waits for the inner service within the call; further attempts use a clone of it.
//! - **Bounds:** the whole call ends at its deadline, or after `max_hold` without one. The body of the response is bounded by the layers
//!   that hold it.
//! - **Cancellation:** dropping the call drops all its attempts. An attempt that loses is dropped when the winner answers: over HTTP/2
//!   its stream is reset, over HTTP/1.1 its connection is closed. Inner layers record it as
//!   [`Abandoned`](crate::verdict::Verdict::Abandoned), which is no failure; a circuit breaker further in still sees that the
//!   dependency was slow, if it was.
//! - **Responses that failed** while other attempts go on are released as those of a retry: up to 64 KiB are kept, as far as they arrive
//!   within 50 ms.
//! - **Attempts are numbered** in the [context](crate::context), so that inner layers, metrics and the dependency see which attempt
//!   it is.
//! - **Refunds:** a hedge that was paid for and never sent is refunded. The token is held until the attempt has ended.
//! - **Clones**, and all services that one layer makes, share the budget and the latencies. [`keyed_by`](HedgeLayer::keyed_by) gives
//!   each endpoint or kind of call its own.
//! - **Errors:** the inner service's own. Only if no attempt failed by itself: [`Reason::DeadlineExceeded`],
//!   [`Reason::HoldExceeded`], [`Reason::NotReady`]; and [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived.
//! - **Report:** [`retry::report`](crate::retry::report) returns how a call went, unless a retry layer further out reports it.
//! - **A name** ([`named`](HedgeLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry): the
//!   hedges by cause, those that were not made, the calls that a hedge answered, the delay, and the balance of the budget.
//! - **Off** (`enabled = false`): the layer makes one attempt per call. A reload can switch it on again.
//! - **Cost:** one clone of the request and of the inner service per call; a short lock for the deposit, and with a learned delay one
//!   to read it and one for the sample. A pooled timer if the call has to wait. A hedge allocates once. A learned delay takes 1.2 KiB
//!   for each key.
//! - **Inside retries** ([`inside_retries`](HedgeLayer::inside_retries)) the layer hedges slow attempts only, and the retry follows those that
//!   fail. The numbers of its attempts continue that of the retry. [`stack::balanced_client`](crate::stack::balanced_client) has this order.
//! - **Place:** inside the deadline and the retry; outside the layers that should see each attempt, and outside a load balancer. A
//!   [circuit breaker](crate::circuit_breaker) and a [bulkhead](crate::bulkhead) belong inside.
//!
//! # Reload
//! A [reload](HedgeLayer::reload) applies:
//!
//! - **For new calls:** `enabled`, `max_attempts`, `delay`, `time_ratio`, `max_retry_after` and `max_hold`. The latencies are kept.
//! - **At once:** `budget`, in place: deposits are kept, and the reserve is not refilled. And `max_keys`: a lower value forgets keys
//!   whose state is as good as new, and other keys once theirs is.
//! - **Never:** a budget that was set with [`with_budget`](HedgeLayer::with_budget).
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use seawall::context;
//! use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
//! use seawall::retry::{RetryConfig, RetryLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let retry = RetryLayer::new(RetryConfig::default())?;
//! let budget = retry.budget().clone(); // one for both
//! let hedge = HedgeConfig { delay: HedgeDelay::Fixed(Duration::from_millis(10)), ..HedgeConfig::default() };
//! let mut service = ServiceBuilder::new()
//!     .layer(retry)
//!     .layer(HedgeLayer::new(hedge)?.inside_retries(budget))
//!     .service(service_fn(|()| async {
//!         match context::attempt() {
//!             1 => std::future::pending().await,
//!             attempt => Ok::<_, tower::BoxError>(attempt),
//!         }
//!     }));
//!
//! assert_eq!(service.ready().await?.call(()).await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::NotReady`]: crate::error::Reason::NotReady
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded

mod call_settings;
mod config;
mod flight;
mod flights;
mod future;
mod hedged_call;
mod layer;
mod learning;
mod lesson;
mod policy;
mod service;
mod state;

use crate::ground::layer_id::LayerKind;

pub use config::{HedgeConfig, HedgeDelay, LearnedDelay};
pub use future::ResponseFuture;
pub use layer::HedgeLayer;
pub use service::Hedge;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Hedge;
