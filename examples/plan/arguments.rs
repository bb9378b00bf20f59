//! What the user has measured.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, value_parser};

use crate::service_time::ServiceTime;
use crate::sizing::Known;

/// Settings for a service and its clients, from measurements: how long calls wait, how many are refused, and what happens when an
/// instance is lost.
///
/// Ends with settings in TOML. Times are written as `40ms` or `1s 500ms`.
#[derive(Debug, Parser)]
#[command(name = "plan")]
pub(crate) struct Arguments {
    /// How long a call takes on average, without waits
    #[arg(long, value_name = "TIME", default_value = "40ms", value_parser = seconds, allow_hyphen_values = true)]
    mean: f64,
    /// What one call in a hundred exceeds, without waits [default: 3 times the mean]
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_hyphen_values = true, conflicts_with = "deviation")]
    p99: Option<f64>,
    /// The standard deviation of that time, in place of --p99
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_hyphen_values = true)]
    deviation: Option<f64>,
    /// Calls a second at the peak, of all clients together
    #[arg(long, value_name = "CALLS", default_value = "350", value_parser = rate, allow_hyphen_values = true)]
    rate: f64,
    /// Instances of the service
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100_000), allow_hyphen_values = true)]
    instances: u32,
    /// Calls that an instance serves at once without slowing down
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = value_parser!(u32).range(1..=10_000), allow_hyphen_values = true)]
    slots: u32,
    /// Processes that call the service
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(1..=100_000), allow_hyphen_values = true)]
    clients: u32,
    /// How long the callers wait for an answer
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = seconds, allow_hyphen_values = true)]
    deadline: f64,
    /// Where the picture is written
    #[arg(long, value_name = "DIR", default_value = "target/plan")]
    pub(crate) out: PathBuf,
}

impl Arguments {
    /// # Errors
    /// If no calls can take such times.
    pub(crate) fn known(&self) -> Result<Known, String> {
        let Self { mean, p99, deviation, rate, instances, slots, clients, deadline, out: _ } = *self;
        let time = match deviation {
            Some(deviation) => ServiceTime::with_deviation(mean, deviation),
            None => ServiceTime::with_p99(mean, p99.unwrap_or(3.0 * mean))?,
        };
        Ok(Known { time, rate, instances, slots, clients, deadline })
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let time = humantime::parse_duration(text).map_err(|why| format!("{why}; expected a time such as `40ms`"))?;
    if !(Duration::from_micros(1)..=Duration::from_secs(24 * 3600)).contains(&time) {
        return Err("must be in [1us, 1day]".into());
    }
    Ok(time.as_secs_f64())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|why| format!("{why}; expected a number of calls a second"))?;
    if !(rate > 0.0 && rate <= 1e9) {
        return Err("must be more than 0, and at most 1e9".into());
    }
    Ok(rate)
}
