//! A page that shows every named layer live: who is in trouble, since when, and why calls are refused.
//!
//! It answers the question that comes first when something is wrong, without a metrics system at hand: open it in a browser, on a
//! laptop or a phone. It is one service to mount, with a page that needs nothing from elsewhere.
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
//! The page is at `/seawall` and at `/seawall/`. A [`Dashboard`] is a tower service of any `http::Request`: where a router does not take
//! the prefix off, say it with [`Dashboard::mounted_at`].
//!
//! # What it shows
//! Every component of the [registry](crate::registry), by name, trouble first: its state in a word, and curves of the last
//! minute: calls a second, good and failed; refusals; calls in flight against the limit, and those that wait; the time within
//! which 99 % of successes came; what is left of a retry budget; the states of a breaker. Under each stands the last refusal in
//! words, and what to do about it. Whatever is said by a colour is said by a word too.
//!
//! The same is at `GET <where it is>/live` as JSON, for whoever has no browser: a [`Snapshot`](crate::registry::Snapshot) of which each component
//! has a `last_minute` beside. It shows this one process; for a fleet, and for yesterday, take the [metrics](crate::operations).
//!
//! It never shows anything of a request: no path, no header, no key, no body. What it has of yours are the names that you gave.
//!
//! # Who sees it
//! Whoever reaches it. Mount it where the world does not come: on a listener of its own, on the loopback interface, or behind a
//! layer of yours that asks who it is:
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
//! It answers to IP addresses, to `localhost`, and to the names given to [`Dashboard::with_hosts`]. Any other name in `Host` gets 421, so that
//! no page elsewhere can have a browser read it by pointing a name of its own at this server (DNS rebinding).
//!
//! Not behind seawall's own server stack: a page that is to be seen in an overload must not be shed.
//!
//! The page may load and run nothing but itself (a `Content-Security-Policy` of hashes), cannot be framed, and is stored by nobody. All
//! that it shows goes in as text.
//!
//! # Moving things by hand
//! Nobody can, until [`Dashboard::with_controls`] is given a check of yours. Then those who pass it have buttons: to force a breaker
//! open (after a question), let it decide again, or reset it, and to set the limit of a bulkhead or a load shedder. The check is made
//! again for every order. Each one that is applied is told in a warning.
//!
//! An order is `POST <where it is>/control` with a JSON body of at most 4 KiB, sent within 5 s: `{"name": "payments", "layer":
//! "circuit_breaker", "command": "force_open"}`, where `command` is a [`Command`](crate::registry::Command): `"force_open"`, `"enforce"`,
//! `"observe"`, `"disable"`, `"reset"` or `{"set_limit": 16}`. It needs the headers `content-type: application/json` and
//! `x-seawall-control: 1`, and must not come from another origin, so that no other site can have a browser send it. Answers: 200 with the
//! component as it is now; 400 for what is no order, 403 for who may not, 404 for an unknown component (and for all where there are
//! no controls), 405, 408, 413, 415, 421 for a `Host` that is not allowed, and 422 for a command that there is not, or that this component cannot carry out.
//!
//! # What it costs
//! Calls: nothing. A task looks at all components once a second, for as long as a clone of the dashboard is there, and keeps 60 samples
//! of about 200 bytes and one histogram of 1.6 kB for each. An open page asks for about 4 kB a component each second, a tenth of that over the
//! wire by gzip, and none while its tab is hidden. The answer is made once a second, on a thread for blocking work, and shared by all
//! that ask. At most 128 answers are on their way at once; more get 503, so that readers that take nothing hold bounded memory.
//! Time is tokio's, so under a paused clock the minute moves with it.

mod answer;
mod body;
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
pub use future::ResponseFuture;
pub use service::Dashboard;
