//! Serves what can be served in time, and refuses the rest early and cheaply.
//!
//! More calls than a service can handle do not make it answer more of them; they make it answer all of them late. Queues
//! fill with calls whose callers have left, and the work goes into answers that nobody reads. This layer stands in
//! front of a service, measures how long it takes, and refuses at once what it could only serve too late, the least
//! important first.
//!
//! # When not
//! In front of calls to *another* service: that is a [`bulkhead`](crate::bulkhead), whose queue may be longer, and whose permits last
//! as long as the response does.
//!
//! # How it behaves
//! - **Admission:** at most `max_in_flight` calls are served at once. Others wait, by [priority](crate::context::Priority), in a
//!   queue so short that it is worked off within a few service times. A call that ranks before the last one of a full
//!   queue takes its place.
//! - **Deadlines:** while a place is free, a call is refused only if hardly any call would make it in the time it has left, and of those
//!   one in eight is let through. While calls compete, a call is refused that is not likely to make it. Calls need not be
//!   alike: a few slow ones do not shut quick ones out. The measure is how long places are held by calls that went well, and at
//!   least the time after which others were cut: waits inside of the service are in it. It fades when there is no news. Whatever happens,
//!   the layer learns when things are well again.
//! - **Uploads:** in a server's assembled stack a call that waits for its client's body holds no place; the time counts as nobody's.
//!   Once the body has come, it waits for a place before all newcomers, at most 50 ms, and then takes one over the limit. At
//!   most 16 such calls for each place are without one at a time, and the others keep theirs. A call whose work holds a
//!   [permit](current_permit) keeps its place. See [`UploadLayer`](crate::http::UploadLayer).
//! - **Readiness:** always ready, and an idle clone holds no place. At the endpoints of
//!   a load balancer this [hides](crate::circuit_breaker#behind-a-load-balancer) which of them are ready: put it around the balancer.
//! - **Cancellation:** dropping the call gives back its place at once.
//! - **Clones**, and all services made by clones of one layer value, share the limit; with
//!   [`keyed_by`](LoadShedLayer::keyed_by) each key has its own.
//! - **Errors:** [`Reason::QueueFull`], [`Reason::QueueTimeout`], [`Reason::Displaced`] and [`Reason::NotInTime`], with the time after which
//!   the queue should have been served (100 ms while that is not known) and the numbers that decided; [`Reason::DeadlineExpired`] if there was no time left when the call came;
//!   [`Reason::DeadlineExceeded`], or [`Reason::HoldExceeded`] where there is no deadline, at the call's bound;
//!   [`Reason::NotReady`] if too many wait for the inner service; any other error is the inner service's own.
//! - **The call is over** when its response is there: a slow reader of a body holds no place. Work that is not stopped with its call, as in
//!   `spawn_blocking`, takes a [permit](current_permit) along.
//! - **Off:** with `enabled: false` every call passes, and none is counted.
//! - **What is measured** is how long a call holds its place; [`evidence`](crate::evidence) has the table.
//! - **A name** ([`named`](LoadShedLayer::named)) makes it seen in metrics, logs, refusals and the [registry](crate::registry): places,
//!   line, limit, and by verdict how long places were held. There its limit can be set by hand, too.
//! - **A reload** ([`reload`](LoadShedLayer::reload)) ends no call: those that are served, the line and what is known of the service's
//!   time are kept, and a lower limit is reached as calls end.
//! - **Cost:** an `Arc` clone, two atomic updates and one reading of the clock; a short lock while calls wait.
//! - **Place:** innermost, right around the service: inside the layers that turn refusals into answers and set the deadline.
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
//! [`Reason::QueueTimeout`]: crate::error::Reason::QueueTimeout
//! [`Reason::DeadlineExceeded`]: crate::error::Reason::DeadlineExceeded
//! [`Reason::DeadlineExpired`]: crate::error::Reason::DeadlineExpired
//! [`Reason::NotInTime`]: crate::error::Reason::NotInTime
//! [`Reason::HoldExceeded`]: crate::error::Reason::HoldExceeded
//! [`Reason::NotReady`]: crate::error::Reason::NotReady

mod config;
mod future;
mod handle;
mod layer;
mod service;

use crate::ground::layer_id::LayerKind;

pub use config::LoadShedConfig;
pub use future::ResponseFuture;
pub use handle::LoadShedHandle;
pub use layer::LoadShedLayer;
pub use service::LoadShed;

pub use crate::layers::permits::work::{WorkPermit, current_permit};

pub use crate::admission::gate::Order;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::LoadShed;
