//! Checks of the rules for Prometheus: their queries, and whether each alert states an action.

use yaml_serde::Value;

use crate::known::{Known, Labels};
use crate::{annotation_labels, promql};

/// All faults of the rules.
pub(crate) fn faults(text: &str, known: &Known) -> Vec<String> {
    let rules: Value = yaml_serde::from_str(text).unwrap();
    let mut known = known.clone();
    let mut faults = Vec::new();
    for rule in rules["groups"].as_sequence().unwrap().iter().flat_map(|group| group["rules"].as_sequence().unwrap()) {
        let text = |field: &str| rule[field].as_str().unwrap_or_default();
        let name = format!("{}{}", text("record"), text("alert"));
        let labels = match promql::check(text("expr"), &known) {
            Ok(labels) => labels.unwrap_or_default(),
            Err(what) => {
                faults.push(format!("{name}: {what}"));
                continue;
            }
        };
        if text("alert").is_empty() {
            known.series.insert(name, labels);
        } else {
            faults.extend(alert_faults(rule, &labels).into_iter().map(|what| format!("{name}: {what}")));
        }
    }
    faults
}

fn alert_faults(alert: &Value, labels: &Labels) -> Vec<String> {
    let mut faults = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !text(&alert["for"]).ends_with(['s', 'm', 'h', 'd']) {
        faults.push("it does not say for how long".to_owned());
    }
    if !["critical", "warning"].contains(&text(&alert["labels"]["severity"]).as_str()) {
        faults.push("no severity".to_owned());
    }
    for annotation in ["summary", "description", "action"] {
        let text = text(&alert["annotations"][annotation]);
        if text.len() < 20 {
            faults.push(format!("no {annotation}"));
        }
        let gone = annotation_labels(&text).into_iter().filter(|label| !labels.contains_key(label));
        faults.extend(gone.map(|label| format!("{annotation} has `{label}`, its query only {:?}", labels.keys())));
    }
    faults
}
