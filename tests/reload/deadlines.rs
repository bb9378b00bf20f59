use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::Reason;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::*;

#[tokio::test(start_paused = true)]
async fn later_calls_have_the_new_deadline() {
    let layer = DeadlineLayer::new(SECOND).unwrap();
    let (clone, mut service) = (layer.clone(), layer.layer(silent()));
    let old = service.call(0);
    clone.reload(&(5 * SECOND).into()).unwrap();
    let new = service.clone().call(0);
    let start = Instant::now();
    assert_eq!(reason(old.await), Some(Reason::DeadlineExceeded));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(reason(new.await), Some(Reason::DeadlineExceeded));
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn layer_shows_and_applies_the_reloaded_config() {
    let layer = DeadlineLayer::new(SECOND).unwrap();
    let config = DeadlineConfig { head_timeout: Some(100 * MS), ..SECOND.into() };
    layer.reload(&config).unwrap();
    assert_eq!(layer.config(), config);
    let lasting = layer.lasting_by(|_: &u32| None);
    assert_eq!(lasting.config(), config);
    assert_eq!(reason(lasting.layer(silent()).call(0).await), Some(Reason::HeadTimeout));
}
