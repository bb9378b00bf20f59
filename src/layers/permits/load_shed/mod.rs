//! Serves the calls that can be served in time, and refuses the rest early and cheaply.
//!
//! Under overload a service does not answer more calls; it answers all of them late. Its queue fills with calls whose callers have
//! left, and it works on responses that are never read. This layer sits in front of a service, measures how long calls take, and
//! refuses at once those that would be served too late, the lowest priorities first.
//!
//! # When not
//! In front of calls to *another* service: use [`bulkhead`](crate::bulkhead), whose queue may be longer, and whose permits are held
//! until the end of the response.
//!
//! # How it behaves
//! - **The limit** of calls that are served at once is `max_in_flight` until calls are short of time, and then learned, or fixed: see [`Limit`].
//! - **Admission:** calls beyond the limit wait, by [priority](crate::context::Priority), then by [key](crate::fair_share) if they have one, in a queue that is short enough to be served
//!   within a few service times. A small share of the permits (`low_priority_share`) goes to lower priorities all the same. If the queue
//!   is full, a call that is served earlier displaces the last one.
//! - **Deadlines:** while a permit is free, a call is refused only if almost no call would finish in the time that it has left, and
//!   one in eight such calls is admitted all the same. While calls compete for permits, a call that is unlikely to finish in time is
//!   refused. Calls need not be alike: a few slow calls do not lock out quick ones. The estimate is how long successful calls hold
//!   their permits, and at least the time after which others were cut; waits inside the service are included. It decays without new
//!   samples. In every state the layer keeps learning, so it notices when the service has recovered.
//! - **A busy runtime:** with `max_lag`, a share of the calls is refused while the runtime polls ready tasks too late: see
//!   [runtime lag](#runtime-lag). Off by default.
//! - **Lasting overload:** the queue is kept short, as in a [bulkhead](crate::bulkhead#how-it-behaves).
//! - **Uploads:** in a server's assembled stack, a call that waits for its client's body holds no permit, and the wait is not
//!   measured. Once the body has arrived, the call waits for a permit before all new calls, at most 50 ms, and then takes one over the
//!   limit. At most 16 such calls for each permit are without one at a time; further ones keep theirs. A call whose work holds a
//!   [permit](current_permit) keeps its own. See [`UploadLayer`](crate::http::UploadLayer).
//! - **Readiness:** always ready; an idle clone holds no permit. At the endpoints of a load balancer this
//!   [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put the layer around the balancer.
//! - **Cancellation:** dropping the call releases its permit, or its position in the queue, at once.
//! - **Clones**, and all services made by clones of one layer value, share the limit; with
//!   [`keyed_by`](LoadShedLayer::keyed_by) each key has its own.
//! - **Errors:** [`Reason::QueueFull`], [`Reason::QueueTimeout`], [`Reason::Displaced`] and [`Reason::NotInTime`], with a
//!   `retry_after` (when the queue should have been served; 100 ms while that is unknown) and the numbers behind the decision;
//!   [`Reason::RuntimeLag`] with a `retry_after` of 1 s, the lag, its bound and the share of the calls that is refused;
//!   [`Reason::DeadlineExpired`] if the deadline had passed when the call arrived; [`Reason::DeadlineExceeded`], or
//!   [`Reason::HoldExceeded`] where there is no deadline, at the call's bound; [`Reason::NotReady`] if too many calls wait for the
//!   inner service. Any other error is the inner service's own.
//! - **The call is over** when its response head is ready: a slow reader of a body holds no permit. Work that continues after its call
//!   is cancelled, as in `spawn_blocking`, can hold a [permit](current_permit).
//! - **Off:** with `enabled: false` every call passes, and none is counted.
//! - **Measured:** how long a call holds its permit; [`evidence`](crate::evidence) has the table.
//! - **A name** ([`named`](LoadShedLayer::named)) shows the layer in metrics, logs, refusals and the [registry](crate::registry):
//!   permits, queue, limit, and by verdict how long permits were held. In the registry its limit can also be set by hand.
//! - **Cost:** an `Arc` clone, two atomic updates and one clock read; a short lock while calls wait. With a limit that learns: a short lock in one
//!   call of sixteen, and two in each while calls are short of time or the limit is below its maximum. With `max_lag`: a short lock more, and for each runtime
//!   one task that wakes up at most twenty times a second.
//! - **Place:** innermost, directly around the service: inside the layers that turn refusals into responses and set the deadline.
//!
//! # Runtime lag
//! A handler that computes on the runtime, for milliseconds without an `await`, delays every task that is ready: new connections, timers,
//! other calls. Permits do not show this: a call is quick once it is polled, so few are in flight. What grows is the time until it is
//! polled. With `max_lag`, the layer measures it: a task sleeps for 50 ms, and then waits behind the tasks that are ready. The time by which
//! it is late, less the timer's resolution of 1 ms, is the lag of its runtime.
//!
//! - **Which lag counts:** one that stands. The lag of four samples in a row has to exceed `max_lag`, over at least 160 ms. One pause of the
//!   process, however long, refuses nothing: a suspended machine, a debugger. On a runtime with several workers, one that is blocked
//!   is no lag, because the others poll what is ready. If all are blocked, there is.
//! - **What is refused:** a share of the calls, those of the lowest priority first. The growth of the lag says by how much the admitted
//!   calls exceed what the workers can do, so the share needs no setting. Under lasting overload the lag stays around `max_lag`, and
//!   calls wait for a few times that. At least one call in 32 of each priority is admitted.
//! - **When it ends:** while the lag is less than half of `max_lag`, the admitted share grows by a tenth in 0.2 s: after 8 s at most, all
//!   calls are admitted again. The lag is measured without calls, so this does not depend on traffic.
//! - **If the calls are not the cause**, but other tasks of the runtime, refusals do not help. If the lag has stayed the same while the
//!   admitted share was cut to a quarter, all calls are admitted again, until the lag is gone or has more than doubled.
//! - **Limits:** a worker that always has a task at hand looks at timers and sockets only after some dozens of tasks. So at nine tenths of
//!   the capacity, handlers that compute for 20 ms may cause some refusals. Work in `spawn_blocking` is not measured. A call that
//!   waits for a permit already is not refused for the lag.
//! - **Several runtimes** that share a layer value, such as one with a single thread for each core, have a lag and a share each. Outside of
//!   a runtime nothing is measured.
//! - **The task** begins with the first call in its runtime. It ends within 50 ms after the layer value and its services are gone, or the
//!   option is off. It keeps neither alive. With tokio's paused time, the clock advances in its steps.
//! - **Source:** the standing queue of CoDel (Nichols and Jacobson, "Controlling Queue Delay", 2012), with a controller for the share of admitted
//!   calls as in DAGOR (Zhou et al., "Overload Control for Scaling WeChat Microservices", 2018).
//!
//! ```
//! use std::time::Duration;
//! use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let config = LoadShedConfig { max_lag: Some(Duration::from_millis(50)), ..Default::default() };
//! let service = LoadShedLayer::new(config)?.layer(service_fn(|text: String| async move {
//!     // computes on the runtime
//!     Ok::<_, tower::BoxError>(text.bytes().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte)))
//! }));
//! assert_eq!(service.oneshot("a".to_owned()).await?, 97);
//! # Ok(())
//! # }
//! ```
//!
//! # Reload
//! A [reload](LoadShedLayer::reload) ends no call. It applies:
//!
//! - **At once:** `max_in_flight`, `limit`, `objective`, `enabled`, `max_keys` and `max_lag`. A learned limit stays, as far as it fits. A higher
//!   limit admits waiting calls. A lower limit ends no call; it is reached as calls end. With `enabled: false` all waiting calls pass. A
//!   lower `max_keys` forgets keys whose state is as good as new, and other keys once theirs is.
//! - **For new calls:** `queue_ratio`, `max_wait`, `max_hold`, `order` and `low_priority_share`. A waiting call keeps its position and the bound of its
//!   wait; a running call keeps its bound.
//! - **What survives:** everything else: running calls, the queue, and the estimate of the service time. A limit that was [set by
//!   hand](PermitsHandle::set_limit) stays in force until `max_in_flight` changes.
//!
//! ```
//! use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
//!
//! let layer = LoadShedLayer::new(LoadShedConfig::default())?;
//! layer.reload(&LoadShedConfig { max_in_flight: 16, ..layer.config() })?;
//! assert_eq!(layer.handle().limit(), 16);
//! # Ok::<(), seawall::error::InvalidConfig>(())
//! ```
//!
//! # Example
//! ```
//! use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let mut service = ServiceBuilder::new()
//!     .layer(LoadShedLayer::new(LoadShedConfig { max_in_flight: 10, ..Default::default() })?)
//!     .service(service_fn(|name: &'static str| async move { Ok::<_, tower::BoxError>(name.len()) }));
//!
//! assert_eq!(service.ready().await?.call("seawall").await?, 7);
//! # Ok(())
//! # }
//! ```
//!
//! [`Reason::QueueFull`]: crate::error::Reason::QueueFull
//! [`Reason::Displaced`]: crate::error::Reason::Displaced
//! [`Reason::RuntimeLag`]: crate::error::Reason::RuntimeLag
//! [`Reason::QueueTimeout`]: crate::error::Reason::QueueTimeout
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::NotInTime`]: crate::error::Reason::NotInTime
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod config;
mod future;
mod layer;
mod service;

use crate::ground::layer_id::LayerKind;

pub use config::LoadShedConfig;
pub use future::ResponseFuture;
pub use layer::LoadShedLayer;
pub use service::LoadShed;

pub use crate::layers::permits::handle::PermitsHandle;
pub use crate::layers::permits::limit::Limit;
pub use crate::layers::permits::work::{WorkPermit, current_permit};

pub use crate::admission::gate::Order;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::LoadShed;
