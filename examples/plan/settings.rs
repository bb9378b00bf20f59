//! The recommended settings as a file, each with its reason.

use std::fmt::{self, Write};
use std::time::Duration;

use humantime::format_duration;

use crate::sizing::{Known, Sizing, shown};

/// The settings in TOML, to paste into a file of settings.
pub(crate) fn toml(known: &Known, sizing: &Sizing) -> Result<String, fmt::Error> {
    let mut toml = String::new();
    server(&mut toml, known, sizing)?;
    client(&mut toml, known, sizing)?;
    Ok(toml)
}

fn server(toml: &mut String, known: &Known, sizing: &Sizing) -> fmt::Result {
    let config = &sizing.server;
    let shed = &config.load_shed;
    writeln!(toml, "[server.inbound.deadline]")?;
    line(toml, "timeout", time(config.deadline.timeout), "the callers' deadline")?;
    writeln!(toml, "\n[server.inbound.load_shed]")?;
    line(toml, "max_in_flight", shed.max_in_flight, "the slots of an instance")?;
    let longest = shown(shed.queue_ratio * known.time.mean);
    let why = format!("no call waits longer than about {}", format_duration(longest));
    line(toml, "queue_ratio", format_args!("{:?}", shed.queue_ratio), &why)
}

fn client(toml: &mut String, known: &Known, sizing: &Sizing) -> fmt::Result {
    let config = &sizing.client;
    let (retry, bulkhead) = (&config.retry, &config.bulkhead);
    writeln!(toml, "\n[client.dependency.deadline]")?;
    line(toml, "timeout", time(config.deadline.timeout), "the callers' deadline")?;

    writeln!(toml, "\n[client.dependency.retry]")?;
    line(toml, "max_attempts", retry.max_attempts, "one retry, for a lost packet or a lost instance")?;
    match retry.attempt_timeout {
        Some(timeout) => line(toml, "attempt_timeout", time(timeout), "leaves time for the other attempt")?,
        None => line(toml, "attempt_timeout", "\"off\"", "good answers take too long for two attempts")?,
    }
    line(toml, "max_retry_after", time(retry.max_retry_after), "half of the deadline")?;
    writeln!(toml, "\n[client.dependency.retry.backoff]")?;
    line(toml, "base", time(retry.backoff.base), "half of the calls take less")?;
    line(toml, "cap", time(retry.backoff.cap), "an eighth of the deadline")?;
    writeln!(toml, "\n[client.dependency.retry.budget]")?;
    let most = format!("at most {:.0} % more calls, which must be free", retry.budget.ratio * 100.0);
    line(toml, "ratio", retry.budget.ratio, &most)?;
    line(
        toml,
        "reserve_per_second",
        format_args!("{:?}", retry.budget.reserve_per_second),
        "for clients with few calls",
    )?;

    writeln!(toml, "\n[client.dependency.bulkhead]")?;
    let calls = format!("{0:.1} calls at once on average, plus 3 sqrt({0:.1}); at most the slots", sizing.in_progress);
    line(toml, "max_concurrent", bulkhead.max_concurrent, &calls)?;
    line(toml, "max_waiting", bulkhead.max_waiting, "what is served in max_wait")?;
    let why = format!("the deadline, without {} for the call itself", format_duration(shown(known.time.p99())));
    line(toml, "max_wait", time(bulkhead.max_wait), &why)
}

fn line(toml: &mut String, key: &str, value: impl fmt::Display, why: &str) -> fmt::Result {
    writeln!(toml, "{key} = {value} # {why}")
}

fn time(time: Duration) -> String {
    format!("\"{}\"", format_duration(time))
}
