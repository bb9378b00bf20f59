use std::time::Duration;

use seawall::bulkhead::BulkheadConfig;
use seawall::config::{Config, Draft};
use seawall::deadline::DeadlineConfig;
use seawall::retry::{Backoff, Growth, RetryConfig};
use seawall::stack::{ClientConfig, ServerConfig};

use crate::{load, load_as, told};

/// A file that is being written in place is empty for a moment. All defaults would be applied to a live service.
#[test]
fn empty_file_is_a_fault() {
    for empty in ["", "\n\n", "# only a comment\n"] {
        let told = told(&load(empty).unwrap_err());
        assert!(told.len() == 1 && told[0].starts_with("empty: "), "{told:?}");
        assert!(load_as::<ClientConfig>(empty).is_err() && load_as::<BulkheadConfig>(empty).is_err());
    }
    for empty in ["{}", "[]", "null"] {
        assert!(serde_json::from_str::<Draft>(empty).unwrap().load::<Config>().is_err(), "{empty}");
    }
    assert!(seawall::config::load::<Config, _>(yaml_serde::Deserializer::from_str("# nothing yet")).is_err());
}

#[test]
fn settings_without_any_stack_are_a_fault() {
    for empty in ["[client]", "[server]", "client = {}\nserver = {}"] {
        let told = told(&load(empty).unwrap_err());
        assert!(told.len() == 1 && told[0].starts_with("empty: "), "{told:?}");
    }
}

#[test]
fn what_is_left_out_takes_its_default() {
    let config = load("[client.a.retry]\nmax_attempts = 5\nbackoff = { growth = 'linear' }").unwrap();
    let expected = ClientConfig {
        retry: RetryConfig {
            max_attempts: 5,
            backoff: Backoff { growth: Growth::Linear, ..Backoff::default() },
            ..RetryConfig::default()
        },
        ..ClientConfig::default()
    };
    assert_eq!(config.client["a"], expected);
}

#[test]
fn each_layer_can_be_read_by_itself() {
    let bulkhead: BulkheadConfig = load_as("max_concurrent = 8").unwrap();
    assert_eq!(bulkhead, BulkheadConfig { max_concurrent: 8, ..BulkheadConfig::default() });
}

/// A server's body has a bound by default, a client's has none of its own.
#[test]
fn a_servers_deadline_is_completed_by_that_of_a_server() {
    let second = Duration::from_secs(1);
    let config = load("[client.a.deadline]\ntimeout = '1s'\n[server.b.deadline]\ntimeout = '1s'").unwrap();
    let client = DeadlineConfig { timeout: second, ..DeadlineConfig::default() };
    assert_eq!(config.client["a"].deadline, client);
    assert_eq!(config.server["b"].deadline, DeadlineConfig { body_timeout: Some(60 * second), ..client });
}

/// Without the loader, too.
#[test]
fn any_serde_format_completes_it_alike() {
    let config: Config = serde_json::from_str(r#"{ "server": { "a": { "deadline": {} } } }"#).unwrap();
    assert_eq!(config.server["a"], ServerConfig::default());
}

#[test]
fn off_is_none_where_the_default_is_not() {
    let config = load(
        "
        [client.a.circuit_breaker]
        slow_rate = 'off'
        consecutive_failures = 'off'
        [server.b.deadline]
        body_timeout = 'off'
        ",
    )
    .unwrap();
    let breaker = &config.client["a"].circuit_breaker;
    assert_eq!((breaker.slow_rate, breaker.consecutive_failures), (None, None));
    assert_eq!(config.server["b"].deadline, DeadlineConfig::default());

    let null = r#"{ "server": { "b": { "deadline": { "body_timeout": null } } } }"#;
    let null: Config = seawall::config::load(&mut serde_json::Deserializer::from_str(null)).unwrap();
    assert_eq!(null.server, config.server);
}
