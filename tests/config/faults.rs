use crate::faults;

#[test]
fn malformed_file_is_one_fault_with_the_parser_error() {
    let listed = faults("[client.payments]\ndeadline = = 5\n");
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].contains("line 2, column 12"), "{listed:?}");
}

#[test]
fn values_of_the_wrong_type_are_faults() {
    let listed = faults(
        "
        [client.payments]
        per_authority = 'perhaps'
        bulkhead = 7
        retry.max_attempts = 3.5
        retry.max_keys = -1
        retry.budget = [0.1]
        retry.budget.ratio = 'much'
        "
        .replace("        retry.budget = [0.1]\n", "")
        .as_str(),
    );
    assert_eq!(
        listed,
        [
            "client.payments.bulkhead: invalid type: integer `7`, expected a table",
            "client.payments.per_authority: invalid type: string \"perhaps\", expected true or false",
            "client.payments.retry.budget.ratio: invalid type: string \"much\", expected a number",
            "client.payments.retry.max_attempts: invalid type: floating point `3.5`, expected a whole number from 0 to 4294967295",
            "client.payments.retry.max_keys: invalid value: integer `-1`, expected a whole number that is not negative",
        ]
    );
    assert_eq!(faults("client = 5"), ["client: invalid type: integer `5`, expected a table"]);
    assert_eq!(
        faults("client.a.retry.budget = [0.1, '1s', 1.0, 10]"),
        ["client.a.retry.budget: invalid type: list, expected a table"],
        "fields have no order"
    );
    assert_eq!(faults("[[client.a]]"), ["client.a: invalid type: list, expected a table"]);
}

#[test]
fn durations_need_a_number_and_a_unit() {
    let listed = faults(
        "
        [client.a]
        deadline.timeout = 5
        deadline.head_timeout = 5
        deadline.idle_timeout = '5 parsecs'
        retry.max_hold = '5'
        retry.max_retry_after = '5 parsecs'
        retry.attempt_timeout = ''
        bulkhead.max_wait = 'off'
        bulkhead.max_hold = 12:00:00
        ",
    );
    let paths: Vec<_> = listed.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "client.a.bulkhead.max_hold",
            "client.a.bulkhead.max_wait",
            "client.a.deadline.head_timeout",
            "client.a.deadline.idle_timeout",
            "client.a.deadline.timeout",
            "client.a.retry.attempt_timeout",
            "client.a.retry.max_hold",
            "client.a.retry.max_retry_after",
        ]
    );
    assert!(
        listed.iter().all(|fault| fault.contains("\"250ms\"")),
        "each fault shows how a duration is written: {listed:#?}"
    );
    assert!(listed[7].contains("unknown time unit \"parsecs\""), "{}", listed[7]);
    assert!(listed[2].contains("or \"off\""), "{}", listed[2]);
    assert!(!listed[4].contains("off"), "this setting cannot be off: {}", listed[4]);
}

#[test]
fn unknown_variants_list_the_expected_ones() {
    let listed = faults(
        "
        [client.a]
        retry.backoff.growth = 'cubic'
        retry.backoff.jitter = 1
        bulkhead.order = { fifo = true }
        circuit_breaker.window = { tme = '10s' }
        [client.b]
        retry.backoff.growth = 'exponential'
        circuit_breaker.window = { time = '10s', calls = 100 }
        [client.c]
        retry.backoff.growth = { exponential = 'fast' }
        circuit_breaker.window = { time = 10 }
        ",
    );
    assert_eq!(
        listed,
        [
            "client.a.bulkhead.order: `fifo` has no value: write \"fifo\" alone",
            "client.a.circuit_breaker.window: unknown variant `tme`, expected `time` or `calls`",
            "client.a.retry.backoff.growth: unknown variant `cubic`, expected one of `constant`, `linear`, `exponential`",
            "client.a.retry.backoff.jitter: invalid type: integer `1`, expected one of `none`, `full`, `equal`, `decorrelated`",
            "client.b.circuit_breaker.window: expected exactly one entry, `time` or `calls`",
            "client.b.retry.backoff.growth: `exponential` needs a value: `{ exponential = ... }`",
            "client.c.circuit_breaker.window.time: invalid type: integer `10`, expected a duration with its unit, such as \"250ms\"",
            "client.c.retry.backoff.growth.exponential: invalid type: string \"fast\", expected a number",
        ]
    );
}

#[test]
fn unnamed_values_and_off_get_a_hint() {
    let listed = faults(
        "
        [client.a]
        bulkhead.max_wait = 'off'
        bulkhead.max_concurrent = 'off'
        circuit_breaker.window = '10s'
        [client.b.circuit_breaker]
        window = 100
        ",
    );
    assert_eq!(
        listed,
        [
            "client.a.bulkhead.max_concurrent: invalid type: string \"off\", expected a whole number from 0 to 4294967295: this setting cannot be \"off\"",
            "client.a.bulkhead.max_wait: invalid value: string \"off\", expected a duration with its unit, such as \"250ms\": this setting cannot be \"off\"",
            "client.a.circuit_breaker.window: unknown variant `10s`, expected `time` or `calls`: a value stands under its name, `{ time = \"10s\" }`",
            "client.b.circuit_breaker.window: invalid type: integer `100`, expected `time` or `calls`: a value stands under its name, `{ calls = 100 }`",
        ]
    );
}

#[test]
fn unknown_fields_list_the_expected_ones() {
    let listed = faults(
        "
        clients = {}
        [client.a]
        retries = {}
        timeout = '5s'
        deadline.timeout_ms = 5
        [server.b.propagation]
        header = {}
        ",
    );
    assert_eq!(
        listed,
        [
            "client.a.deadline.timeout_ms: unknown field `timeout_ms`, expected one of `timeout`, `head_timeout`, `idle_timeout`, `body_timeout`",
            "client.a.retries: unknown field `retries`, expected one of `deadline`, `retry`, `throttle`, `bulkhead`, `circuit_breaker`, `propagation`, `per_authority`, `max_unready`",
            "client.a.timeout: unknown field `timeout`, expected one of `deadline`, `retry`, `throttle`, `bulkhead`, `circuit_breaker`, `propagation`, `per_authority`, `max_unready`",
            "clients: unknown field `clients`, expected one of `client`, `balanced_client`, `server`",
            "server.b.propagation.header: unknown field `header`, expected one of `headers`, `allowance`, `max_timeout`, `max_priority`, `report_load`",
        ]
    );
}

#[test]
fn values_out_of_range_are_faults() {
    let listed = faults(
        "
        [client.payments]
        deadline.timeout = '0s'
        retry.max_attempts = 0
        retry.budget.ratio = 1.7
        bulkhead.max_hold = '11years'
        circuit_breaker.window = { calls = 0 }
        circuit_breaker.minimum_calls = 0
        circuit_breaker.failure_rate = 50
        [server.inbound]
        load_shed.queue_ratio = -1
        deadline.body_timeout = '0s'
        ",
    );
    assert_eq!(
        listed,
        [
            "client.payments.bulkhead.max_hold: invalid value: 347133600s, must be at most ten years",
            "client.payments.circuit_breaker.failure_rate: invalid value: 50, must be in (0, 1]",
            "client.payments.circuit_breaker.minimum_calls: must be at least 1",
            "client.payments.circuit_breaker.window: invalid value: 0 calls, must be in [1, 100000]",
            "client.payments.deadline.timeout: must be more than zero",
            "client.payments.retry.budget.ratio: invalid value: 1.7, must be in [0, 1]",
            "client.payments.retry.max_attempts: must be at least 1",
            "server.inbound.deadline.body_timeout: must be more than zero",
            "server.inbound.load_shed.queue_ratio: invalid value: -1, must be in [0, 1000]",
        ]
    );
}

#[test]
fn numbers_that_are_not_finite_are_faults() {
    let listed = faults(
        "
        [client.a]
        retry.budget.ratio = nan
        circuit_breaker.slow_rate = inf
        retry.backoff.growth = { exponential = -inf }
        ",
    );
    assert_eq!(
        listed,
        [
            "client.a.circuit_breaker.slow_rate: invalid value: inf, expected a finite number",
            "client.a.retry.backoff.growth.exponential: invalid value: -inf, expected a finite number",
            "client.a.retry.budget.ratio: invalid value: NaN, expected a finite number",
        ],
        "each fault is reported once"
    );
}

#[test]
fn empty_names_are_faults_and_odd_names_are_quoted() {
    assert_eq!(
        faults("client.'' = {}\nserver.'  ' = {}\nserver.'a.b'.deadline.timeout = 5"),
        [
            "client.\"\": a name must not be empty",
            "server.\"  \": a name must not be empty",
            "server.\"a.b\".deadline.timeout: invalid type: integer `5`, expected a duration with its unit, such as \"250ms\"",
        ]
    );
}

#[test]
fn invalid_header_names_are_faults() {
    assert_eq!(
        faults(
            "
            [client.a.propagation.headers]
            timeout = 'two words'
            also_understood = ['x-good', 'x bad', 5, 'x-fine', '']
            "
        ),
        [
            "client.a.propagation.headers.also_understood[1]: invalid value: string \"x bad\", expected the name of a header",
            "client.a.propagation.headers.also_understood[2]: invalid type: integer `5`, expected the name of a header",
            "client.a.propagation.headers.also_understood[4]: invalid value: string \"\", expected the name of a header",
            "client.a.propagation.headers.timeout: invalid value: string \"two words\", expected the name of a header",
        ],
        "elements keep their indices"
    );
}

#[test]
fn faults_of_every_kind_are_reported_at_once() {
    let invalid = crate::load(
        "
        servers = {}
        [client.payments]
        per_authority = 1
        deadline.timeout = '2 parsecs'
        retry.budget.ratio = 1.7
        retry.backoff.growth = 'cubic'
        retry.tries = 3
        bulkhead.max_concurrent = 0
        circuit_breaker.jitter = nan
        [client.'']
        [server.inbound]
        load_shed.max_wait = '0s'
        ",
    )
    .unwrap_err();
    let paths: Vec<_> = invalid.faults().iter().map(|fault| fault.path()).collect();
    assert_eq!(
        paths,
        [
            "client.\"\"",
            "client.payments.bulkhead.max_concurrent",
            "client.payments.circuit_breaker.jitter",
            "client.payments.deadline.timeout",
            "client.payments.per_authority",
            "client.payments.retry.backoff.growth",
            "client.payments.retry.budget.ratio",
            "client.payments.retry.tries",
            "server.inbound.load_shed.max_wait",
            "servers",
        ]
    );
    let text = invalid.to_string();
    assert!(
        text.starts_with("invalid configuration: client.\"\": a name must not be empty; client.payments.bulk"),
        "{text}"
    );
}
