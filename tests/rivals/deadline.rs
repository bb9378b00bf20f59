use seawall::context;
use seawall::deadline::DeadlineLayer;
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::SECOND;

#[tokio::test(start_paused = true)]
async fn answer_at_the_timeout_is_returned() {
    let callee = service_fn(|()| async {
        sleep(SECOND).await;
        Ok::<_, BoxError>("just in time")
    });
    let answer = DeadlineLayer::new(SECOND).unwrap().layer(callee).oneshot(()).await;
    assert_eq!(answer.unwrap(), "just in time");
}

#[tokio::test(start_paused = true)]
async fn nested_call_inherits_the_time_left() {
    let callee = service_fn(|()| async { Ok::<_, BoxError>(context::time_left()) });
    let server = service_fn(move |()| async move {
        sleep(SECOND).await;
        DeadlineLayer::new(10 * SECOND)?.layer(callee).oneshot(()).await
    });
    let left = DeadlineLayer::new(3 * SECOND).unwrap().layer(server).oneshot(()).await;
    assert_eq!(left.unwrap(), Some(2 * SECOND));
}
