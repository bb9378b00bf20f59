use std::collections::BTreeMap;
use std::time::Duration;

use seawall::bulkhead::BulkheadConfig;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::config::{Validate, Validation};
use seawall::deadline::DeadlineConfig;
use seawall::http::propagation::PropagationConfig;
use seawall::load_shed::LoadShedConfig;
use seawall::rate_limit::RateLimitConfig;
use seawall::retry::{Backoff, BudgetConfig, RetryConfig};
use seawall::stack::{ClientConfig, ServerConfig};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::{listed, load_as};

/// An application's struct around our settings: required fields, lists, maps, and fields that are not ours.
#[derive(Debug, Deserialize)]
struct Application {
    name: String,
    #[serde(default)]
    payments: ClientConfig,
    #[serde(default)]
    inbound: ServerConfig,
    #[serde(default)]
    routes: Vec<Route>,
    level: Option<Level>,
}

#[derive(Debug, Deserialize)]
struct Route {
    path: String,
    deadline: DeadlineConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Loud { echo: bool, volume: u8 },
}

impl Validate for Application {
    fn check(&self, validation: &mut Validation) {
        validation.check(self.name.is_ascii(), "name", "must be plain");
        validation.nested("payments", |validation| self.payments.check(validation));
        validation.nested("inbound", |validation| self.inbound.check(validation));
        for (n, route) in self.routes.iter().enumerate() {
            validation.nested(&format!("routes[{n}]"), |validation| {
                validation.check(route.path.starts_with('/'), "path", "must start with a slash");
                validation.nested("deadline", |validation| route.deadline.check(validation));
            });
        }
    }
}

#[track_caller]
fn faults(toml: &str) -> Vec<String> {
    listed(&load_as::<Application>(toml).expect_err("the settings are invalid"))
}

#[test]
fn valid_application_settings_are_read() {
    let application: Application = load_as(
        "
        name = 'shop'
        unknown = 'and no concern of ours'
        level = { loud = { volume = 3, echo = true } }
        payments.deadline.timeout = '2s'
        [[routes]]
        path = '/pay'
        deadline.timeout = '1s'
        ",
    )
    .unwrap();
    assert_eq!(application.payments.deadline.timeout, Duration::from_secs(2));
    assert_eq!(application.routes[0].deadline.timeout, Duration::from_secs(1));
    assert!(matches!(application.level, Some(Level::Loud { echo: true, volume: 3 })));
}

#[test]
fn faults_of_both_crates_are_reported_at_once() {
    let listed = faults(
        "
        name = 'sch\u{f6}n'
        payments.retry.max_attempts = 0
        inbound.deadline.timeout = 2
        [[routes]]
        path = 'pay'
        deadline.timeout = '0s'
        ",
    );
    assert_eq!(
        listed,
        [
            "inbound.deadline.timeout: invalid type: integer `2`, expected a duration with its unit, such as \"250ms\"",
            "name: must be plain",
            "payments.retry.max_attempts: must be at least 1",
            "routes[0].deadline.timeout: must be more than zero",
            "routes[0].path: must start with a slash",
        ]
    );
}

/// A table whose fields only its own code knows.
#[derive(Debug)]
struct Headers(Vec<String>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, String>::deserialize(deserializer)?;
        match map.keys().find(|key| !key.starts_with("x-")) {
            Some(key) => Err(D::Error::unknown_field(key, &["x-*"])),
            None => Ok(Self(map.into_values().collect())),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateway {
    headers: Headers,
}

impl Validate for Gateway {
    fn check(&self, validation: &mut Validation) {
        validation.check(self.headers.0.len() < 3, "headers", "are too many");
    }
}

#[test]
fn tables_with_a_custom_deserializer_are_read() {
    let listed = |toml| listed(&load_as::<Gateway>(toml).expect_err("the settings are invalid"));
    assert!(load_as::<Gateway>("headers = { x-a = 'a', x-b = 'b' }").is_ok());
    assert_eq!(listed("headers = { x-a = 'a', x-b = 'b', x-c = 'c' }"), ["headers: are too many"]);
    assert_eq!(
        listed("headers = { a = 'a', x-b = 'b', c = 'c' }\nheader = 1\nhead = 2"),
        [
            "head: unknown field `head`, expected `headers`",
            "header: unknown field `header`, expected `headers`",
            "headers.a: unknown field `a`, expected `x-*`",
            "headers.c: unknown field `c`, expected `x-*`",
        ]
    );
}

/// Settings that were built in code can be validated without building a layer.
#[test]
fn every_config_struct_can_be_validated() {
    fn listed<T: Default + Validate>(spoil: impl FnOnce(&mut T)) -> Vec<String> {
        assert_eq!(T::default().validate(), Ok(()));
        let mut config = T::default();
        spoil(&mut config);
        crate::listed(&config.validate().expect_err("the settings are invalid"))
    }

    assert_eq!(
        listed(|config: &mut DeadlineConfig| config.timeout = Duration::ZERO),
        ["timeout: must be more than zero"]
    );
    assert_eq!(listed(|config: &mut RetryConfig| config.max_keys = 0), ["max_keys: must be at least 1"]);
    assert_eq!(listed(|config: &mut BudgetConfig| config.ratio = 2.0), ["ratio: invalid value: 2, must be in [0, 1]"]);
    assert_eq!(listed(|config: &mut Backoff| config.base = Duration::ZERO), ["base: must be more than zero"]);
    assert_eq!(listed(|config: &mut BulkheadConfig| config.max_keys = 0), ["max_keys: must be at least 1"]);
    assert_eq!(listed(|config: &mut CircuitBreakerConfig| config.max_keys = 0), ["max_keys: must be at least 1"]);
    assert_eq!(listed(|config: &mut RateLimitConfig| config.permits = 0), ["permits: must be at least 1"]);
    assert_eq!(listed(|config: &mut LoadShedConfig| config.max_keys = 0), ["max_keys: must be at least 1"]);
    let max_timeout = |config: &mut PropagationConfig| config.max_timeout = Duration::ZERO;
    assert_eq!(listed(max_timeout), ["max_timeout: must be more than zero"]);
    let client = |config: &mut ClientConfig| config.retry.max_attempts = 0;
    assert_eq!(listed(client), ["retry.max_attempts: must be at least 1"]);
    let server = |config: &mut ServerConfig| config.load_shed.max_in_flight = 0;
    assert_eq!(listed(server), ["load_shed.max_in_flight: must be at least 1"]);

    // As a method, too.
    assert_eq!(RetryConfig::default().validate(), Ok(()));
    assert_eq!(ClientConfig::default().validate(), Ok(()));
}

#[test]
fn missing_field_is_reported_unless_present_and_invalid() {
    assert_eq!(faults("payments = {}"), ["name: missing field `name`"]);
    assert_eq!(faults("name = 5"), ["name: invalid type: integer `5`, expected a string"]);
    assert_eq!(
        faults("name = 'a'\nlevel = { loud = { volume = 'high' } }"),
        [
            "level.loud.echo: missing field `echo`",
            "level.loud.volume: invalid type: string \"high\", expected a whole number from 0 to 255",
        ]
    );
    assert_eq!(
        faults("name = 'a'\n[[routes]]\npath = 1\ndeadline = {}\n[[routes]]\npath = '/'\ndeadline = 2\n[[routes]]"),
        [
            "routes[0].path: invalid type: integer `1`, expected a string",
            "routes[1].deadline: invalid type: integer `2`, expected a table",
            "routes[2].path: missing field `path`",
        ]
    );
}
