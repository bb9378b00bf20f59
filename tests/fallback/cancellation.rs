//! A call that is dropped at any poll holds nothing, while the inner service or the fallback has it.

use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::fallback::{self, FallbackConfig, FallbackLayer};
use tokio::time::sleep;
use tokio_test::task::spawn;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

const SOON: Duration = Duration::from_millis(10);

fn bulkhead() -> BulkheadLayer {
    BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, ..BulkheadConfig::default() }).unwrap()
}

#[tokio::test(start_paused = true)]
async fn fallback_dropped_at_any_poll_releases_everything() {
    let (of_inner, of_standby) = (bulkhead(), bulkhead());
    let (inner, standby) = (of_inner.handle(), of_standby.handle());
    let fails = of_inner.layer(service_fn(|_: u32| async {
        sleep(SOON).await;
        Err::<u32, BoxError>("down".into())
    }));
    let answers = of_standby.layer(service_fn(|n: u32| async move {
        sleep(SOON).await;
        Ok::<_, BoxError>(n)
    }));
    let layer = FallbackLayer::new(FallbackConfig::default(), fallback::service(answers)).unwrap();
    let mut saw = (false, false);
    for polls in 0..6 {
        let mut call = spawn(ServiceBuilder::new().layer(layer.clone()).service(fails.clone()).oneshot(7));
        for _ in 0..polls {
            if call.poll().is_ready() {
                break;
            }
            // Never in both at once: nothing of the inner call goes on while the fallback answers.
            assert!(inner.in_flight() + standby.in_flight() <= 1);
            saw = (saw.0 || inner.in_flight() == 1, saw.1 || standby.in_flight() == 1);
            sleep(2 * SOON).await;
        }
        drop(call);
        assert_eq!((inner.in_flight(), standby.in_flight()), (0, 0), "after {polls} polls");
    }
    assert_eq!(saw, (true, true));
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_fallback_holds_nothing() {
    let of_inner = bulkhead();
    let handle = of_inner.handle();
    let fails = of_inner.layer(service_fn(|_: u32| async { Err::<u32, BoxError>("down".into()) }));
    let panics = fallback::from_fn(|_: &fallback::Failure<u32>| -> Option<u32> { panic!("in the closure") });
    let service = FallbackLayer::new(FallbackConfig::default(), panics).unwrap().layer(fails);
    for _ in 0..3 {
        let call = tokio::spawn(service.clone().oneshot(7));
        assert!(call.await.unwrap_err().is_panic());
        assert_eq!(handle.in_flight(), 0);
    }
}
