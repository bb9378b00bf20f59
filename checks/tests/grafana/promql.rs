//! Parses a query and reports its fault: a name that is not emitted, a label that the expression does not have at that point, a value
//! that never occurs, or two sides that cannot match.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::{T_LAND, T_LOR, T_LUNLESS};
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};

use crate::known::{Known, Labels};

/// The labels of the result of a query; `None` for a scalar.
pub(crate) fn check(query: &str, known: &Known) -> Result<Option<Labels>, String> {
    let expr = parser::parse(query).map_err(|error| format!("{error} in: {query}"))?;
    Checker { known }.expr(&expr).map_err(|fault| format!("{fault} in: {query}"))
}

struct Checker<'a> {
    known: &'a Known,
}

impl Checker<'_> {
    fn expr(&self, expr: &Expr) -> Result<Option<Labels>, String> {
        match expr {
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(None),
            Expr::VectorSelector(selector) => self.selector(selector).map(Some),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs).map(Some),
            Expr::Paren(paren) => self.expr(&paren.expr),
            Expr::Unary(unary) => self.expr(&unary.expr),
            Expr::Subquery(subquery) => self.expr(&subquery.expr),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate).map(Some),
            Expr::Call(call) => self.call(call),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Extension(_) => Err("an extension".to_owned()),
        }
    }

    fn selector(&self, selector: &VectorSelector) -> Result<Labels, String> {
        let by_name = |matcher: &&Matcher| matcher.name == "__name__";
        let named = |series: &str| match &selector.name {
            Some(name) => name == series,
            None => selector.matchers.matchers.iter().filter(by_name).all(|matcher| matcher.is_match(series)),
        };
        let mut labels = Labels::new();
        for (_, of_series) in self.known.series.iter().filter(|(series, _)| named(series)) {
            for (label, values) in of_series {
                match (labels.entry(label.clone()).or_insert_with(|| values.clone()), values) {
                    (Some(all), Some(more)) => all.extend(more.iter().cloned()),
                    (all, _) => *all = None,
                }
            }
        }
        if labels.is_empty() {
            return Err(format!("nobody emits `{selector}`"));
        }
        let matchers = selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten());
        for matcher in matchers.filter(|matcher| !by_name(matcher)) {
            let values = labels.get(&matcher.name).ok_or_else(|| missing(&matcher.name, &labels))?;
            // The user chooses the names, so any value is accepted.
            if let (Some(values), false) = (values, matcher.name == "name") {
                matches_something(matcher, values)?;
            }
        }
        Ok(labels)
    }

    fn aggregate(&self, aggregate: &AggregateExpr) -> Result<Labels, String> {
        let inner = self.vector(&aggregate.expr)?;
        for label in aggregate.modifier.iter().flat_map(|modifier| &modifier.labels().labels) {
            inner.get(label).ok_or_else(|| missing(label, &inner))?;
        }
        Ok(match &aggregate.modifier {
            _ if ["topk", "bottomk"].contains(&aggregate.op.to_string().as_str()) => inner,
            None => Labels::new(),
            Some(LabelModifier::Include(by)) => only(&inner, |label| by.labels.contains(label)),
            Some(LabelModifier::Exclude(without)) => only(&inner, |label| !without.labels.contains(label)),
        })
    }

    fn call(&self, call: &Call) -> Result<Option<Labels>, String> {
        let mut labels = None;
        for argument in &call.args.args {
            labels = self.expr(argument)?.or(labels);
        }
        let series = call.args.args.iter().find_map(|argument| match &**argument {
            Expr::MatrixSelector(matrix) => matrix.vs.name.as_deref(),
            _ => None,
        });
        let kind = series.and_then(|series| self.known.kind(series)).map(|(_, kind)| kind);
        match (call.func.name, kind) {
            ("rate" | "irate" | "increase", Some("gauge")) => Err(format!("`{}` of a gauge", call.func.name)),
            (
                "avg_over_time" | "max_over_time" | "min_over_time" | "delta" | "deriv",
                Some("counter" | "histogram"),
            ) => Err(format!("`{}` of what only grows", call.func.name)),
            ("label_replace" | "label_join", _) => Err(format!("`{}` is not understood here", call.func.name)),
            ("histogram_quantile", _) => {
                let labels = labels.ok_or("no histogram")?;
                labels.get("le").ok_or_else(|| missing("le", &labels))?;
                Ok(Some(only(&labels, |label| label != "le")))
            }
            ("scalar", _) => Ok(None),
            _ => Ok(labels),
        }
    }

    fn binary(&self, binary: &BinaryExpr) -> Result<Option<Labels>, String> {
        let (left, right) = match (self.expr(&binary.lhs)?, self.expr(&binary.rhs)?) {
            (Some(left), Some(right)) => (left, right),
            (left, right) => return Ok(left.or(right)),
        };
        let modifier = binary.modifier.as_ref();
        let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
        for label in matching.iter().flat_map(|matching| &matching.labels().labels) {
            left.get(label).or(right.get(label)).ok_or_else(|| missing(label, &left))?;
        }
        let matched = |labels: &Labels| match matching {
            Some(LabelModifier::Include(on)) => only(labels, |label| on.labels.contains(label)),
            Some(LabelModifier::Exclude(ignoring)) => only(labels, |label| !ignoring.labels.contains(label)),
            None => labels.clone(),
        };
        let (on_left, on_right) = (matched(&left), matched(&right));
        let op = binary.op.id();
        if op != T_LOR && !on_left.keys().eq(on_right.keys()) {
            let (left, right) = (on_left.keys(), on_right.keys());
            return Err(format!("no series of {left:?} matches one of {right:?}"));
        }
        Ok(Some(match modifier.map(|modifier| &modifier.card) {
            _ if [T_LAND, T_LUNLESS].contains(&op) => left,
            _ if op == T_LOR => only(&left, |label| right.contains_key(label)),
            Some(VectorMatchCardinality::ManyToOne(_)) => left,
            Some(VectorMatchCardinality::OneToMany(_)) => right,
            _ => on_left,
        }))
    }

    fn vector(&self, expr: &Expr) -> Result<Labels, String> {
        self.expr(expr)?.ok_or_else(|| format!("`{expr}` is no vector"))
    }
}

fn only(labels: &Labels, keep: impl Fn(&String) -> bool) -> Labels {
    labels.iter().filter(|(label, _)| keep(label)).map(|(label, values)| (label.clone(), values.clone())).collect()
}

fn missing(label: &str, labels: &Labels) -> String {
    format!("no label `{label}`, only {:?}", labels.keys())
}

/// A fixed value, and each alternative of a plain alternation, must be an emitted value. Any other pattern must match some value.
fn matches_something(matcher: &Matcher, values: &std::collections::BTreeSet<String>) -> Result<(), String> {
    let is_plain = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let fixed: Vec<&str> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    if fixed.iter().all(|value| is_plain(value)) {
        let never: Vec<_> = fixed.iter().filter(|value| !values.contains(**value)).collect();
        return match never[..] {
            [] => Ok(()),
            _ => Err(format!("`{}` is never {never:?}, only {values:?}", matcher.name)),
        };
    }
    match values.iter().any(|value| matcher.is_match(value)) {
        true => Ok(()),
        false => Err(format!("`{matcher}` matches none of {values:?}")),
    }
}
