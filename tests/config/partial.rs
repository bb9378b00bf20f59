use std::time::Duration;

use seawall::bulkhead::BulkheadConfig;
use seawall::config::Config;
use seawall::deadline::DeadlineConfig;
use seawall::retry::{Backoff, Growth, RetryConfig};
use seawall::stack::{ClientConfig, ServerConfig};

use crate::{load, load_as};

#[test]
fn an_empty_file_is_an_empty_configuration() {
    assert_eq!(load("").unwrap(), Config::default());
    assert_eq!(load_as::<ClientConfig>("").unwrap(), ClientConfig::default());
    assert_eq!(load_as::<ServerConfig>("").unwrap(), ServerConfig::default());
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
    let config = load("[client.a.deadline]\ntimeout = '1s'\n[server.a.deadline]\ntimeout = '1s'").unwrap();
    let client = DeadlineConfig { timeout: second, ..DeadlineConfig::default() };
    assert_eq!(config.client["a"].deadline, client);
    assert_eq!(config.server["a"].deadline, DeadlineConfig { body_timeout: Some(60 * second), ..client });
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
