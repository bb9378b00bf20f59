//! A state for each key.

use super::*;

struct Request {
    tenant: u32,
    verdict: Verdict,
}

async fn serve(request: Request) -> Result<Verdict, BoxError> {
    Ok(request.verdict)
}

#[tokio::test(start_paused = true)]
async fn quota_of_one_tenant_refuses_no_other() {
    let layer = layer(ThrottleConfig::default()).keyed_by(|request: &Request| request.tenant);
    let service = layer.layer(service_fn(serve));
    let mut refused = [0; 3];
    for _ in 0..1000 {
        for (tenant, verdict) in [(0, OVERLOADED), (0, OVERLOADED), (1, Verdict::Success), (2, Verdict::Success)] {
            let answer = service.clone().oneshot(Request { tenant, verdict }).await;
            refused[tenant as usize] += u32::from(is_throttled(answer));
        }
    }
    assert!(refused[0] > 1700 && refused[1..] == [0, 0], "{refused:?}");
    assert_eq!((layer.handle().accepted(), layer.handle().share()), (2000, 0.9));
}

/// There is room for one key. The others share states, and none of them loses what it has learned.
#[tokio::test(start_paused = true)]
async fn other_keys_make_no_key_forget() {
    let config = ThrottleConfig { max_keys: 1, ..ThrottleConfig::default() };
    let layer = layer(config).keyed_by(|request: &Request| request.tenant);
    let service = layer.layer(service_fn(serve));
    for _ in 0..1000 {
        let _ = service.clone().oneshot(Request { tenant: 0, verdict: OVERLOADED }).await;
    }
    for tenant in 1..1000 {
        let _ = service.clone().oneshot(Request { tenant, verdict: Verdict::Success }).await;
    }
    let mut refused = 0;
    for _ in 0..100 {
        let answer = service.clone().oneshot(Request { tenant: 0, verdict: OVERLOADED }).await;
        refused += u32::from(is_throttled(answer));
    }
    assert!(refused > 70, "{refused} of 100");
    // As good as new after a window, so there is room for another key.
    advance(10 * SECOND).await;
    assert!(service.oneshot(Request { tenant: 7, verdict: Verdict::Success }).await.is_ok());
}
