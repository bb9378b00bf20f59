//! Sends a call to several endpoints, and answers when enough of them agree.
//!
//! A replica can be stale, and an instance can be wrong: a read that asks three and believes two is right as long as two are. With
//! `agree = 1` the first good answer wins, which is the quickest answer of all endpoints, for the price of all of them.
//!
//! # When not
//! - To be quick: a [`hedge`](crate::hedge) sends a second call only where the first is slow.
//! - For calls that change something. Every endpoint executes the call, also those whose answer is not waited for. A quorum of writes
//!   is a protocol of its own (versions, repair), and this layer is none.
//!
//! # What decides
//! - **An answer is good** if its [verdict](crate::verdict) is `success` or `caller_fault`, as far as the head of the response shows. Any
//!   other verdict, and any error, is a failed vote.
//! - **Two answers agree** if an [`Agreement`] gives them the same key: the answer itself ([`Equal`], the default), what a closure
//!   computes ([`from_fn`]), or over HTTP the status and the whole body, up to a bound (`QuorumLayer::http`, `http::ByBody`).
//! - **The call is answered** as soon as `agree` answers have the same key, with the first response of those. The other endpoints are
//!   cancelled.
//! - **The call fails** as soon as no key can win any more, or at the deadline. The error is a [`NoQuorum`], which lists every vote, with
//!   the endpoint that a [balancer](crate::balance) has chosen for it.
//!
//! Two different keys can both win if `agree` is at most half of `endpoints`: then the first to have enough votes wins.
//!
//! # How it behaves
//! - **Endpoints:** with [`over`](QuorumLayer::over), a list of services, one for each replica. As a layer, clones of one service. Around
//!   [`balance`](crate::balance) each of these calls prefers an endpoint that the call has not used, and waits for one if those are full. An
//!   endpoint that answers twice has one vote: with fewer usable endpoints than `agree` there is no quorum. Around a load balancer that
//!   seawall does not know, two calls may go to the same replica, which then has two votes: do not believe such a quorum. The request is
//!   cloned for each.
//! - **Place:** around a whole client stack, inside a deadline. The calls know each other's endpoints through the stack's retry and hedge.
//!   A retry around this layer sends all of them again.
//! - **Readiness:** always ready. Each endpoint becomes ready within the call.
//! - **Bounds:** the whole call ends at its deadline, or after `max_hold` without one: readiness, the answers, and the bodies that an
//!   agreement reads. The body of a response that is returned unread is bounded by the layers that hold it.
//! - **Cancellation:** dropping the call drops the calls of all endpoints. Inner layers record them as
//!   [`Abandoned`](crate::verdict::Verdict::Abandoned), which is no failure.
//! - **Errors:** [`NoQuorum`] (`error.downcast_ref::<NoQuorum>()`), with the errors of the endpoints as votes;
//!   [`rejection`](crate::error::rejection) finds in it [`Reason::NoQuorum`], [`Reason::DeadlineExceeded`] or [`Reason::HoldExceeded`].
//!   [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived. At its deadline, a deadline layer further out ends
//!   the call first, and its error has no votes; to see the votes of calls that take too long, set `max_hold` below the deadline, or
//!   leave the deadline to this layer.
//! - **A name** ([`named`](QuorumLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry).
//! - **The verdict** on a call without a quorum is that of its failed votes. `ignored` if all endpoints refused; otherwise `lost` if one is,
//!   or `do_not_retry` if one is: a retry further out then sends nothing, or only what may be executed twice. Otherwise `transient`,
//!   also if all endpoints have answered and the answers differ.
//! - **Cost:** for each endpoint a clone of the request and of the service, and an allocation. One response is kept for each key. Keys
//!   are compared with each other: at most `endpoints` squared comparisons. A pooled timer if no outer layer enforces the deadline.
//! - **Place:** inside the deadline; outside of the layers of single endpoints.
//!
//! # Reload
//! A [reload](QuorumLayer::reload) applies all settings to new calls. A service over a [list](QuorumLayer::over) keeps its endpoints,
//! and all of them have to agree if `agree` is larger than their number.
//!
//! # Example
//! ```
//! use seawall::quorum::{QuorumConfig, QuorumLayer};
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let replica = |version: u32| service_fn(move |_key: &'static str| async move { Ok::<_, std::io::Error>(version) });
//! let layer = QuorumLayer::new(QuorumConfig { endpoints: 3, agree: 2, ..QuorumConfig::default() })?;
//!
//! let quorum = layer.over([replica(7), replica(6), replica(7)])?;
//! assert_eq!(quorum.oneshot("price").await?, 7);
//!
//! let error = layer.over([replica(7), replica(6), replica(5)])?.oneshot("price").await.unwrap_err();
//! let rejected = seawall::error::rejection(&error).expect("a refusal");
//! assert_eq!(rejected.reason(), seawall::error::Reason::NoQuorum);
//! # Ok(())
//! # }
//! ```
//!
//! The example `replicas` has a quorum around a balanced client: each of its calls is retried by itself, and goes to an endpoint of its own.
//!
//! The choice of `agree` and `endpoints` is that of Gifford, *Weighted Voting for Replicated Data* (SOSP 1979): if reads and writes
//! each need more than half, a read meets the last write.
//!
//! [`Reason::NoQuorum`]: crate::error::Reason::NoQuorum
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded

mod agreement;
mod config;
mod flight;
mod future;
mod layer;
mod no_quorum;
mod service;
mod state;

use crate::ground::layer_id::LayerKind;

pub use agreement::{Agreement, Equal, KeyFn, from_fn};
pub use config::QuorumConfig;
pub use future::ResponseFuture;
pub use layer::QuorumLayer;
pub use no_quorum::{NoQuorum, Vote};
pub use service::Quorum;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Quorum;
