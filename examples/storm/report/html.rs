//! The parts of a page: one self-contained file, with its style, its verdict, its charts and its tables.

use std::fmt::{self, Write};

use super::chart::{self, Panel};
use super::sheet::Sheet;
use super::theme;
use crate::Error;

/// The beginning of a page, up to its first heading.
pub(super) fn begin(html: &mut String, title: &str, heading: &str) -> fmt::Result {
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{title}</title>{}<h1>{heading}</h1>",
        style()
    )
}

/// What does not hold, under `failed`; or that everything does.
pub(super) fn verdict(html: &mut String, broken: &[String], kept: &str, failed: &str) -> fmt::Result {
    if broken.is_empty() {
        return write!(html, "<p><strong>{kept}</strong></p>");
    }
    write!(html, "<p><strong>{failed}</strong></p><ul>")?;
    for sentence in broken {
        write!(html, "<li>{}</li>", sentence.replace('&', "&amp;").replace('<', "&lt;"))?;
    }
    html.write_str("</ul>")
}

pub(super) fn figure(html: &mut String, panel: Panel) -> Result<(), Error> {
    write!(html, "<figure>{}</figure>", chart::svg(&[vec![panel]], 1000, 320)?)?;
    Ok(())
}

pub(super) fn table(html: &mut String, sheet: &Sheet) -> fmt::Result {
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
