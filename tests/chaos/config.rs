//! Chaos settings from files.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use seawall::chaos::{ChaosConfig, ChaosFault, ChaosRule, Delay, Matching};
use seawall::config::{Validate, load};

use crate::MS;

fn read(toml: &str) -> ChaosConfig {
    load(toml::Deserializer::parse(toml).unwrap()).unwrap_or_else(|invalid| panic!("{invalid:#}"))
}

#[test]
fn every_fault_is_read_from_a_file() {
    let config = read(
        r#"
        enabled = true
        max_active = 5
        lasts = "5m"
        until = "2030-01-31T12:00:00Z"
        rules = [
            { share = 0.1, fault = { latency = { fixed = "200ms" } } },
            { share = 0.1, fault = { latency = { uniform = { from = "0s", to = "1s" } } } },
            { share = 0.1, fault = { latency = { log_normal = { median = "50ms", p99 = "2s" } } } },
            { share = 0.1, fault = { refuse = { retry_after = "3s" } } },
            { share = 0.1, fault = { refuse = {} } },
            { share = 0.1, fault = { status = { status = 503, retry_after = "7s" } } },
            { share = 0.1, fault = { code = { code = 14, pushback = "off" } } },
            { share = 0.1, fault = "hang" },
            { share = 0.1, fault = "drop" },
            { share = 0.1, fault = { stall = { after = 5 } } },
            { share = 0.1, fault = { drip = { bytes = 3, every = "100ms" } } },
            { share = 0.1, fault = { truncate = { after = 5 } } },
            { share = 0.1, fault = { reset = { after = 5 } } },
            { share = 0.1, fault = "no_trailers" },
            { share = 1, fault = "hang", matching = { method = "GET", path_prefix = "/orders/", headers = { x-drill = "yes" } } },
        ]
        "#,
    );
    let faults: Vec<_> = config.rules.iter().map(|rule| rule.fault).collect();
    assert_eq!(
        faults,
        [
            ChaosFault::Latency(Delay::Fixed(200 * MS)),
            ChaosFault::Latency(Delay::Uniform { from: Duration::ZERO, to: 1000 * MS }),
            ChaosFault::Latency(Delay::LogNormal { median: 50 * MS, p99: 2000 * MS }),
            ChaosFault::Refuse { retry_after: Some(3000 * MS) },
            ChaosFault::Refuse { retry_after: None },
            ChaosFault::Status { status: 503, retry_after: Some(7000 * MS) },
            ChaosFault::Code { code: 14, pushback: None },
            ChaosFault::Hang,
            ChaosFault::Drop,
            ChaosFault::Stall { after: 5 },
            ChaosFault::Drip { bytes: 3, every: 100 * MS },
            ChaosFault::Truncate { after: 5 },
            ChaosFault::Reset { after: 5 },
            ChaosFault::NoTrailers,
            ChaosFault::Hang,
        ]
    );
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_896_091_200);
    assert_eq!((config.lasts, config.until, config.max_active), (Some(300_000 * MS), Some(until.into()), 5));
    let headers = BTreeMap::from([("x-drill".to_owned(), "yes".to_owned())]);
    let matching = Matching { method: "GET".into(), path_prefix: "/orders/".into(), headers };
    assert_eq!(config.rules[14], ChaosRule { matching, ..ChaosRule::new(ChaosFault::Hang) });
    // What is written is read again.
    assert_eq!(read(&toml::to_string(&config).unwrap()), config);
    assert_eq!(read("lasts = 'off'").lasts, None);
}

#[test]
fn faults_of_a_file_have_their_paths() {
    let listed = |toml: &str| -> Vec<String> {
        let invalid = load::<ChaosConfig, _>(toml::Deserializer::parse(toml).unwrap()).expect_err("faults");
        invalid.faults().iter().map(|fault| fault.path().to_owned()).collect()
    };
    assert_eq!(listed("max_activ = 3"), ["max_activ"]);
    assert_eq!(listed("until = 'tomorrow'"), ["until"]);
    let rules = "rules = [{ share = 2, fault = 'hang' }, { share = 0.5, fault = { status = { status = 200 } } }]";
    assert_eq!(listed(rules), ["rules[0].share", "rules[1].fault.status"]);
    assert!(!listed("rules = [{ share = 0.5, fault = 'explode' }]").is_empty());
    assert!(ChaosConfig::default().validate().is_ok());
}
