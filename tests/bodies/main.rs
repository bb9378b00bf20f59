//! A call is over when its body is over. A client's layers around hyper-util's client meet servers that misbehave,
//! mostly over connections in memory.
#![cfg(feature = "http")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

/// Runs each function as a test over HTTP/1.1 and over HTTP/2, so that a failure names both.
macro_rules! both_protocols {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            #[tokio::test(start_paused = true)]
            async fn http1() {
                super::$test(crate::servers::Protocol::Http1).await;
            }

            #[tokio::test(start_paused = true)]
            async fn http2() {
                super::$test(crate::servers::Protocol::Http2).await;
            }
        }
    )+ };
}

mod client;
#[cfg(feature = "metrics")]
#[path = "../listening/mod.rs"]
mod listening;
#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;
mod servers;

mod bounds;
mod cancellation;
mod cuts;
mod endless;
mod foreign;
mod health;
mod hedges;
mod hostile;
mod lengths;
mod long_lived;
mod memory;
mod pauses;
mod retries;
mod runtimes;
mod transparency;
