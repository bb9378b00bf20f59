//! The cost of telemetry: the layers of a client with a name, next to the same layers without one.

use seawall_benches::calls::Echo;
use seawall_benches::layers;
use tower::{BoxError, Service, ServiceBuilder};

use crate::measure::{Plan, Runtimes, Seen, look_at};
use crate::rows::{Case, Row};

pub(crate) const NAME: &str = "telemetry";

/// Prints what names and metrics add to a call.
pub(crate) fn overhead(runtimes: &Runtimes, plan: &Plan) {
    let mut rows = runtimes.inside(|| {
        let row = |name, callers| Row { name, case: Case::Yield, counterpart: None, callers };
        vec![row("client", vec![Box::new(client(None))]), row("client.named", vec![Box::new(client(Some("payments")))])]
    });
    report("without_recorder", &look_at(runtimes, &mut rows, plan));
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).expect("the only one");
    report("with_recorder", &look_at(runtimes, &mut rows, plan));
    seawall::registry::Registry::global().publish();
    assert!(handle.render().contains("seawall_call_duration_seconds_count"), "nothing was published");
}

fn report(name: &str, seen: &Seen) {
    let overhead = seen.difference(1, 0);
    println!("named, {name}: {:.1} ns more than unnamed ({:.1}..{:.1})", overhead.median, overhead.p10, overhead.p90);
    println!("figure telemetry.overhead.ns.{name} {:.1}", overhead.median);
    println!("figure telemetry.overhead.allocs.{name} {:.2}", seen.allocations[1] - seen.allocations[0]);
}

fn client(name: Option<&str>) -> impl Service<u64, Response = u64, Error = BoxError> + Send + Clone + 'static {
    let (mut deadline, mut retry) = (layers::deadline(), layers::retry());
    let (mut bulkhead, mut circuit_breaker) = (layers::bulkhead(), layers::circuit_breaker());
    if let Some(name) = name {
        deadline = deadline.named(name).expect("a free name");
        retry = retry.named(name).expect("a free name");
        bulkhead = bulkhead.named(name).expect("a free name");
        circuit_breaker = circuit_breaker.named(name).expect("a free name");
    }
    let layers = ServiceBuilder::new().layer(deadline).layer(retry).layer(bulkhead).layer(circuit_breaker);
    layers.service(Echo { yields: true })
}
