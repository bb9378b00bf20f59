//! Look-ups of names on blocking threads, at most one at a time for each name.
//!
//! The system's resolver blocks its thread and cannot be cancelled: a look-up that hangs keeps the thread after its caller has given up.
//! Further look-ups of the name wait for it instead of blocking more threads.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::ground::sync::foreign;
use crate::ground::sync::global::{Mutex, lock};

/// The look-ups that run, by name and port.
static RUNNING: Mutex<BTreeMap<String, Arc<Lookup>>> = Mutex::new(BTreeMap::new());

/// A look-up, which may have several callers.
#[derive(Debug, Default)]
struct Lookup {
    found: OnceLock<io::Result<Vec<SocketAddr>>>,
    /// Notified once there is a result.
    ended: Notify,
}

/// The addresses of `host`, a name with a port. Needs a tokio runtime.
pub(super) async fn lookup(host: String) -> io::Result<Vec<SocketAddr>> {
    lookup_with(host, |host| Ok(host.to_socket_addrs()?.collect())).await
}

async fn lookup_with<R>(host: String, resolve: R) -> io::Result<Vec<SocketAddr>>
where
    R: FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
{
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let lookup = join_or_start(host, resolve);
    // Before the result is checked: its end is not missed.
    let ended = lookup.ended.notified();
    if lookup.found.get().is_none() {
        ended.await;
    }
    match lookup.found.get() {
        Some(Ok(addresses)) => Ok(addresses.clone()),
        Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
        None => Err(cancelled()),
    }
}

fn join_or_start<R>(host: String, resolve: R) -> Arc<Lookup>
where
    R: FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
{
    let lookup = Arc::new(Lookup::default());
    {
        let mut running = lock(&RUNNING);
        if let Some(running) = running.get(&host) {
            return Arc::clone(running);
        }
        running.insert(host.clone(), Arc::clone(&lookup));
    }
    let running = Running { host, lookup: Arc::clone(&lookup) };
    drop(tokio::task::spawn_blocking(move || {
        let found = resolve(&running.host);
        let _ = running.lookup.found.set(found);
    }));
    lookup
}

/// The entry of a look-up that runs. It is removed on drop: also if the runtime shuts down before the look-up runs.
struct Running {
    host: String,
    lookup: Arc<Lookup>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.lookup.found.set(Err(cancelled()));
        lock(&RUNNING).remove(&self.host);
        foreign(|| self.lookup.ended.notify_waiters());
    }
}

fn cancelled() -> io::Error {
    io::Error::other("the look-up was cancelled")
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    /// Its caller gives up, as at a timeout, and others come while it hangs.
    #[tokio::test]
    async fn hung_lookup_is_joined_and_not_started_again() {
        let started = Arc::new(AtomicUsize::new(0));
        let ((answer, answers), host) = (mpsc::channel(), || "hung.example:80".to_owned());
        let counts = Arc::clone(&started);
        let hangs = lookup_with(host(), move |_| {
            counts.fetch_add(1, Ordering::SeqCst);
            Ok(vec![answers.recv().expect("an answer")])
        });
        assert!(hangs.now_or_never().is_none());
        let other = |counts: &Arc<AtomicUsize>| {
            let counts = Arc::clone(counts);
            lookup_with(host(), move |_| {
                counts.fetch_add(1, Ordering::SeqCst);
                Ok(vec![address(2)])
            })
        };
        for _ in 0..10 {
            assert!(other(&started).now_or_never().is_none());
        }
        let joined = tokio::spawn(other(&started));
        tokio::task::yield_now().await;
        answer.send(address(1)).expect("it still runs");
        assert_eq!(joined.await.expect("no panic").expect("an answer"), [address(1)]);
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert_eq!(other(&started).await.expect("an answer"), [address(2)], "the next one is a new one");
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn failed_lookup_is_an_error_for_all_its_callers() {
        let (answer, answers) = mpsc::channel();
        let host = || "failed.example:80".to_owned();
        let fails = lookup_with(host(), move |_| answers.recv().expect("an answer"));
        let others = lookup_with(host(), |_| Ok(Vec::new()));
        let answers = async { answer.send(Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))) };
        let (first, second, _) = tokio::join!(fails, others, answers);
        for error in [first, second].map(|found| found.expect_err("an error")) {
            assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::NotFound, "no such name"));
        }
        let panics = lookup_with(host(), |_| panic!("a faulty resolver")).await;
        assert_eq!(panics.expect_err("an error").to_string(), "the look-up was cancelled");
        assert!(lookup_with(host(), |_| Ok(Vec::new())).await.is_ok());
    }

    #[tokio::test]
    async fn address_needs_no_lookup() {
        let found = lookup_with("10.0.0.1:80".to_owned(), |_| panic!("not called")).now_or_never();
        assert_eq!(found.expect("at once").expect("an address"), [address(1)]);
    }

    #[tokio::test]
    async fn lookup_finds_the_local_host() {
        let found = lookup("localhost:80".to_owned()).await.expect("an answer");
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    }
}
