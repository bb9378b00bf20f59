use std::time::Duration;

use seawall::bulkhead::BulkheadConfig;
use seawall::config::{Config, Draft};
use seawall::deadline::DeadlineConfig;
use seawall::retry::{Backoff, Growth, RetryConfig};
use seawall::stack::{ClientConfig, ServerConfig};

use crate::{listed, load, load_as};

/// A file that is written in place is empty for a moment. Reading it as all defaults would apply them to a live
/// service.
#[test]
fn empty_file_is_a_fault() {
    for empty in ["", "\n\n", "# only a comment\n"] {
        let listed = listed(&load(empty).unwrap_err());
        assert!(listed.len() == 1 && listed[0].starts_with("empty: "), "{listed:?}");
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
        let listed = listed(&load(empty).unwrap_err());
        assert!(listed.len() == 1 && listed[0].starts_with("empty: "), "{listed:?}");
    }
}

#[test]
fn omitted_fields_take_their_defaults() {
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
fn each_layer_config_can_be_read_by_itself() {
    let bulkhead: BulkheadConfig = load_as("max_concurrent = 8").unwrap();
    assert_eq!(bulkhead, BulkheadConfig { max_concurrent: 8, ..BulkheadConfig::default() });
}

/// A server's body has a bound by default; a client's body has no bound of its own.
#[test]
fn partial_server_deadline_takes_server_defaults() {
    let second = Duration::from_secs(1);
    let config = load("[client.a.deadline]\ntimeout = '1s'\n[server.b.deadline]\ntimeout = '1s'").unwrap();
    let client = DeadlineConfig { timeout: second, ..DeadlineConfig::default() };
    assert_eq!(config.client["a"].deadline, client);
    assert_eq!(config.server["b"].deadline, DeadlineConfig { body_timeout: Some(60 * second), ..client });
}

/// The same without the loader.
#[test]
fn serde_alone_takes_the_same_defaults() {
    let config: Config = serde_json::from_str(r#"{ "server": { "a": { "deadline": {} } } }"#).unwrap();
    assert_eq!(config.server["a"], ServerConfig::default());
}

#[test]
fn off_replaces_a_default_with_none() {
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
