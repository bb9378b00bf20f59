//! One page with the table and, for each scenario, the curves of its first seed over time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::curves::Curves;
use crate::runs::Results;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1b2733}\
table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #dde3e8}\
td:first-child,th:first-child,td:nth-child(2){text-align:left}.runs{display:flex;flex-wrap:wrap;gap:1rem}\
figure{margin:0}figcaption{font-size:13px}svg{background:#f7f9fa}small{color:#5b6b7a}";

/// Writes the page into the directory, and returns its path.
pub(crate) fn page(results: &Results, directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join("report.html");
    fs::write(&path, html(results))?;
    path.canonicalize()
}

fn html(results: &Results) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>seawall: the arena</title><style>{STYLE}</style>\
         <h1>The arena</h1><p>Scores from 0 to 1, medians over the seeds; R is 100 times their geometric mean.</p>\
         <table><tr><th>scenario<th>"
    );
    let number = results.contestants.len();
    for name in &results.contestants {
        _ = write!(page, "<th>{name}");
    }
    for (scenario, (name, title)) in results.scenarios.iter().enumerate() {
        _ = write!(page, "<tr><td><a href=#{name}>{name}</a><td>{title}");
        for contestant in 0..number {
            _ = write!(page, "<td>{:.3}", results.score(scenario, contestant));
        }
    }
    page.push_str("<tr><th>R<td>");
    for contestant in 0..number {
        _ = write!(page, "<th>{:.1}", results.total(contestant));
    }
    page.push_str("</table>");
    for (label, note) in &results.notes {
        _ = write!(page, "<p><small>{label}: {note}</small>");
    }
    for (scenario, (name, title)) in results.scenarios.iter().enumerate() {
        _ = write!(page, "<h2 id={name}>{name}: {title}</h2><div class=runs>");
        for (contestant, label) in results.contestants.iter().enumerate() {
            let Some(outcome) = results.outcomes(scenario, contestant).first() else { continue };
            let details = outcome.details.iter().map(|(what, value)| format!("{what} {value:.3}"));
            let details = details.collect::<Vec<_>>().join(" · ");
            let score = results.score(scenario, contestant);
            _ = write!(page, "<figure><figcaption><b>{label}</b> {score:.3}<br><small>{details}</small></figcaption>");
            if let Some(curves) = &outcome.curves {
                page.push_str(&svg(curves));
            }
            page.push_str("</figure>");
        }
        page.push_str("</div>");
    }
    page
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 130.0;

/// Calls per second above, the latency of successes below.
fn svg(curves: &Curves) -> String {
    let mut picture = format!("<div><small>{}</small></div>", curves.title);
    let rates = [
        ("offered", "#b7c2cc", &curves.offered),
        ("attempts", "#e0803a", &curves.attempts),
        ("good", "#1f7a5c", &curves.good),
    ];
    let top = rates.iter().flat_map(|(_, _, points)| points.iter()).copied().fold(0.0, f64::max);
    picture.push_str(&plot(&rates, top, "calls/s", curves));
    let latency = [("P99 of successes", "#3b5bdb", &curves.latency)];
    let top = curves.latency.iter().copied().fold(0.0, f64::max);
    picture.push_str(&plot(&latency, top, "s", curves));
    picture
}

fn plot(lines: &[(&str, &str, &Vec<f64>)], top: f64, unit: &str, curves: &Curves) -> String {
    let mut plot = format!("<svg width={WIDTH} height={HEIGHT} viewBox='0 0 {WIDTH} {HEIGHT}'>");
    for (place, (name, colour, points)) in lines.iter().enumerate() {
        let step = WIDTH / points.len().max(2) as f64;
        let y = |value: f64| HEIGHT - 4.0 - value / top.max(f64::MIN_POSITIVE) * (HEIGHT - 24.0);
        let path = points.iter().enumerate().map(|(at, value)| format!("{:.1},{:.1}", at as f64 * step, y(*value)));
        let path = path.collect::<Vec<_>>().join(" ");
        _ = write!(plot, "<polyline points='{path}' fill=none stroke='{colour}' stroke-width=1.5 />");
        let x = 4.0 + 75.0 * place as f64;
        _ = write!(plot, "<text x={x} y=12 font-size=11 fill='{colour}'>{name}</text>");
    }
    let length = curves.bin as f64 * curves.offered.len() as f64 / 1000.0;
    let legend = format!("top {top:.3} {unit}, {length:.0} s");
    _ = write!(plot, "<text x={} y=12 font-size=11 text-anchor=end fill='#5b6b7a'>{legend}</text></svg>", WIDTH - 4.0);
    plot
}
