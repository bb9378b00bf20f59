//! Checks of the dashboard: its queries, and whether Grafana can show it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::known::Known;
use crate::{legend_labels, promql};

/// Intervals that Grafana substitutes.
const INTERVALS: [(&str, &str); 3] = [("$__rate_interval", "5m"), ("$__interval", "1m"), ("$__range", "3h")];

/// All faults of the dashboard.
pub(crate) fn faults(text: &str, known: &Known) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let mut faults = Vec::new();
    let variables = variables(&dashboard, known, &mut faults);
    imports(&dashboard, &mut faults);

    let mut ids = BTreeSet::new();
    let mut places = Vec::new();
    for panel in list(&dashboard, "panels") {
        let title = text_of(panel, "title").to_owned();
        let mut fault = |what: &str| faults.push(format!("panel `{title}`: {what}"));
        if !ids.insert(panel["id"].as_u64()) {
            fault("its id is taken");
        }
        places.push(place(panel));
        if text_of(panel, "type") == "row" {
            continue;
        }
        if text_of(panel, "description").len() < 20 {
            fault("nothing says what to look for");
        }
        if text_of(&panel["fieldConfig"]["defaults"], "unit").is_empty() {
            fault("no unit");
        }
        if list(panel, "targets").is_empty() {
            fault("it asks for nothing");
        }
        for target in list(panel, "targets") {
            let (query, legend) = (text_of(target, "expr"), text_of(target, "legendFormat"));
            if legend.is_empty() {
                fault("no legend");
            }
            if text_of(&target["datasource"], "uid") != "${datasource}" {
                fault("it does not ask the data source that was chosen");
            }
            let query = filled_in(query, &variables);
            if query.contains('$') {
                fault("it uses a variable that is not there");
            }
            match promql::check(&query, known) {
                Ok(labels) => {
                    let labels = labels.unwrap_or_default();
                    let gone = legend_labels(legend).into_iter().filter(|label| !labels.contains_key(label));
                    gone.for_each(|label| {
                        fault(&format!("its legend has `{label}`, its query only {:?}", labels.keys()))
                    });
                }
                Err(what) => fault(&what),
            }
        }
    }
    for annotation in list(&dashboard["annotations"], "list").iter().filter(|annotation| annotation["expr"].is_string())
    {
        let query = filled_in(text_of(annotation, "expr"), &variables);
        faults.extend(promql::check(&query, known).err().map(|what| format!("annotation: {what}")));
    }
    overlaps(&places, &mut faults);
    faults
}

/// The names of the variables. The query of a variable must name an emitted series and label.
fn variables(dashboard: &Value, known: &Known, faults: &mut Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for variable in list(&dashboard["templating"], "list") {
        let name = text_of(variable, "name").to_owned();
        if text_of(variable, "type") == "query" {
            let query = text_of(&variable["query"], "query");
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let Some((selector, label)) = inner.and_then(|inner| inner.rsplit_once(", ")) else {
                faults.push(format!("variable `{name}`: {query} is not understood"));
                continue;
            };
            match promql::check(&filled_in(selector, &names), known) {
                Ok(Some(labels)) if labels.contains_key(label) => {}
                Ok(_) => faults.push(format!("variable `{name}`: no label `{label}` in {selector}")),
                Err(what) => faults.push(format!("variable `{name}`: {what}")),
            }
        }
        names.push(name);
    }
    for expected in ["datasource", "name"] {
        if !names.iter().any(|name| name == expected) {
            faults.push(format!("no variable `{expected}`"));
        }
    }
    names
}

/// The import must ask for a data source and require every panel type that is used.
fn imports(dashboard: &Value, faults: &mut Vec<String>) {
    if !list(dashboard, "__inputs").iter().any(|input| text_of(input, "name") == "DS_PROMETHEUS") {
        faults.push("nobody is asked for a data source".to_owned());
    }
    let required: BTreeSet<_> = list(dashboard, "__requires").iter().map(|required| text_of(required, "id")).collect();
    for panel in list(dashboard, "panels") {
        let kind = text_of(panel, "type");
        if kind != "row" && !required.contains(kind) {
            faults.push(format!("panels of the type `{kind}` are not required"));
        }
    }
}

/// The query as Grafana sends it. An unknown variable stays in it.
fn filled_in(query: &str, variables: &[String]) -> String {
    let query = INTERVALS.iter().fold(query.to_owned(), |query, (name, length)| query.replace(name, length));
    variables.iter().fold(query, |query, name| query.replace(&format!("\"${name}\""), "\".*\""))
}

/// Left, top, right, bottom.
fn place(panel: &Value) -> [u64; 4] {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"));
    [x, y, x + w, y + h]
}

fn overlaps(places: &[[u64; 4]], faults: &mut Vec<String>) {
    for (n, &[left, top, right, bottom]) in places.iter().enumerate() {
        if right > 24 {
            faults.push(format!("panel {n} is wider than the page"));
        }
        if places[..n].iter().any(|other| left < other[2] && other[0] < right && top < other[3] && other[1] < bottom) {
            faults.push(format!("panel {n} lies on another one"));
        }
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
