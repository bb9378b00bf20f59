//! The page: one file without references to anything, to be opened from disk.

use std::fmt::{self, Write};

use super::curves::{curves, tint};
use super::{table, theme};
use crate::Error;
use crate::claim::broken_promises;
use crate::run::Run;
use crate::scenario::Scenario;

pub(super) fn page(scenario: &Scenario, runs: &[Run]) -> Result<String, Error> {
    let mut html = String::new();
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>seawall: a storm</title>{}",
        style()
    )?;
    write!(html, "<h1>A storm, bare and with seawall</h1>{}", story(scenario))?;
    verdict(&mut html, runs)?;
    html.write_str("<div class=runs>")?;
    for run in runs {
        let (name, colour) = (run.contestant.name(), tint(run.contestant).day_hex());
        write!(html, "<figure><figcaption style=\"border-color:{colour}\">{name}</figcaption>")?;
        write!(html, "{}</figure>", curves(scenario, runs, run)?)?;
    }
    html.write_str("</div>")?;
    table_of(&mut html, runs)?;
    Ok(html)
}

fn story(scenario: &Scenario) -> String {
    let Scenario { seed, slots, service, slowdown, rate, deadline, attempt_timeout, retries, .. } = scenario;
    format!(
        "<p>A service calls a dependency that has {slots} slots and takes {service:?} a request (mean, exponential). \
         {rate} requests a second are offered whatever becomes of the earlier ones (seed {seed}); an answer is good if it is a \
         200 within {deadline:?} of the intended start. During the shaded seconds the dependency is {slowdown} times slower; \
         what it has begun it finishes, even if the caller has gone. The bare service allows {attempt_timeout:?} an attempt \
         and tries up to {retries} times more.</p>"
    )
}

fn verdict(html: &mut String, runs: &[Run]) -> fmt::Result {
    let broken = broken_promises(runs);
    if broken.is_empty() {
        return html.write_str("<p><strong>All promises were kept.</strong></p>");
    }
    html.write_str("<p><strong>Promises not kept:</strong></p><ul>")?;
    for sentence in broken {
        write!(html, "<li>{sentence}</li>")?;
    }
    html.write_str("</ul>")
}

fn table_of(html: &mut String, runs: &[Run]) -> fmt::Result {
    html.write_str("<table><thead>")?;
    row(html, "th", &table::HEADINGS)?;
    html.write_str("</thead><tbody>")?;
    for line in runs.iter().flat_map(table::lines) {
        row(html, "td", &line)?;
    }
    write!(html, "</tbody></table><p class=legend>{}</p>", table::LEGEND)
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
         th:nth-child(-n+2),td:nth-child(-n+2){{text-align:left}}.legend{{font-size:.9em}}\
         </style>",
        paper.day_hex(),
        ink.day_hex(),
        grid.day_hex(),
        paper.night_hex(),
        ink.night_hex(),
        grid.night_hex(),
    )
}
