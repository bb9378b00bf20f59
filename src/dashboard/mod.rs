//! A page that shows every named layer live: which are in trouble, since when, and why calls are refused.
//!
//! It gives a first diagnosis without a metrics system: open it in a browser, on a laptop or a phone. It is one service to mount, and
//! its page loads nothing external.
//!
//! ```
//! use axum::Router;
//! use seawall::dashboard::Dashboard;
//! use seawall::registry::Registry;
//! use seawall::stack::{self, ClientConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What has a name is shown.
//! let payments = stack::client(&ClientConfig::default())?.named("payments")?;
//!
//! let dashboard = Dashboard::new(Registry::global().clone());
//! let app: Router = Router::new().nest_service("/seawall", dashboard);
//! # drop((app, payments));
//! # Ok(())
//! # }
//! ```
//!
//! The page is at `/seawall` and at `/seawall/`. A [`Dashboard`] is a tower service of any `http::Request`: if a router does not strip
//! the prefix, set it with [`Dashboard::mounted_at`].
//!
//! # What it shows
//! Every component of the [registry](crate::registry), by name, components in trouble first. Each has its state in a word, and curves
//! of the last minute: calls per second, good and failed; refusals; calls in flight against the limit, and waiting calls; the 99th
//! percentile of the durations of successes; what is left of a retry budget; the states of a breaker. Below them is the last
//! refusal, with what to do about it. Everything that a colour shows is also stated in a word.
//!
//! `GET <mount path>/live` returns the same data as JSON: a [`Snapshot`](crate::registry::Snapshot) whose components each have an
//! additional `last_minute`. The page shows this one process. For a fleet, and for longer periods, use the
//! [metrics](crate::operations).
//!
//! The page never shows anything of a request: no path, no header, no key, no body. It shows the names that you gave.
//!
//! # Access
//! Every client that can reach the page can read it. Mount it where it is not public: on a separate listener, on the loopback
//! interface, or behind your own layer that authenticates requests:
//!
//! ```
//! # use axum::{Router, extract::Request, http::StatusCode, middleware::{self, Next}, response::Response};
//! # use seawall::{dashboard::Dashboard, registry::Registry};
//! async fn ops_only(request: Request, next: Next) -> Result<Response, StatusCode> {
//!     let is_ops = request.headers().get("x-user").is_some_and(|user| user == "ops"); // your own check
//!     if is_ops { Ok(next.run(request).await) } else { Err(StatusCode::NOT_FOUND) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let dashboard = Dashboard::new(Registry::global().clone());
//! let app: Router = Router::new().nest_service("/seawall", dashboard).layer(middleware::from_fn(ops_only));
//! # drop(app);
//! # }
//! ```
//!
//! It accepts IP addresses, `localhost`, and the names given to [`Dashboard::with_hosts`]. A request with any other name in `Host` gets
//! 421. Otherwise another site could point its own name at this server and have a browser read the page (DNS rebinding).
//!
//! Do not mount it behind seawall's own server stack: the page must not be shed in an overload.
//!
//! The page can load and run nothing but itself (a `Content-Security-Policy` of hashes). It cannot be framed, and caches must not store
//! it. It inserts all data as text.
//!
//! # Manual commands
//! The page is read-only until [`Dashboard::with_controls`] is given your authorization check. Requests that pass it get buttons: to
//! force a breaker open (after a confirmation), let it decide again, or reset it, and to set the limit of a bulkhead or a load shedder.
//! The check runs again for every command. Each command that is applied is logged as a warning.
//!
//! A command is sent as `POST <mount path>/control` with a JSON body of at most 4 KiB, sent within 5 s by default: `{"name": "payments", "layer":
//! "circuit_breaker", "command": "force_open"}`, where `command` is a [`Command`](crate::registry::Command): `"force_open"`, `"enforce"`,
//! `"observe"`, `"disable"`, `"reset"` or `{"set_limit": 16}`. It needs the headers `content-type: application/json` and
//! `x-seawall-control: 1`, and must not come from another origin, so that no other site can have a browser send it. Responses: 200 with the
//! component as it is now; 400 for an invalid body, 403 for an unauthorized request, 404 for an unknown component (and for every command
//! without controls), 405, 408, 413, 415, 421 for a `Host` that is not allowed, and 422 for a command that is unknown or that the
//! component does not support.
//!
//! # What it costs
//! It adds nothing to a call. A task reads all components once a second while a clone of the dashboard exists. For each component it
//! keeps 60 samples of about 200 bytes and one histogram of 1.6 kB. An open page requests about 4 kB per component each second, a tenth
//! of that over the wire with gzip, and nothing while its tab is hidden. The document is made once a second, on a blocking thread, and
//! shared by all requests. At most 128 responses are in flight at once; further requests get 503, so that readers that read nothing
//! hold bounded memory. A [`DashboardConfig`] changes these limits. Time is tokio's, so with a paused clock the last minute follows that clock.

mod answer;
mod body;
mod config;
mod control;
mod document;
mod future;
mod history;
mod host;
mod page;
mod reading;
mod sampler;
mod service;

pub use body::Body;
pub use config::DashboardConfig;
pub use future::ResponseFuture;
pub use service::Dashboard;
