//! The dashboard, the alerts and the guide's table of metrics name what the library emits, and nothing else.
//!
//! The tests make layers of every kind emit every metric, and read what Prometheus would scrape. So a test fails if a name changes in
//! one place only.

mod dashboard;
mod emission;
mod known;
mod promql;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use known::Known;

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn emitted() -> &'static Known {
    static EMITTED: OnceLock<Known> = OnceLock::new();
    EMITTED.get_or_init(|| Known::scraped(&emission::scrape()))
}

/// `{{label}}`
fn legend_labels(legend: &str) -> Vec<String> {
    let parts = legend.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    parts.map(|(label, _)| label.trim().to_owned()).collect()
}

/// `{{ $labels.label }}`
fn annotation_labels(text: &str) -> Vec<String> {
    let parts = text.split("$labels.").skip(1);
    parts.map(|part| part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn dashboard_queries_match_emitted_metrics() {
    let faults = dashboard::faults(&file("docs/grafana/dashboard.json"), emitted());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn alerts_can_fire_and_state_an_action() {
    let faults = rules::faults(&file("docs/grafana/alerts.yaml"), emitted());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn guide_queries_match_emitted_metrics() {
    let page = file("src/operations.md");
    let queries: Vec<_> =
        page.split("```promql\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    // A block in a list is indented.
    let faults: Vec<_> = queries.iter().filter_map(|query| promql::check(query.trim(), emitted()).err()).collect();
    assert!(queries.len() >= 4 && faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn guide_lists_exactly_the_emitted_metrics() {
    let documented = known::documented(&file("src/operations.md"));
    assert_eq!(documented.metrics, emitted().metrics());
    assert_eq!(documented.unexplained, Vec::<String>::new());
}

#[test]
fn guide_lists_exactly_the_emitted_label_values() {
    let documented = known::documented(&file("src/operations.md"));
    for (label, values) in &documented.values {
        let others = match label.as_str() {
            "from" => "to",
            "to" => "from",
            label => label,
        };
        let emitted: BTreeSet<_> = emitted().values(label).union(&emitted().values(others)).cloned().collect();
        assert_eq!(values, &emitted, "`{label}`");
    }
    let labels: BTreeSet<_> = emitted().metrics().into_values().flat_map(|(_, labels)| labels).collect();
    let explained: BTreeSet<_> = documented.values.into_keys().chain(["name".to_owned()]).collect();
    assert_eq!(labels, explained);
}

/// The guide says which verdicts count as failed calls. Every query that excludes verdicts must agree with it. A query that excludes
/// only `ignored` selects the calls that were served.
#[test]
fn failed_verdicts_agree_in_guide_rules_and_dashboard() {
    let guide = file("src/operations.md");
    let sentence = guide.split("if its verdict is none of ").nth(1).and_then(|rest| rest.split('.').next()).unwrap();
    let good: BTreeSet<_> = sentence.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(good.len(), 3, "{sentence}");
    assert!(good.is_subset(&emitted().values("verdict")), "{good:?}");
    let served = BTreeSet::from(["ignored".to_owned()]);
    for (path, queries) in
        [("src/operations.md", 1), ("docs/grafana/alerts.yaml", 1), ("docs/grafana/dashboard.json", 2)]
    {
        let text = file(path).replace("\\\"", "\"");
        let left_out =
            text.split("verdict!").skip(1).filter_map(|rest| rest.trim_start_matches(['=', '~']).split('"').nth(1));
        let left_out: Vec<BTreeSet<_>> = left_out.map(|names| names.split('|').map(str::to_owned).collect()).collect();
        assert!(left_out.iter().all(|names| *names == good || *names == served), "{path}: {left_out:?}");
        assert!(left_out.iter().filter(|names| **names == good).count() >= queries, "{path}: {left_out:?}");
    }
}

/// Unnamed layers share one name, and count rare events only.
#[test]
fn unnamed_layers_emit_rare_events_only() {
    let unnamed = |series: &str| emitted().series[series]["name"].as_ref().unwrap().contains("unnamed");
    assert!(unnamed("seawall_rejected_total"));
    assert!(!unnamed("seawall_call_duration_seconds_count"));
    assert!(!unnamed("seawall_limit"));
}

/// A small scrape, so that these tests do not change with the library.
const SCRAPE: &str = r#"
# TYPE seawall_rejected_total counter
seawall_rejected_total{name="a",layer="bulkhead",reason="queue_full"} 3
seawall_rejected_total{name="a",layer="retry",reason="not_ready"} 1
# TYPE seawall_limit gauge
seawall_limit{name="a",layer="bulkhead"} 64
# TYPE seawall_took_seconds histogram
seawall_took_seconds_bucket{name="a",le="0.1"} 2
seawall_took_seconds_bucket{name="a",le="+Inf"} 2
seawall_took_seconds_sum{name="a"} 0.1
seawall_took_seconds_count{name="a"} 2
"#;

#[test]
fn wrong_query_is_reported() {
    let known = Known::scraped(SCRAPE);
    let well = [
        r#"sum by (name, reason) (rate(seawall_rejected_total{reason=~"queue_full|not_ready",name=~".*"}[5m]))"#,
        "histogram_quantile(0.99, sum by (le, job) (rate(seawall_took_seconds_bucket[5m])))",
        "sum by (name) (seawall_limit) / sum by (name) (rate(seawall_took_seconds_count[5m])) > 0.5",
        "seawall_limit / on (name) group_left seawall_took_seconds_sum",
        r#"count({__name__=~"seawall_.+"})"#,
    ];
    for query in well {
        promql::check(query, &known).unwrap();
    }
    let wrong = [
        ("rate(seawall_rejections_total[5m])", "nobody emits"),
        ("rate(seawall_took_seconds[5m])", "nobody emits"),
        (r#"{__name__=~"rampart_.+"}"#, "nobody emits"),
        (r#"seawall_rejected_total{why="budget"}"#, "no label `why`"),
        (r#"seawall_rejected_total{reason="queue_empty"}"#, "is never"),
        (r#"seawall_rejected_total{reason!="queue_empty"}"#, "is never"),
        (r#"seawall_rejected_total{reason=~"queue_full|queue_empty"}"#, "is never"),
        (r#"seawall_rejected_total{reason=~"queue_e.*"}"#, "matches none"),
        ("sum by (verdict) (seawall_limit)", "no label `verdict`"),
        ("sum by (layer) (sum by (name) (seawall_limit))", "no label `layer`"),
        ("sum without (verdict) (seawall_limit)", "no label `verdict`"),
        ("histogram_quantile(0.99, sum by (name) (rate(seawall_took_seconds_bucket[5m])))", "no label `le`"),
        ("sum by (name) (seawall_limit) / sum by (layer) (seawall_limit)", "no series of"),
        ("seawall_limit / seawall_took_seconds_sum", "no series of"),
        ("rate(seawall_limit[5m])", "of a gauge"),
        ("avg_over_time(seawall_rejected_total[5m])", "only grows"),
        ("sum(rate(seawall_limit[5m])", "in:"),
    ];
    for (query, what) in wrong {
        let fault = promql::check(query, &known).expect_err(query);
        assert!(fault.contains(what), "{query}: {fault}");
    }
}

#[test]
fn wrong_dashboard_is_reported() {
    let dashboard = r#"{
        "__inputs": [{"name": "DS_PROMETHEUS"}], "__requires": [{"id": "stat"}],
        "templating": {"list": [
            {"name": "datasource", "type": "datasource"},
            {"name": "name", "type": "query", "query": {"query": "label_values(seawall_limit, verdict)"}}]},
        "panels": [
            {"id": 1, "type": "row", "title": "a row", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
            {"id": 1, "type": "stat", "title": "a number", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 8},
             "targets": [{"expr": "seawall_limit{name=~\"$name\"}", "legendFormat": "{{reason}}"}]},
            {"id": 2, "type": "gauge", "title": "another", "gridPos": {"x": 20, "y": 8, "w": 8, "h": 8},
             "description": "A number that says nothing.", "fieldConfig": {"defaults": {"unit": "s"}},
             "targets": [{"expr": "seawall_limit{name=~\"$tenant\"}", "legendFormat": "limit",
                          "datasource": {"uid": "${datasource}"}},
                         {"expr": "seawall_bound", "legendFormat": "bound", "datasource": {"uid": "${datasource}"}}]}]}"#;
    let faults = dashboard::faults(dashboard, &Known::scraped(SCRAPE)).join("\n");
    let expected = [
        "no label `verdict` in seawall_limit",
        "`gauge` are not required",
        "its id is taken",
        "nothing says what to look for",
        "no unit",
        "does not ask the data source",
        "its legend has `reason`",
        "uses a variable that is not there",
        "nobody emits `seawall_bound`",
        "wider than the page",
        "lies on another one",
    ];
    for fault in expected {
        assert!(faults.contains(fault), "{fault}: not among\n{faults}");
    }
}

#[test]
fn wrong_alert_is_reported() {
    let rules = r"
groups:
  - name: a
    rules:
      - record: a:limit
        expr: sum by (name) (seawall_limit)
      - alert: Bound
        expr: sum by (name) (seawall_bound) > 1
      - alert: Limit
        expr: a:limit{layer='bulkhead'} > 1
      - alert: Silent
        expr: a:limit > 1
        annotations:
          summary: 'too much at {{ $labels.layer }} of {{ $labels.name }}'
";
    let faults = rules::faults(rules, &Known::scraped(SCRAPE)).join("\n");
    let expected = [
        "Bound: nobody emits `seawall_bound`",
        "Limit: no label `layer`",
        "Silent: it does not say for how long",
        "Silent: no severity",
        "Silent: no description",
        "Silent: no action",
        "Silent: summary has `layer`",
    ];
    for fault in expected {
        assert!(faults.contains(fault), "{fault}: not among\n{faults}");
    }
    assert!(!faults.contains("summary has `name`"), "{faults}");
}
