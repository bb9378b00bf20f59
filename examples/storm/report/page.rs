//! The page of a storm.

use std::fmt::Write;

use super::curves::{curves, tint};
use super::{html, leak, overload, table};
use crate::Error;
use crate::acts::{Runs, Scripts};
use crate::leak::Script as Leak;
use crate::overload::Script as Overload;
use crate::run::Run;
use crate::scenario::Scenario;

pub(super) fn page(scripts: &Scripts, runs: &Runs) -> Result<String, Error> {
    let mut html = String::new();
    html::begin(&mut html, "seawall: a storm", "A storm, a leak and an overload, bare and with seawall")?;
    let broken = scripts.broken_promises(runs);
    html::verdict(&mut html, &broken, "All promises were kept.", "Promises not kept:")?;
    if !runs.storm.is_empty() {
        write!(html, "<h2>The storm</h2>{}", story(&scripts.storm))?;
        side_by_side(&mut html, &scripts.storm, &runs.storm)?;
        html::table(&mut html, &table::sheet(&runs.storm))?;
    }
    if !runs.leak.is_empty() {
        write!(html, "<h2>The leak</h2>{}", leak_story(&scripts.leak))?;
        html::figure(&mut html, leak::panel(&scripts.leak, &runs.leak))?;
        html::table(&mut html, &leak::sheet(&scripts.leak, &runs.leak))?;
    }
    if !runs.overload.is_empty() {
        write!(html, "<h2>The overload</h2>{}", overload_story(&scripts.overload))?;
        html::figure(&mut html, overload::panel(&runs.overload))?;
        html::table(&mut html, &overload::sheet(&scripts.overload, &runs.overload))?;
    }
    Ok(html)
}

/// The curves of each run, side by side.
fn side_by_side(html: &mut String, scenario: &Scenario, runs: &[Run]) -> Result<(), Error> {
    html.write_str("<div class=runs>")?;
    for run in runs {
        let (name, colour) = (run.contestant.name(), tint(run.contestant).day_hex());
        write!(html, "<figure><figcaption style=\"border-color:{colour}\">{name}</figcaption>")?;
        write!(html, "{}</figure>", curves(scenario, runs, run)?)?;
    }
    html.write_str("</div>")?;
    Ok(())
}

fn story(scenario: &Scenario) -> String {
    let Scenario { seed, slots, service, slowdown, rate, deadline, attempt_timeout, retries, .. } = scenario;
    format!(
        "<p>A service calls a dependency that has {slots} slots and takes {service:?} a request (mean, exponential). \
         {rate} requests a second are offered, whether earlier ones have ended or not (seed {seed}). An answer is good if it is a \
         200 within {deadline:?} of the intended start. During the shaded seconds the dependency is {slowdown} times slower; \
         it finishes work that it has begun, even if the caller is gone. The bare service allows {attempt_timeout:?} an \
         attempt and makes up to {retries} retries.</p>"
    )
}

fn leak_story(Leak { rate, deadline, bulkhead, .. }: &Leak) -> String {
    format!(
        "<p>A client makes {rate} calls a second. During the shaded time the dependency sends heads and stalls their bodies, \
         and a stalled body stays stalled. Half of the responses are read at once; the others wait for a reader that takes them \
         in turn, and so are parked behind a stalled one. The bare client has a timeout of {deadline:?}, which ends with the head; \
         the protected one has a deadline of {deadline:?}, which ends with the body, and a bulkhead of {bulkhead}.</p>"
    )
}

fn overload_story(Overload { workers, work, deadline, .. }: &Overload) -> String {
    format!(
        "<p>A service has {workers} workers, which take {work:?} a request (mean). The load rises in steps to several times their \
         capacity, and is low again at the end. An answer is good within {deadline:?}. Accepted work is executed, even \
         if the caller is gone. The bare service queues every request; the protected one refuses requests that it could only \
         serve too late.</p>"
    )
}
