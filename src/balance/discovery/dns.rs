//! Endpoints from DNS: an endpoint for each address of a name.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{Stream, stream};

use super::{follower, lookup};
use crate::admission::timer::until;
use crate::balance::endpoint::Endpoint;
use crate::ground::chance;
use crate::ground::error::InvalidConfig;
use crate::ground::time::{self, Instant};
use crate::ground::validation::{Validate, Validation};
#[cfg(feature = "config")]
use crate::loader::HumanTime;
use crate::telemetry;

/// The shortest interval, also between attempts after a failure.
const SHORTEST: Duration = Duration::from_secs(1);

/// How often a name is resolved.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct DnsConfig {
    /// The longest time between two resolutions, at least 1 s. Default: 30 s, a usual lifetime of records of services that move. The
    /// system's resolver does not tell the lifetime.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub interval: Duration,
    /// By which share the interval is shortened at random, so that clients do not resolve at the same moments: within `0..=1`.
    /// Default: 0.2.
    pub jitter: f64,
    /// How long an attempt waits for the resolver; more than zero. Default: 5 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub timeout: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), jitter: 0.2, timeout: Duration::from_secs(5) }
    }
}

impl Validate for DnsConfig {
    fn check(&self, validation: &mut Validation) {
        validation.at_least("interval", self.interval, SHORTEST);
        validation.ratio("jitter", self.jitter);
        validation.positive("timeout", self.timeout);
    }
}

/// The addresses of `host`, a name with a port, as sets of endpoints for [`BalanceHandle::follow`](crate::balance::BalanceHandle::follow). The
/// address is the key.
///
/// If a resolution fails, takes too long or finds no address, that is logged, the last set stays, and the next attempt follows after
/// 1 s, then 2 s, up to the interval.
///
/// The system's resolver runs on a blocking thread of tokio, and cannot be cancelled. A resolution that hangs keeps its thread after the
/// timeout; the next attempts wait for it, so each name blocks one thread at most.
///
/// # Errors
/// If a setting is out of its range, or `host` is no name with a port; all faults are listed, with the path of the field. A name that
/// does not resolve is no fault: it may do so later.
///
/// ```no_run
/// use seawall::balance::{BalanceConfig, BalanceLayer, DnsConfig, dns};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = BalanceLayer::new(BalanceConfig::default())?;
/// layer.handle().follow(dns("payments.internal:8080", DnsConfig::default())?);
/// # Ok(())
/// # }
/// ```
pub fn dns(
    host: impl Into<String>,
    config: DnsConfig,
) -> Result<impl Stream<Item = Vec<Endpoint>> + Send + 'static, InvalidConfig> {
    let host = host.into();
    Validation::of(|validation| {
        let problem =
            format_args!("invalid value: {host:?}, must be a name with a port, such as `payments.internal:8080`");
        validation.check(has_port(&host), "host", problem);
        config.check(validation);
    })?;
    Ok(resolutions(host, config, lookup::lookup))
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse().is_ok_and(|port: u16| port > 0))
}

/// The state between two resolutions.
struct Resolutions<R> {
    host: String,
    config: DnsConfig,
    resolve: R,
    /// `None` before the first.
    next: Option<Instant>,
    failures: u32,
}

fn resolutions<R, F>(host: String, config: DnsConfig, resolve: R) -> impl Stream<Item = Vec<Endpoint>>
where
    R: Fn(String) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    stream::unfold(Resolutions { host, config, resolve, next: None, failures: 0 }, |mut resolutions| async move {
        let endpoints = resolutions.next().await;
        Some((endpoints, resolutions))
    })
}

impl<R, F> Resolutions<R>
where
    R: Fn(String) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    /// Waits until the next resolution is due, and repeats it until it succeeds.
    async fn next(&mut self) -> Vec<Endpoint> {
        loop {
            if let Some(next) = self.next {
                until(next).await;
            }
            let resolved = self.resolve().await;
            self.failures = if resolved.is_ok() { 0 } else { self.failures.saturating_add(1) };
            self.next = Some(time::now() + self.pause());
            match resolved {
                Ok(endpoints) => return endpoints,
                Err(error) => telemetry::resolution_failed(&follower::instruments(), &self.host, &error),
            }
        }
    }

    /// The time until the next attempt.
    fn pause(&self) -> Duration {
        let DnsConfig { interval, jitter, .. } = self.config;
        let longest = match self.failures {
            0 => interval,
            failures => SHORTEST.saturating_mul(1 << (failures - 1).min(16)).min(interval),
        };
        longest.mul_f64(1.0 - jitter * chance::sample()).max(SHORTEST)
    }

    async fn resolve(&self) -> io::Result<Vec<Endpoint>> {
        let timeout = until(time::now() + self.config.timeout);
        let mut addresses = match select(pin!((self.resolve)(self.host.clone())), pin!(timeout)).await {
            Either::Left((addresses, _)) => addresses?,
            Either::Right(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        // Resolvers rotate the addresses.
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no addresses"));
        }
        Ok(addresses.into_iter().map(|address| Endpoint::new(address.to_string())).collect())
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt;
    use tower::{BoxError, ServiceExt, service_fn};

    use super::*;
    use crate::balance::{BalanceConfig, BalanceLayer};

    const SECOND: Duration = Duration::from_secs(1);

    fn found(last: &[u8]) -> io::Result<Vec<SocketAddr>> {
        Ok(last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 80))).collect())
    }

    /// Bad answers yield nothing, and the next attempt follows soon; an answer that does not come ends at its timeout.
    #[tokio::test(start_paused = true)]
    async fn bad_answers_yield_nothing_and_are_repeated_soon() {
        let count = AtomicUsize::new(0);
        let resolve = |host: String| {
            assert_eq!(host, "payments:80");
            let count = count.fetch_add(1, Ordering::SeqCst);
            async move {
                match count {
                    0 => Err(io::ErrorKind::NotFound.into()),
                    1 => found(&[]),
                    2 => std::future::pending().await,
                    3 => found(&[2, 1, 2]),
                    _ => found(&[3]),
                }
            }
        };
        let config = DnsConfig { jitter: 0.0, ..DnsConfig::default() };
        let mut sets = pin!(resolutions("payments:80".to_owned(), config, resolve));
        let start = time::now();
        let set = sets.next().await.expect("it does not end");
        assert_eq!(set.iter().map(Endpoint::key).collect::<Vec<_>>(), ["10.0.0.1:80", "10.0.0.2:80"]);
        // Pauses of 1, 2 and 4 s, and a timeout of 5 s.
        assert_eq!(time::now().since(start).as_secs(), 12);
        sets.next().await;
        assert_eq!(time::now().since(start).as_secs(), 42);
    }

    /// The addresses of a name become the endpoints of a balancer, and its calls go there. While nothing is found, the last ones stay.
    #[tokio::test(start_paused = true)]
    async fn followed_name_yields_the_endpoints_of_a_balancer() {
        let count = Arc::new(AtomicUsize::new(0));
        let resolve = move |_: String| {
            let count = count.fetch_add(1, Ordering::SeqCst);
            async move {
                match count {
                    0 => Err(io::ErrorKind::NotFound.into()),
                    1 => found(&[2, 1]),
                    2 => found(&[]),
                    _ => found(&[3]),
                }
            }
        };
        let layer = BalanceLayer::new(BalanceConfig::default()).expect("a valid config");
        let client = |endpoint: &Endpoint| {
            let address = endpoint.address().to_owned();
            service_fn(move |()| std::future::ready(Ok::<_, BoxError>(address.clone())))
        };
        let (handle, service) = (layer.handle(), layer.service(client));
        let config = DnsConfig { jitter: 0.0, ..DnsConfig::default() };
        handle.follow(resolutions("payments:80".to_owned(), config, resolve));
        let start = time::now();
        let answer = service.clone().oneshot(()).await.expect("it waits for the first set");
        assert!(["10.0.0.1:80", "10.0.0.2:80"].contains(&&*answer), "{answer}");
        assert_eq!(time::now().since(start).as_secs(), 1, "the pause after a failure");
        let keys = || handle.endpoints().iter().map(|endpoint| endpoint.key().to_owned()).collect::<Vec<_>>();
        until(start + 31 * SECOND + SECOND / 2).await;
        assert_eq!(keys(), ["10.0.0.1:80", "10.0.0.2:80"]);
        until(start + 33 * SECOND).await;
        assert_eq!(keys(), ["10.0.0.3:80"]);
        assert_eq!(service.oneshot(()).await.expect("it answers"), "10.0.0.3:80");
    }

    #[test]
    fn pause_has_jitter_and_a_floor() {
        let pause = |interval, jitter, failures| {
            let config = DnsConfig { interval, jitter, ..DnsConfig::default() };
            let resolutions = Resolutions {
                host: String::new(),
                config,
                resolve: |_: String| async { found(&[1]) },
                next: None,
                failures,
            };
            (0..1000)
                .map(|_| resolutions.pause())
                .fold((Duration::MAX, Duration::ZERO), |(least, most), pause| (least.min(pause), most.max(pause)))
        };
        let (least, most) = pause(30 * SECOND, 0.2, 0);
        assert!(least >= 24 * SECOND && most <= 30 * SECOND && most - least > 5 * SECOND, "{least:?} {most:?}");
        assert_eq!(pause(SECOND, 1.0, 0), (SECOND, SECOND));
        assert_eq!(pause(30 * SECOND, 0.0, 3), (4 * SECOND, 4 * SECOND));
        assert_eq!(pause(30 * SECOND, 0.0, u32::MAX), (30 * SECOND, 30 * SECOND));
    }

    #[test]
    fn faults_of_the_config_are_found() {
        let config = DnsConfig { interval: SECOND / 2, jitter: 1.1, timeout: Duration::ZERO };
        let invalid = dns("payments:80", config).err().expect("three faults");
        let paths: Vec<_> = invalid.faults().iter().map(|fault| fault.path()).collect();
        assert_eq!(paths, ["interval", "jitter", "timeout"]);
    }

    #[test]
    fn host_needs_a_port() {
        for good in ["payments:80", "payments.internal:8080", "10.0.0.1:1", "[::1]:65535"] {
            assert!(dns(good, DnsConfig::default()).is_ok(), "{good}");
        }
        for bad in ["", "payments", "payments:", "payments:http", "payments:0", "payments:65536", ":80", "::"] {
            let invalid = dns(bad, DnsConfig::default()).err().expect(bad);
            assert_eq!(invalid.faults().iter().map(|fault| fault.path()).collect::<Vec<_>>(), ["host"], "{bad}");
        }
    }
}
