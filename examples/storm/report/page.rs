//! The page: one self-contained file.

use std::fmt::{self, Write};

use super::chart::{self, Panel};
use super::curves::{curves, tint};
use super::sheet::Sheet;
use super::{leak, overload, table, theme};
use crate::Error;
use crate::acts::{Runs, Scripts};
use crate::leak::Script as Leak;
use crate::overload::Script as Overload;
use crate::run::Run;
use crate::scenario::Scenario;

pub(super) fn page(scripts: &Scripts, runs: &Runs) -> Result<String, Error> {
    let mut html = String::new();
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>seawall: a storm</title>{}",
        style()
    )?;
    html.write_str("<h1>A storm, a leak and an overload, bare and with seawall</h1>")?;
    verdict(&mut html, &scripts.broken_promises(runs))?;
    if !runs.storm.is_empty() {
        write!(html, "<h2>The storm</h2>{}", story(&scripts.storm))?;
        side_by_side(&mut html, &scripts.storm, &runs.storm)?;
        table_of(&mut html, &table::sheet(&runs.storm))?;
    }
    if !runs.leak.is_empty() {
        write!(html, "<h2>The leak</h2>{}", leak_story(&scripts.leak))?;
        single(&mut html, leak::panel(&scripts.leak, &runs.leak))?;
        table_of(&mut html, &leak::sheet(&scripts.leak, &runs.leak))?;
    }
    if !runs.overload.is_empty() {
        write!(html, "<h2>The overload</h2>{}", overload_story(&scripts.overload))?;
        single(&mut html, overload::panel(&runs.overload))?;
        table_of(&mut html, &overload::sheet(&scripts.overload, &runs.overload))?;
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

/// Both runs in one chart.
fn single(html: &mut String, panel: Panel) -> Result<(), Error> {
    write!(html, "<figure>{}</figure>", chart::svg(&[vec![panel]], 1000, 320)?)?;
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

fn verdict(html: &mut String, broken: &[String]) -> fmt::Result {
    if broken.is_empty() {
        return html.write_str("<p><strong>All promises were kept.</strong></p>");
    }
    html.write_str("<p><strong>Promises not kept:</strong></p><ul>")?;
    for sentence in broken {
        write!(html, "<li>{sentence}</li>")?;
    }
    html.write_str("</ul>")
}

fn table_of(html: &mut String, sheet: &Sheet) -> fmt::Result {
    let class = if sheet.names > 1 { " class=phases" } else { "" };
    write!(html, "<table{class}><thead>")?;
    row(html, "th", sheet.headings)?;
    html.write_str("</thead><tbody>")?;
    for line in &sheet.lines {
        row(html, "td", line)?;
    }
    write!(html, "</tbody></table><p class=legend>{}</p>", sheet.legend)
}

fn row(html: &mut String, element: &str, cells: &[impl fmt::Display]) -> fmt::Result {
    html.write_str("<tr>")?;
    for cell in cells {
        write!(html, "<{element}>{cell}</{element}>")?;
    }
    html.write_str("</tr>")
}

fn style() -> String {
    let [paper, ink, grid] = [theme::PAPER, theme::INK, theme::GRID];
    format!(
        "<style>\
         :root{{color-scheme:light dark;--paper:{};--ink:{};--grid:{}}}\
         @media (prefers-color-scheme:dark){{:root{{--paper:{};--ink:{};--grid:{}}}}}\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:82rem;margin:2rem auto;padding:0 1rem;\
         background:var(--paper);color:var(--ink)}}\
         .runs{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}}\
         figure{{margin:0}}figcaption{{font-weight:600;border-left:.5rem solid;padding-left:.5rem}}\
         svg{{width:100%;height:auto}}\
         table{{border-collapse:collapse;display:block;overflow-x:auto}}\
         th,td{{padding:.3rem .8rem;border-bottom:1px solid var(--grid);text-align:right;vertical-align:top;white-space:pre-line}}\
         th:first-child,td:first-child,.phases :nth-child(2){{text-align:left}}.legend{{font-size:.9em}}\
         </style>",
        paper.day_hex(),
        ink.day_hex(),
        grid.day_hex(),
        paper.night_hex(),
        ink.night_hex(),
        grid.night_hex(),
    )
}
