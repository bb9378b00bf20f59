//! The dependencies, and how they fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::time::sleep;

#[derive(Clone, Default)]
pub(crate) struct FaultyDependencies(Arc<Faults>);

#[derive(Default)]
struct Faults {
    payments_fails: AtomicBool,
    search_is_slow: AtomicBool,
}

impl FaultyDependencies {
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/payments", get(payments))
            .route("/search", get(search))
            .route("/mail", get(|| async { "sent" }))
            .with_state(self.clone())
    }

    /// Runs through the phases for ever: healthy, payments down, both in trouble, search slow.
    pub(crate) async fn change(self) {
        let wait = |seconds| sleep(Duration::from_secs(seconds));
        loop {
            wait(28).await;
            self.0.payments_fails.store(true, Ordering::Relaxed);
            wait(16).await;
            self.0.search_is_slow.store(true, Ordering::Relaxed);
            wait(16).await;
            self.0.payments_fails.store(false, Ordering::Relaxed);
            wait(10).await;
            self.0.search_is_slow.store(false, Ordering::Relaxed);
            wait(20).await;
        }
    }
}

async fn payments(State(faulty): State<FaultyDependencies>) -> StatusCode {
    sleep(Duration::from_millis(10 + u64::from(draw() % 15))).await;
    if faulty.0.payments_fails.load(Ordering::Relaxed) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

async fn search(State(faulty): State<FaultyDependencies>) -> &'static str {
    let slower = if faulty.0.search_is_slow.load(Ordering::Relaxed) { 250 } else { 0 };
    sleep(Duration::from_millis(20 + slower + u64::from(draw() % 60))).await;
    "found"
}

pub(crate) fn one_in_three() -> bool {
    draw() % 3 == 0
}

/// A pseudo-random number; its quality does not matter here.
fn draw() -> u32 {
    static STATE: AtomicU32 = AtomicU32::new(1);
    let next = |state: u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    STATE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default() >> 16
}
