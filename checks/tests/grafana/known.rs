//! What the library emits, as Prometheus sees it, and what the documentation says about it.

use std::collections::{BTreeMap, BTreeSet};

/// Labels, each with its values; `None` if the values are not checked.
pub(crate) type Labels = BTreeMap<String, Option<BTreeSet<String>>>;

/// Labels that Prometheus adds to every series.
const OF_TARGETS: [&str; 2] = ["instance", "job"];

/// Everything that a query may name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Series by name. A histogram has three.
    pub(crate) series: BTreeMap<String, Labels>,
    /// The kind of each metric, by name.
    pub(crate) kinds: BTreeMap<String, String>,
}

impl Known {
    /// Reads the library's metrics from the text of a scrape.
    pub(crate) fn scraped(text: &str) -> Self {
        let mut known = Self::default();
        for line in text.lines().map(str::trim).filter(|line| line.contains("seawall_")) {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                known.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                known.sample(line);
            }
        }
        known
    }

    fn sample(&mut self, line: &str) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, pairs) = series.split_once('{').unwrap_or((series, "}"));
        let labels = self.series.entry(name.to_owned()).or_default();
        for target in OF_TARGETS {
            labels.insert(target.to_owned(), None);
        }
        for pair in pairs.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once("=\"").unwrap();
            let values = labels.entry(label.to_owned()).or_insert_with(|| Some(BTreeSet::new()));
            values.get_or_insert_default().insert(value.trim_end_matches('"').to_owned());
        }
    }

    /// The name and the kind of the metric that a series belongs to.
    pub(crate) fn kind(&self, series: &str) -> Option<(&str, &str)> {
        let suffixes = ["", "_bucket", "_count", "_sum"];
        let mut families = suffixes.iter().filter_map(|suffix| self.kinds.get_key_value(series.strip_suffix(suffix)?));
        families.next().map(|(name, kind)| (name.as_str(), kind.as_str()))
    }

    /// The metrics, each with its kind and its labels, without those that Prometheus adds.
    pub(crate) fn metrics(&self) -> BTreeMap<String, (String, BTreeSet<String>)> {
        let mut metrics = BTreeMap::<_, (String, BTreeSet<String>)>::new();
        for (series, labels) in &self.series {
            let (name, kind) = self.kind(series).unwrap_or((series, "untyped"));
            let own = labels.keys().filter(|label| !OF_TARGETS.contains(&label.as_str()) && *label != "le");
            let metric = metrics.entry(name.to_owned()).or_insert_with(|| (kind.to_owned(), BTreeSet::new()));
            metric.1.extend(own.cloned());
        }
        metrics
    }

    /// All values of a label, over all series.
    pub(crate) fn values(&self, label: &str) -> BTreeSet<String> {
        let values = self.series.values().filter_map(|labels| labels.get(label)?.as_ref());
        values.flatten().cloned().collect()
    }
}

/// The tables of the page: of metrics and of label values.
#[derive(Debug)]
pub(crate) struct Documented {
    /// In the form of [`Known::metrics`].
    pub(crate) metrics: BTreeMap<String, (String, BTreeSet<String>)>,
    pub(crate) values: BTreeMap<String, BTreeSet<String>>,
    /// Metrics whose meaning the page does not state.
    pub(crate) unexplained: Vec<String>,
}

pub(crate) fn documented(page: &str) -> Documented {
    let section = page.split_once("\n# The metrics\n").expect("a section of metrics").1;
    let section = section.split("\n# ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());

    let mut documented = Documented { metrics: BTreeMap::new(), values: BTreeMap::new(), unexplained: Vec::new() };
    for cells in rows {
        match cells[..] {
            [name, kind, labels, unit, meaning, alert] => {
                let name = name.trim_matches('`').to_owned();
                if [unit, meaning, alert].contains(&"") {
                    documented.unexplained.push(name.clone());
                }
                documented.metrics.insert(name, (kind.to_owned(), codes(labels)));
            }
            [labels, values] => {
                // The text after a colon explains a value, and is not a value.
                let values: BTreeSet<_> =
                    values.split([';', ',']).flat_map(|part| codes(part).into_iter().next()).collect();
                for label in codes(labels) {
                    documented.values.insert(label, values.clone());
                }
            }
            _ => panic!("a row of {} cells: {cells:?}", cells.len()),
        }
    }
    // Each metric has its own row elsewhere on the page.
    let reasons = page.lines().filter(|line| line.starts_with("| [`") && line.contains("error::Reason::"));
    let reasons = reasons.map(|row| row.split('`').nth(3).expect("the reason in one word").to_owned());
    documented.values.insert("reason".to_owned(), reasons.collect());
    documented
}

fn codes(text: &str) -> BTreeSet<String> {
    let codes = text.split('`').skip(1).step_by(2);
    codes.filter(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '_')).map(str::to_owned).collect()
}
