use crate::faults;

#[test]
fn contradicting_values_are_faults() {
    let listed = faults(
        "
        [client.a]
        retry.backoff = { base = '3s', cap = '1s' }
        circuit_breaker = { window = { calls = 5 }, minimum_calls = 6, break_duration = '2s', max_break = '1s' }
        propagation.headers = { timeout = 'x-time', attempt = 'X-Time' }
        ",
    );
    assert_eq!(
        listed,
        [
            "client.a.circuit_breaker.max_break: invalid value: 1s, must be at least `break_duration`",
            "client.a.circuit_breaker.minimum_calls: invalid value: 6, must be at most the 5 calls of `window`",
            "client.a.propagation.headers.attempt: x-time is a header of the time left, too; give each its own",
            "client.a.retry.backoff.cap: invalid value: 1s, must be at least `base`",
        ]
    );
}

/// The layers around the breaker would wait for its readiness, so refusals would become waits.
#[test]
fn unready_breaker_is_refused_in_every_client_stack() {
    for per_authority in [false, true] {
        let listed =
            faults(&format!("[client.a]\nper_authority = {per_authority}\ncircuit_breaker.unready_while_open = true"));
        assert_eq!(listed.len(), 1, "{listed:#?}");
        assert!(listed[0].starts_with("client.a.circuit_breaker.unready_while_open: must be false"), "{listed:#?}");
        assert!(listed[0].contains("alone around each endpoint"), "{listed:#?}");
    }
}

/// A default that stands in for an unreadable value was not configured, so it contradicts nothing.
#[test]
fn unreadable_value_contradicts_nothing() {
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
        let listed = faults(&format!("[client.a]\n{unreadable}"));
        assert_eq!(listed.len(), 1, "{listed:#?}");
        assert!(listed[0].starts_with(&format!("client.a.{path}: ")), "{listed:#?}");
    }
}

/// Faults of unrelated fields are still reported.
#[test]
fn neighbours_of_an_unreadable_value_are_validated() {
    let listed =
        faults("[client.a]\nretry.backoff = { base = '10 parsecs', cap = '0s', growth = { exponential = 0.5 } }");
    let paths: Vec<_> = listed.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    assert_eq!(paths, ["client.a.retry.backoff.base", "client.a.retry.backoff.cap", "client.a.retry.backoff.growth"]);
}
