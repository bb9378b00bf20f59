//! What bulkhead and shedder have in common: a gate that grants permits, times them, and refuses calls that cannot be
//! served in time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod fair_share;
mod lasting_overload;
mod learned_limits;
mod off;
mod overload;
mod permit_time;
mod short_hang;
mod turns;
mod unlike_calls;
mod work;

use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::error::{Reason, rejection};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::time::sleep;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Takes as long as the request says.
type Sleeper = BoxCloneService<Duration, (), BoxError>;

fn sleeper() -> Sleeper {
    BoxCloneService::new(service_fn(|takes: Duration| async move {
        sleep(takes).await;
        Ok::<_, BoxError>(())
    }))
}

/// `inner` behind a bulkhead, and behind a shedder.
fn gated(permits: u32, inner: &Sleeper) -> [(&'static str, Sleeper); 2] {
    let bulkhead = BulkheadConfig { max_concurrent: permits, ..Default::default() };
    let shed = LoadShedConfig { max_in_flight: permits, ..Default::default() };
    [
        ("bulkhead", BoxCloneService::new(BulkheadLayer::new(bulkhead).unwrap().layer(inner.clone()))),
        ("load_shed", BoxCloneService::new(LoadShedLayer::new(shed).unwrap().layer(inner.clone()))),
    ]
}

fn reason<T>(answer: Result<T, BoxError>) -> Option<Reason> {
    rejection(&answer.err()?).map(|rejected| rejected.reason())
}
