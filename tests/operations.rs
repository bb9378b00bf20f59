//! Checks that the operations guide names every refusal and every setting, each with its default.
#![cfg(feature = "http")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use seawall::balance::EjectionConfig;
use seawall::bulkhead::BulkheadConfig;
use seawall::chaos::ChaosConfig;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::deadline::DeadlineConfig;
use seawall::fallback::FallbackConfig;
use seawall::hedge::{HedgeConfig, LearnedDelay};
use seawall::load_shed::LoadShedConfig;
use seawall::quarantine::QuarantineConfig;
use seawall::rate_limit::RateLimitConfig;
use seawall::retry::{Backoff, BudgetConfig, RetryConfig};
use seawall::throttle::ThrottleConfig;
use syn::visit::{self, Visit};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operations.md")).unwrap()
}

/// The text under a heading, up to the next heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &page[start + heading.len() + 2..];
    &rest[..rest.find("\n#").unwrap_or(rest.len())]
}

/// The rows of all tables in `text`, split into cells.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.ends_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

/// Every public field of every config struct, and every variant of `Reason`.
#[derive(Default)]
struct Found {
    fields: BTreeMap<String, Vec<String>>,
    reasons: Vec<String>,
}

impl Visit<'_> for Found {
    fn visit_item_struct(&mut self, item: &syn::ItemStruct) {
        let name = item.ident.to_string();
        let is_public = matches!(item.vis, syn::Visibility::Public(_));
        if is_public
            && (name.ends_with("Config") || ["Backoff", "HeaderNames", "LearnedDelay"].contains(&name.as_str()))
        {
            let fields = item.fields.iter().filter(|field| matches!(field.vis, syn::Visibility::Public(_)));
            let names = fields.filter_map(|field| field.ident.as_ref().map(ToString::to_string));
            self.fields.entry(name).or_default().extend(names);
        }
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &syn::ItemEnum) {
        if item.ident == "Reason" {
            self.reasons.extend(item.variants.iter().map(|variant| variant.ident.to_string()));
        }
    }
}

fn read(dir: &Path, found: &mut Found) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
}

fn source() -> Found {
    let mut found = Found::default();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// The heading under which the settings of a layer are explained; those of a stack are explained at its layers.
fn heading(config: &str) -> Option<&'static str> {
    Some(match config {
        "DeadlineConfig" => "## Deadline",
        "RetryConfig" | "Backoff" | "BudgetConfig" => "## Retry",
        "HedgeConfig" | "LearnedDelay" => "## Hedge",
        "QuorumConfig" => "## Quorum",
        "BulkheadConfig" => "## Bulkhead",
        "LoadShedConfig" => "## Load shed",
        "CircuitBreakerConfig" => "## Circuit breaker",
        "RateLimitConfig" => "## Rate limit",
        "ThrottleConfig" => "## Throttle",
        "ChaosConfig" => "## Chaos",
        "QuarantineConfig" => "## Quarantine",
        "FallbackConfig" => "## Fallback",
        "BalanceConfig" | "SlowStartConfig" | "EjectionConfig" | "TierConfig" | "DnsConfig" | "CheckConfig" => {
            "## Balance"
        }
        "DashboardConfig" => "# The live page",
        "ClientConfig" | "BalancedClientConfig" | "ServerConfig" | "PropagationConfig" => "## Stacks and propagation",
        _ => return None,
    })
}

#[test]
fn every_reason_is_explained() {
    let page = page();
    let explained: Vec<_> = rows(section(&page, "# What a refusal means")).map(|cells| cells[0]).collect();
    let reasons = source().reasons;
    assert!(reasons.len() >= 12, "{reasons:?}");
    for reason in &reasons {
        let link = format!("[`{reason}`](crate::error::Reason::{reason})");
        assert!(explained.iter().any(|cell| cell.starts_with(&link)), "no row for {reason}");
    }
    let rows = explained.iter().filter(|cell| cell.starts_with('[')).count();
    assert_eq!(rows, reasons.len(), "a row for an unknown reason, or two rows for one reason: {explained:?}");
}

#[test]
fn every_setting_is_explained() {
    let page = page();
    let fields = source().fields;
    let mut checked = 0;
    for (config, fields) in &fields {
        let Some(heading) = heading(config) else { continue };
        for field in fields {
            let shown = format!("`{field}`");
            assert!(section(&page, heading).contains(&shown), "{config}::{field} is not mentioned in `{heading}`");
            checked += 1;
        }
    }
    assert!(checked >= 50, "only {checked} settings were found");
}

/// The fields of a struct from its debug output, `Name { field: value, … }`.
fn defaults<C: Debug + Default>() -> BTreeMap<String, String> {
    let text = format!("{:?}", C::default());
    let inner = text.split_once('{').unwrap().1.trim_end_matches('}');
    let mut fields = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                fields.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(&inner[start..]);
    let pairs = fields.iter().filter_map(|field| field.split_once(": "));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// Checks that every row of the table with this head is a setting and shows its default.
fn check_defaults<C: Debug + Default>(page: &str, heading: &str, head: &str) {
    let fields = defaults::<C>();
    let table = section(page, heading).split("\n\n").find(|part| part.starts_with(&format!("| {head} |")));
    let table = table.unwrap_or_else(|| panic!("no table `{head}` in `{heading}`"));
    let mut checked = 0;
    for cells in rows(table).skip(1) {
        let (name, default) = (cells[0].trim_matches('`'), cells[1]);
        let Some(value) = fields.get(name) else { panic!("`{heading}`: {name} is no setting") };
        if !default.is_empty() {
            assert_eq!(default, format!("`{value}`"), "`{heading}`: the default of {name}");
            checked += 1;
        }
    }
    assert!(checked >= fields.len().min(4), "`{heading}`: {checked} defaults");
}

#[test]
fn every_default_matches_the_code() {
    let page = page();
    check_defaults::<DeadlineConfig>(&page, "## Deadline", "setting");
    check_defaults::<RetryConfig>(&page, "## Retry", "setting");
    check_defaults::<Backoff>(&page, "## Retry", "setting of `backoff`");
    check_defaults::<BudgetConfig>(&page, "## Retry", "setting of `budget`");
    check_defaults::<HedgeConfig>(&page, "## Hedge", "setting");
    check_defaults::<LearnedDelay>(&page, "## Hedge", "setting of a learned `delay`");
    check_defaults::<BulkheadConfig>(&page, "## Bulkhead", "setting");
    check_defaults::<LoadShedConfig>(&page, "## Load shed", "setting");
    check_defaults::<CircuitBreakerConfig>(&page, "## Circuit breaker", "setting");
    check_defaults::<EjectionConfig>(&page, "## Balance", "setting of `ejection`");
    check_defaults::<RateLimitConfig>(&page, "## Rate limit", "setting");
    check_defaults::<ThrottleConfig>(&page, "## Throttle", "setting");
    check_defaults::<ChaosConfig>(&page, "## Chaos", "setting");
    check_defaults::<QuarantineConfig>(&page, "## Quarantine", "setting");
    check_defaults::<FallbackConfig>(&page, "## Fallback", "setting");
    #[cfg(feature = "dashboard")]
    check_defaults::<seawall::dashboard::DashboardConfig>(&page, "# The live page", "setting");
}

#[test]
fn named_files_exist() {
    let page = page();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in page.split('`').filter(|code| code.starts_with("docs/") && !code.contains(' ')) {
        assert!(root.join(path).exists(), "{path}");
    }
}

/// The literals of all code except tests and documentation.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn read_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Group(group) => self.read_tokens(group.stream()),
                proc_macro2::TokenTree::Literal(literal) => self.0.push(literal.to_string()),
                proc_macro2::TokenTree::Ident(_) | proc_macro2::TokenTree::Punct(_) => {}
            }
        }
    }
}

impl Visit<'_> for Texts {
    fn visit_attribute(&mut self, _: &syn::Attribute) {}

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        if !item.ident.to_string().ends_with("tests") {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_lit_str(&mut self, literal: &syn::LitStr) {
        self.0.push(literal.value());
    }

    fn visit_macro(&mut self, item: &syn::Macro) {
        self.read_tokens(item.tokens.clone());
    }
}

/// Errors, logs, alerts, dashboards and the live page use one word for the called service.
#[test]
fn user_visible_texts_use_the_word_dependency() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    let mut folders = ["src", "docs", "presets"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            match extension {
                _ if path.is_dir() => folders.push(path),
                "rs" if path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests") => {}
                "rs" => {
                    let mut found = Texts::default();
                    found.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
                    texts.extend(found.0.into_iter().map(|text| (path.clone(), text)));
                }
                "yaml" | "json" | "toml" | "js" | "html" => {
                    texts.push((path.clone(), fs::read_to_string(path).unwrap()))
                }
                _ => {}
            }
        }
    }
    assert!(texts.len() > 500, "only {} texts were found", texts.len());
    let others = texts.iter().filter(|(_, text)| text.contains("callee") || text.contains("Callee"));
    let others: Vec<_> = others.map(|(path, text)| (path, text.lines().find(|line| line.contains("allee")))).collect();
    assert!(others.is_empty(), "{others:#?}");
}
