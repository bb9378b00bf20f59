//! The page: one self-contained file.

use std::fmt::{self, Write};

use super::chart::{self, Panel};
use super::sheet::Sheet;
use super::{curves, tables, theme};
use crate::Error;
use crate::claim::Results;

pub(super) fn page(results: &Results) -> Result<String, Error> {
    let mut html = String::new();
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>seawall: high availability</title>{}",
        style()
    )?;
    html.write_str("<h1>What users see when a predictor fails</h1>")?;
    verdict(&mut html, &results.broken())?;
    if !results.ramps.is_empty() {
        html.write_str("<h2>The topologies</h2>")?;
        table(&mut html, &tables::topologies(results))?;
        figure(&mut html, curves::ramps(&results.ramps, results.pace))?;
    }
    html.write_str("<h2>The faults</h2>")?;
    table(&mut html, &tables::faults(results))?;
    for (run, _) in &results.faults {
        write!(html, "<h3>{}: {}</h3>", run.topology.title(), run.fault.title())?;
        figure(&mut html, curves::by_node(run, results.pace))?;
    }
    Ok(html)
}

fn figure(html: &mut String, panel: Panel) -> Result<(), Error> {
    write!(html, "<figure>{}</figure>", chart::svg(&[vec![panel]], 1000, 320)?)?;
    Ok(())
}

fn verdict(html: &mut String, broken: &[String]) -> fmt::Result {
    if broken.is_empty() {
        return html.write_str("<p><strong>All that must hold holds.</strong></p>");
    }
    html.write_str("<p><strong>Does not hold:</strong></p><ul>")?;
    for sentence in broken {
        write!(html, "<li>{}</li>", sentence.replace('&', "&amp;").replace('<', "&lt;"))?;
    }
    html.write_str("</ul>")
}

fn table(html: &mut String, sheet: &Sheet) -> fmt::Result {
    html.write_str("<table><thead>")?;
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
         figure{{margin:0}}svg{{width:100%;height:auto}}\
         table{{border-collapse:collapse;display:block;overflow-x:auto}}\
         th,td{{padding:.3rem .8rem;border-bottom:1px solid var(--grid);text-align:right;vertical-align:top}}\
         th:first-child,td:first-child{{text-align:left}}.legend{{font-size:.9em}}\
         </style>",
        paper.day_hex(),
        ink.day_hex(),
        grid.day_hex(),
        paper.night_hex(),
        ink.night_hex(),
        grid.night_hex(),
    )
}
