use seawall::context;
use seawall::deadline::DeadlineLayer;
use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::SECOND;

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_ready_in_the_moment_of_the_timeout_is_not_thrown_away() {
    let callee = service_fn(|()| async {
        sleep(SECOND).await;
        Ok::<_, BoxError>("just in time")
    });
    let answer = DeadlineLayer::new(SECOND).unwrap().layer(callee).oneshot(()).await;
    assert_eq!(answer.unwrap(), "just in time");
}

#[tokio::test(start_paused = true)]
async fn a_call_made_while_serving_a_call_has_what_is_left_of_its_time() {
    let callee = service_fn(|()| async { Ok::<_, BoxError>(context::time_left()) });
    let server = service_fn(move |()| async move {
        sleep(SECOND).await;
        DeadlineLayer::new(10 * SECOND)?.layer(callee).oneshot(()).await
    });
    let left = DeadlineLayer::new(3 * SECOND).unwrap().layer(server).oneshot(()).await;
    assert_eq!(left.unwrap(), Some(2 * SECOND));
}
