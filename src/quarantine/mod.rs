//! Refuses requests that were lost on several endpoints: they may crash every instance that gets them.
//!
//! A request on which a server crashes (a stack overflow, an endless allocation) is lost with its connection. Its caller sends it
//! again, or a retry does, to the next instance. This layer counts for each *fingerprint* of requests, such as method and path, on
//! which endpoints it was lost. After the second endpoint it refuses that fingerprint for a while.
//!
//! # When not
//! - If a fingerprint that fits cannot be given. All requests with the fingerprint are refused: with method and path, all calls of
//!   `POST /search`, though one kind of query may be the cause. If others with the same fingerprint succeed in between, nothing is
//!   refused, and the layer is of no use.
//! - Behind a load balancer that is not [`balance`](crate::balance). Endpoints are unknown then, and **all unknown endpoints count as
//!   one**: nothing is ever quarantined by losses at unknown endpoints alone.
//!
//! - If an endpoint is a load balancer or a server of many processes, of which another one answers at once: a loss at such an endpoint
//!   is withdrawn.
//!
//! # How it works
//! 1. **A loss** ([`Verdict::Lost`](crate::verdict::Verdict::Lost): the connection died after the request was sent) makes the fingerprint
//!    a *suspect*.
//! 2. **A suspect is sent one call at a time.** The other calls wait for their turn, in order. The turn ends with the head of the
//!    response, so that a long response or a slow reader delays no other call. It is passed on after `max_turn`, so that a slow call does
//!    not stop the others, either.
//! 3. **A success** of any call with the fingerprint (verdict `success` or `caller_fault`) clears the suspicion, and all calls that
//!    wait are sent. Over HTTP the head of the response is enough: a request that kills its instance gets none.
//! 4. **Losses on `endpoints` different endpoints** within `window` quarantine the fingerprint: its calls are refused.
//!    A loss counts only if its call was sent after the loss before it. So a network that breaks for a moment, and takes along the calls
//!    at all endpoints, counts once. A call counts as sent when the balancer has chosen its endpoint.
//! 5. **After that it is half-open**: one call is sent. Its success ends the quarantine, its loss begins another one. The success of a
//!    call that was sent before the losses does not end it. The first quarantine lasts an eighth of `duration`, and each further one
//!    twice as long as the one before, up to `duration`.
//!
//! So a poisoned request kills one instance per call if it is not idempotent, since a [`retry`](crate::retry) does not repeat it, and two
//! in all. If it is idempotent, it kills two. More are killed by calls that are in flight at other endpoints when the first loss is seen:
//! nothing can call them back. After that it is at most one more, and one at the end of each quarantine: with the defaults after 8, 15, 30
//! and 60 seconds, and then each minute.
//!
//! # Losses in the body
//! - **Within `max_turn` of the head** a loss counts as one before the head does, and restores the suspicion that the head of this
//!   call has cleared. So a request that kills its instance while the body is produced is quarantined, too.
//! - **Later**, a loss starts a new suspicion, which the next head clears. A stream that a restart has cut looks the same, and streams
//!   are more frequent than requests that kill so late. Those are never quarantined.
//! - **In a [long-lived](crate::http::LongLived) response** a loss says nothing. The layer knows it as such by a
//!   [`deadline`](crate::deadline) layer around it, or by the extension in the response.
//!
//! # Losses that do not count
//! - **An endpoint that answers.** If the endpoint answers a call, of any fingerprint, that was sent there within a second after the loss, it
//!   did not crash: the connection was dead, perhaps since a firewall has forgotten it. The loss is withdrawn. The answer has to be its
//!   own: `success`, `caller_fault`, `unprocessed` or `failed`. (An instance that restarts within a second is not protected.) Without
//!   such a call a fingerprint can be quarantined by mistake, which is why the first quarantine is short.
//! - **An endpoint that crashes without the fingerprint, too.** If another fingerprint was lost at the same endpoint within ten seconds,
//!   before or after, in a crash in which this one was not in flight, the loss does not count. If it has counted already, it is withdrawn,
//!   and a quarantine may end by that: after a second, or after three more losses there, in which the endpoint has answered no call. A
//!   loss after which it does answer is no crash, so broken connections hide no request that kills. So an endpoint that crashes for all requests quarantines none of them.
//!   (Two poisoned fingerprints that crash the same endpoint within this time explain each other's losses, and kill more instances.)
//! - **A crash that two suspects share.** Only one of them need have caused it. Each is sent again.
//!
//! Other calls that are lost in the same crash change nothing, since a request that kills an instance takes along all calls there. They
//! become suspects, and their next success clears them. A slow request that is lost in two restarts, one after the other, without a
//! success in between and as the only suspect there, is quarantined by mistake. Set `endpoints` to 3 if instances often restart without
//! a graceful shutdown.
//!
//! # How it behaves
//! - **Readiness:** that of the inner service; always ready if it is not. A wait for it is part of the call. The wait for the turn is ours,
//!   and does not count as the dependency's time.
//! - **Bounds:** the call ends at its deadline, or after `max_hold` without one, its wait for the turn included. At most `max_waiting`
//!   calls wait. Of the places that other fingerprints leave, the calls of one fingerprint take at most half, so that one of them does not
//!   refuse the others.
//! - **The call is over** when the classifier says so: over HTTP at the end of the body. A body that is dropped by its reader counts by its
//!   head.
//! - **Cancellation:** dropping a call that has the turn passes it on at once. A dropped call is neither a loss nor a success.
//! - **Clones**, and all services of one layer value, share one state. Each process has its own.
//! - **Errors:** [`Reason::Quarantined`], with the rest of the quarantine as `retry_after`. Nothing was sent, tiers further out are told
//!   not to retry, and a [`fallback`](crate::fallback) does not send the request to its second service. [`Reason::QueueFull`] if too many
//!   calls wait, and [`Reason::QueueTimeout`] if the time of the call ends in the wait, as in a [`bulkhead`](crate::bulkhead): another try
//!   may help. [`Reason::DeadlineExpired`], [`Reason::DeadlineExceeded`], [`Reason::HoldExceeded`] and [`Reason::NotReady`] as in other
//!   layers. Any other error is the inner service's own.
//! - **Memory:** at most `max_fingerprints` are suspected or quarantined at a time. None is forgotten before its time to make room for
//!   another, so that a flood ends no quarantine: losses beyond that bound are not recorded.
//! - **A name** ([`named`](QuarantineLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry): suspects,
//!   quarantined fingerprints, waiting calls. The event `quarantined` in the log has the fingerprint. A [handle](QuarantineLayer::handle)
//!   reads the same, and ends all quarantines by hand.
//! - **Panics:** none of its own. A panic in the fingerprint, its `Hash` or its `Debug` ends the call, and holds nothing.
//! - **Cost:** the closure, and loads of two atomics at the start and the end of a call. No lock, no allocation and no hash while no
//!   fingerprint is suspected. While one is, a hash of the fingerprint; one in 64 of the other fingerprints, and the
//!   fingerprint itself, also take a short lock at the start and the end. An answer takes one in the second after a loss. Around a held
//!   body, an allocation.
//! - **Place:** inside the [`retry`](crate::retry) and around the [`balance`](crate::balance), so that each attempt passes it, and waits or is
//!   refused; and inside a [`hedge`](crate::hedge), whose attempts are calls of their own. Around a whole stack, as around
//!   [`balanced_client`](crate::stack::balanced_client), put a [`deadline`](crate::deadline) around the quarantine: the deadline of the
//!   stack does not bound the wait for a turn, and a turn lasts for all attempts of a call. Around a retry it sees the losses of all attempts as well, but attempts that are repeated meanwhile do not wait: of
//!   several callers each can kill one more.
//!
//! # Reload
//! A [reload](QuarantineLayer::reload) applies `endpoints`, `window`, `max_turn`, `max_waiting` and `max_fingerprints` at once, also for
//! suspects, turns in progress and calls in flight; `max_hold` for new calls; and `duration` for the next quarantine. `enabled = false` forgets all suspects and
//! quarantines, and sends the calls that wait.
//!
//! ```
//! use std::time::Duration;
//! use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
//!
//! let layer = QuarantineLayer::new(QuarantineConfig::default(), |path: &&'static str| *path)?;
//! layer.reload(&QuarantineConfig { duration: Duration::from_secs(300), ..layer.config() })?;
//! assert_eq!(layer.config().duration, Duration::from_secs(300));
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
//! use seawall::error::{Reason, rejection};
//! use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
//! use seawall::retry::{CloneRequest, RetryConfig, RetryLayer};
//! use seawall::verdict::{self, Verdict};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let classifier = verdict::from_fn(|result: Result<&usize, &BoxError>| match result {
//!     Ok(_) => Verdict::Success,
//!     Err(error) if error.to_string() == "connection reset" => Verdict::Lost,
//!     Err(error) => verdict::of_error(error),
//! });
//! let instances = BalanceLayer::new(BalanceConfig::default())?
//!     .with_classifier(classifier)
//!     .with_endpoints(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(Endpoint::new))?
//!     .service(|_| service_fn(|query: &'static str| async move {
//!         if query.starts_with("((((") { Err(BoxError::from("connection reset")) } else { Ok(query.len()) }
//!     }));
//! let search = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryConfig::default())?.with_classifier(classifier).with_replay(CloneRequest::idempotent()))
//!     .layer(
//!         QuarantineLayer::new(QuarantineConfig::default(), |query: &&'static str| *query)?.with_classifier(classifier),
//!     )
//!     .service(instances);
//!
//! let error = search.clone().oneshot("((((((((").await.unwrap_err();
//! assert_eq!(error.to_string(), "connection reset"); // lost twice
//! let error = search.clone().oneshot("((((((((").await.unwrap_err();
//! assert_eq!(rejection(&error).expect("nothing was sent").reason(), Reason::Quarantined);
//! assert_eq!(search.oneshot("tea").await?, 3);
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(
    feature = "http",
    doc = "Over HTTP, the fingerprint is [`MethodAndPath`](crate::http::MethodAndPath) by default:"
)]
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(feature = "http", doc = "use seawall::quarantine::{QuarantineConfig, QuarantineLayer};")]
#![cfg_attr(feature = "http", doc = "")]
#![cfg_attr(feature = "http", doc = "let layer = QuarantineLayer::http(QuarantineConfig::default())?;")]
#![cfg_attr(feature = "http", doc = "# drop(layer);")]
#![cfg_attr(feature = "http", doc = "# Ok::<(), seawall::error::InvalidConfig>(())")]
#![cfg_attr(feature = "http", doc = "```")]
//!
//! # Sources
//! A "query of death" and its answer: Beyer et al., *Site Reliability Engineering* (O'Reilly, 2016), chapter 22, on process death.
//!
//! [`Reason::Quarantined`]: crate::error::Reason::Quarantined
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady
//! [`Reason::QueueFull`]: crate::error::Reason::QueueFull
//! [`Reason::QueueTimeout`]: crate::error::Reason::QueueTimeout

mod call_watch;
mod config;
mod fingerprint;
mod future;
mod handle;
mod layer;
mod service;
mod state;
mod turn;
mod waiting;

use crate::ground::layer_id::LayerKind;

pub use self::call_watch::CallWatch;
pub use self::config::QuarantineConfig;
pub use self::fingerprint::Fingerprint;
pub use self::future::ResponseFuture;
pub use self::handle::QuarantineHandle;
pub use self::layer::QuarantineLayer;
pub use self::service::Quarantine;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Quarantine;
