use crate::faults;

#[test]
fn values_that_contradict_each_other() {
    let told = faults(
        "
        [client.a]
        retry.backoff = { base = '3s', cap = '1s' }
        circuit_breaker = { window = { calls = 5 }, minimum_calls = 6, break_duration = '2s', max_break = '1s' }
        propagation.headers = { timeout = 'x-time', attempt = 'X-Time' }
        ",
    );
    assert_eq!(
        told,
        [
            "client.a.circuit_breaker.max_break: must not be less than break_duration",
            "client.a.circuit_breaker.minimum_calls: 6 is more than the 5 calls of the window",
            "client.a.propagation.headers.attempt: x-time is a header of the time left, too; give each its own",
            "client.a.retry.backoff.cap: 1s is less than base",
        ]
    );
}

/// The layers around the breaker would wait for it, and refusals would become waiting.
#[test]
fn unready_breaker_is_refused_in_every_client_stack() {
    for per_authority in [false, true] {
        let told =
            faults(&format!("[client.a]\nper_authority = {per_authority}\ncircuit_breaker.unready_while_open = true"));
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].starts_with("client.a.circuit_breaker.unready_while_open: must be false"), "{told:#?}");
        assert!(told[0].contains("alone around each endpoint"), "{told:#?}");
    }
}

/// A default that stands in for what could not be read was meant by nobody.
#[test]
fn nothing_contradicts_what_could_not_be_read() {
    for (unreadable, path) in [
        ("retry.backoff = { base = '10 parsecs', cap = '10ms' }", "retry.backoff.base"),
        ("circuit_breaker = { break_duration = 1, max_break = '10ms' }", "circuit_breaker.break_duration"),
        ("circuit_breaker = { window = { cals = 5 }, minimum_calls = 200000 }", "circuit_breaker.window"),
        ("circuit_breaker = { window = { calls = nan }, minimum_calls = 200000 }", "circuit_breaker.window.calls"),
        ("retry.budget = { reserve_per_second = 'none', reserve_burst = 0 }", "retry.budget.reserve_per_second"),
        ("propagation.headers = { timeout = 5, attempt = 'x-request-timeout-ms' }", "propagation.headers.timeout"),
        (
            "propagation.headers = { also_understood = [5], attempt = 'x-request-timeout-ms', timeout = 'x' }",
            "propagation.headers.also_understood[0]",
        ),
    ] {
        let told = faults(&format!("[client.a]\n{unreadable}"));
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].starts_with(&format!("client.a.{path}: ")), "{told:#?}");
    }
}

/// What has nothing to do with it is told all the same.
#[test]
fn a_neighbour_of_what_could_not_be_read_is_judged() {
    let told =
        faults("[client.a]\nretry.backoff = { base = '10 parsecs', cap = '0s', growth = { exponential = 0.5 } }");
    let paths: Vec<_> = told.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    assert_eq!(paths, ["client.a.retry.backoff.base", "client.a.retry.backoff.cap", "client.a.retry.backoff.growth"]);
}
