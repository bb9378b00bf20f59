//! Injects faults on purpose, for tests and for drills in production.
//!
//! A protection that was never tried protects nothing. This layer makes a dependency slow, failing, hanging or broken in the middle of
//! a response, for a share of the calls, up to a number of faults at once, and until an instant at which it is off by itself. A step by
//! step drill is in the [operations guide](crate::operations#run-a-fault-drill).
//!
//! # When not
//! To test how a dependency itself fails: this layer is in the process that calls it, or in front of the service. It cannot lose
//! packets, fill disks or stop processes.
//!
//! # The faults
//! | fault | any service | HTTP and gRPC (`ChaosLayer::http`) |
//! |---|---|---|
//! | [`Latency`](ChaosFault::Latency): fixed, uniform, or log-normal by median and p99 | the call is sent later; not at all if the delay leaves no time | the same |
//! | [`Refuse`](ChaosFault::Refuse) | [`Reason::Injected`], as a refusal of an inner layer: no evidence about the dependency | the same; behind `http::respond` a 503 or `UNAVAILABLE` |
//! | [`Status`](ChaosFault::Status) | the error [`Injected`] | this status, with a `Retry-After`; nothing is sent |
//! | [`Code`](ChaosFault::Code) | the error [`Injected`] | this gRPC code, with a pushback; nothing is sent |
//! | [`Hang`](ChaosFault::Hang) | no answer until the deadline, or `max_hold` without one; nothing is sent | the same |
//! | [`Drop`](ChaosFault::Drop) | the call is sent, and its answer is lost: the error [`Injected`], which classifiers judge as `Lost` | the same; on a server, the connection is closed or the stream reset |
//! | [`Stall`](ChaosFault::Stall) | never injected | after some bytes of the body nothing comes, until the body is cut or dropped |
//! | [`Drip`](ChaosFault::Drip) | never injected | the body comes in small pieces |
//! | [`Truncate`](ChaosFault::Truncate) | never injected | the body ends early, without an error; over HTTP/1.1, a server closes the connection if it announced a length |
//! | [`Reset`](ChaosFault::Reset) | never injected | the body fails with the error [`Injected`]; on a server, the connection is closed or the stream reset |
//! | [`NoTrailers`](ChaosFault::NoTrailers) | never injected | the trailers are missing: over gRPC, the status |
//!
//! # How it behaves
//! - **Which calls:** a rule has a share, and what it matches: by method, path and headers over HTTP, or by a closure
//!   ([`only`](ChaosLayer::only)) for any request. A call gets the first rule that matches and hits. The shares are drawn from
//!   [`seed`](crate::seed): a seeded run repeats.
//! - **The cap:** at most [`max_active`](ChaosConfig::max_active) faults are in progress: delays, hangs, and bodies until they are over.
//!   A call beyond that gets none, and is counted as spared.
//! - **The end:** after [`lasts`](ChaosConfig::lasts) or [`until`](ChaosConfig::until) the layer injects nothing. Faults in progress go
//!   on to their own end. A reload of the same config does not move the end. A process that is started again begins anew: use `until` to exclude that.
//! - **The mark:** an HTTP response that a fault made, delayed or changed has the extension [`Injected`]; errors are [`Injected`], or a
//!   refusal with [`Reason::Injected`]. A hanging call ends with the refusal of the layer whose bound it reaches. The mark stays in the
//!   process: it is not sent.
//! - **Readiness:** that of the inner service; always ready if it is not.
//! - **Cancellation:** dropping the call or its body ends the fault and the inner call at once.
//! - **Clones**, and all services of one layer value, share the cap and the end.
//! - **Errors:** [`Reason::Injected`]; [`Injected`]; [`Reason::DeadlineExpired`] if the deadline had passed when a call arrived that may
//!   get a fault; of a call with a fault [`Reason::DeadlineExceeded`], or [`Reason::HoldExceeded`] after `max_hold`
//!   where there is no deadline; [`Reason::NotReady`] if too many calls wait for the inner service. Any other error is the inner
//!   service's own.
//! - **Panics:** none of its own. A panic in the closure ends the call, and holds nothing.
//! - **The call is over**, for this layer, when its response is there; a fault in the body is over with the body, which is cut at the
//!   deadline or after `max_hold`, read or not, also if the response is `http::LongLived`.
//! - **A name** ([`named`](ChaosLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry): the injected
//!   faults by kind, the spared calls, and whether it is on. With the calls that failed at the outermost layer, this shows what the
//!   layers in between absorbed.
//! - **A call without a fault,** because the layer is off, no rule hits or the cap is reached, has no bound of this layer: it ends as it
//!   would without the layer. Only the number of calls that wait for the inner service is limited, as in every layer.
//! - **Cost:** disabled (the default), or after its end, one load and a comparison. A call without a fault, while it is on, costs a clock
//!   read, a load of the settings, and a sample for each rule that it matches. A damaged body costs what a
//!   held body (`http::HeldBody`) costs, and no copy of its data.
//! - **Place:** on a client innermost, in the place of the dependency, so that all other layers see the fault. On a server outermost, to
//!   try its clients; or inside of its layers, to try these. A server that must not fail, such as axum's, has `http::RespondLayer` around
//!   it, which answers a lost call with 500; only where the error reaches hyper is the connection closed.
//!
//! # Reload
//! A [reload](ChaosLayer::reload) applies to new calls; faults in progress go on. If it changes
//! anything, it begins the time of `lasts` anew; the same config again keeps the end. A lower `max_active` ends no fault.
//!
//! ```
//! use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule};
//!
//! let layer = ChaosLayer::new(ChaosConfig::default())?;
//! assert!(!layer.handle().is_on());
//! let rules = vec![ChaosRule { share: 0.01, ..ChaosRule::new(ChaosFault::Hang) }];
//! layer.reload(&ChaosConfig { enabled: true, rules, ..layer.config() })?;
//! assert!(layer.handle().is_on());
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule};
//! use seawall::retry::{CloneRequest, RetryConfig, RetryLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower::BoxError> {
//! seawall::seed(1);
//! let rules = vec![ChaosRule { share: 0.2, ..ChaosRule::new(ChaosFault::Drop) }];
//! let chaos = ChaosLayer::new(ChaosConfig { enabled: true, rules, ..Default::default() })?;
//! let mut service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryConfig::default())?.with_replay(CloneRequest::idempotent()))
//!     .layer(chaos)
//!     .service(service_fn(|name: &'static str| async move { Ok::<_, tower::BoxError>(name.len()) }));
//!
//! // a lost connection is retried once
//! assert_eq!(service.ready().await?.call("seawall").await?, 7);
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//! Basiri et al., *Chaos Engineering* (IEEE Software, 2016): a hypothesis about the steady state, a small share, a way to stop. Envoy's
//! fault filter: percentages, and `max_active_faults`. The quantiles of the normal distribution are those of Acklam (2003).
//!
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::Injected`]: crate::error::Reason::Injected
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod active;
mod config;
mod fault;
mod future;
mod handle;
mod inject;
mod layer;
mod service;
mod state;

use crate::ground::layer_id::LayerKind;

pub use active::{ActiveBodyFault, ActiveFault};
pub use config::{ChaosConfig, ChaosRule, Matching};
pub use fault::ChaosFault;
pub use future::ResponseFuture;
pub use handle::ChaosHandle;
#[cfg(feature = "http")]
pub(crate) use inject::sealed::SealedInject;
pub use inject::{AnyProtocol, Inject, Only};
pub use layer::ChaosLayer;
pub use service::Chaos;

pub use crate::algorithm::chaos::Delay;
pub use crate::ground::error::Injected;
pub use crate::ground::time::CalendarTime;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Chaos;
