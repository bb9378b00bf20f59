//! The laws of the library: each is written once, and holds for every layer and for the full stacks of a client and of
//! a server.
//!
//! The inner services are the difficult ones of `inner`; time is virtual, and randomness is seeded.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

/// Makes a test of each law for each subject, so that a failure names both.
macro_rules! every_layer {
    ($($law:ident),+ $(,)?) => { $(
        mod $law {
            every_layer!(@ $law deadline retry hedge hedge_at_once quorum circuit_breaker half_open bulkhead rate_limit throttle load_shed balance balance_half_open quarantine quarantine_suspect fallback chaos client_stack server_stack);
        }
    )+ };
    (@ $law:ident $($subject:ident)+) => { $(
        #[tokio::test(start_paused = true)]
        async fn $subject() {
            seawall::seed(42);
            super::$law(crate::layers::$subject()).await;
        }
    )+ };
}

mod accessors;
mod bodies;
mod bounds;
mod cancellation;
mod configuration;
mod drive;
mod errors;
mod holding;
mod inner;
mod latency;
mod layers;
mod panics;
mod readiness;
mod refusals;
mod stale;
mod subject;
mod unready;
