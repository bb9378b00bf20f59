//! The page of a drill.

use std::fmt::Write;

use super::{curves, html, tables};
use crate::Error;
use crate::claim::Results;

pub(super) fn page(results: &Results) -> Result<String, Error> {
    let mut html = String::new();
    html::begin(&mut html, "seawall: high availability", "What users see when a predictor fails")?;
    html::verdict(&mut html, &results.broken(), "All that must hold holds.", "Does not hold:")?;
    if !results.ramps.is_empty() {
        html.write_str("<h2>The topologies</h2>")?;
        html::table(&mut html, &tables::topologies(results))?;
        html::figure(&mut html, curves::ramps(&results.ramps, results.pace))?;
    }
    html.write_str("<h2>The faults</h2>")?;
    html::table(&mut html, &tables::faults(results))?;
    for (run, _) in &results.faults {
        write!(html, "<h3>{}: {}</h3>", run.topology.title(), run.fault.title())?;
        html::figure(&mut html, curves::by_node(run, results.pace))?;
    }
    Ok(html)
}
