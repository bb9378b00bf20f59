use clap::Parser;
use proptest::prelude::*;
use seawall::config::{Config, Draft};
use seawall::stack;

use crate::arguments::Arguments;
use crate::sizing::{Known, Sizing};
use crate::{report, settings};

fn known(arguments: &[&str]) -> Result<Known, String> {
    let arguments = [&["plan"], arguments].concat();
    Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?.known()
}

fn size(arguments: &[&str]) -> Result<Sizing, String> {
    known(arguments)?.size()
}

/// The settings are read back as they were recommended, and stacks accept them.
#[track_caller]
fn assert_round_trip(known: &Known, sizing: &Sizing) {
    let toml = settings::toml(known, sizing).unwrap();
    let config: Config = toml::from_str::<Draft>(&toml).unwrap().load().unwrap_or_else(|why| panic!("{why}\n{toml}"));
    let (server, client) = (&config.server["inbound"], &config.client["dependency"]);
    assert_eq!((server, client), (&sizing.server, &sizing.client), "{toml}");
    stack::server(server).unwrap();
    stack::client(client).unwrap();
}

#[test]
fn defaults_give_settings() {
    let known = known(&[]).unwrap();
    let sizing = known.size().unwrap();
    assert_round_trip(&known, &sizing);
    assert_eq!(sizing.warnings, [""; 0]);
    assert_eq!(sizing.server.load_shed.max_in_flight, 10);
    assert!((0.46..0.47).contains(&sizing.planned.load) && (0.69..0.71).contains(&sizing.one_lost.load), "{sizing:?}");
    // 350 calls of 40 ms hold 14 permits: 14 + 3 sqrt(14), and some more for waits.
    assert!((26..=28).contains(&sizing.client.bulkhead.max_concurrent), "{sizing:?}");
}

#[test]
fn wrong_options_are_refused_with_their_reason() {
    let cases: [(&[&str], &str); 14] = [
        (&["--mean", "0ms"], "must be in [1us, 1day]"),
        (&["--mean", "-5ms"], "expected a time"),
        (&["--mean", "NaN"], "expected a time"),
        (&["--mean", "40"], "expected a time"),
        (&["--deadline", "2days"], "must be in"),
        (&["--rate", "0"], "must be more than 0"),
        (&["--rate", "-1"], "must be more than 0"),
        (&["--rate", "NaN"], "must be more than 0"),
        (&["--rate", "inf"], "must be more than 0"),
        (&["--rate", "many"], "expected a number"),
        (&["--instances", "0"], "0 is not in 1.."),
        (&["--slots", "-3"], "-3 is not in 1.."),
        (&["--p99", "10ms"], "--p99 is 0.25 times --mean"),
        (&["--deadline", "100ms"], "takes more than 120ms without any wait"),
    ];
    for (arguments, expected) in cases {
        let error = size(arguments).unwrap_err();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn load_above_the_capacity_is_refused_with_the_instances_needed() {
    let error = size(&["--rate", "1000", "--instances", "3"]).unwrap_err();
    assert!(error.contains("5 instances are needed, or 6 so that one may be lost"), "{error}");
    size(&["--rate", "1000", "--instances", "5"]).unwrap();
    let survives = size(&["--rate", "1000", "--instances", "6"]).unwrap();
    assert!(survives.one_lost.load <= 0.8 + 1e-9, "{survives:?}");
}

#[test]
fn loss_of_an_instance_that_is_missed_is_shown() {
    let known = known(&["--rate", "600"]).unwrap();
    let sizing = known.size().unwrap();
    assert!(sizing.one_lost.load > 1.0 && sizing.one_lost.refused > 0.1, "{sizing:?}");
    let sentences = report::summary(&known, &sizing).join(" ");
    assert!(sentences.contains("4 instances would stay at or below 0.8"), "{sentences}");
    let one = size(&["--instances", "1", "--rate", "100"]).unwrap();
    assert_eq!(one.one_lost.refused, 1.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is measured: an error, or settings without faults, and a report.
    #[test]
    fn settings_have_no_faults(
        mean in 1e-6..10.0, deviation in 0.0..5.0, deadline in 1e-6..60.0, load in 0.001..1.2,
        instances in 1..50_u32, slots in 1..500_u32, clients in 1..5000_u32,
    ) {
        let time = crate::service_time::ServiceTime::with_deviation(mean, deviation * mean);
        let rate = load * f64::from(instances) * f64::from(slots) / mean;
        let known = Known { time, rate, instances, slots, clients, deadline };
        if let Ok(sizing) = known.size() {
            assert_round_trip(&known, &sizing);
            report::table(&known, &sizing);
            report::summary(&known, &sizing);
            report::picture(&known, &sizing).unwrap();
        }
    }
}
