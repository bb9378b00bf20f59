//! The drawing of the house, kept true: reads `src`, and fails where a room reaches for something above it, or for
//! something that only one place may touch.
//!
//! ```text
//! dashboard      the live page
//! stack          assembled stacks
//! http  grpc     protocol knowledge
//! layers         tower plumbing, one folder a layer; `core` and `call` are what layers share
//! admission      runtime-aware primitives
//! algorithm      plain state machines
//! loader         configuration from files
//! telemetry      names, counters, events
//! ground         time, chance, verdict, context, error, locks, validation
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Bottom-up: a room may use what stands before it.
const ROOMS: [&str; 10] =
    ["ground", "telemetry", "loader", "algorithm", "admission", "layers", "http", "grpc", "stack", "dashboard"];

/// Folders of `layers` that are no layer.
const SHARED_BY_LAYERS: [&str; 2] = ["core", "call"];

/// Names that say nothing about what is inside.
const DRAWERS: [&str; 9] = ["common", "helper", "helpers", "misc", "prelude", "shared", "types", "util", "utils"];

const MAX_LINES_OF_CODE: usize = 400;

#[test]
fn the_house_is_as_drawn() {
    let mut sources = BTreeMap::new();
    read(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &mut sources);
    for room in ["ground", "algorithm", "admission", "layers"] {
        assert!(sources.contains_key(&format!("src/{room}/mod.rs")), "no room `{room}`: is this the right folder?");
    }
    let faults = faults(&sources);
    assert!(faults.is_empty(), "{} faults in the house:\n{}\n", faults.len(), faults.join("\n"));
}

fn read(package: &Path, folder: &str, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(package.join(folder)).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("a plain name"));
        if entry.file_type().expect("a file type").is_dir() {
            read(package, &path, sources);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("readable source");
            sources.insert(path, text);
        }
    }
}

/// All that is wrong with these files, as `path:line: what, and why`.
fn faults(sources: &BTreeMap<String, String>) -> Vec<String> {
    let files: Vec<File> = sources.iter().map(|(path, text)| File::parse(path, text)).collect();
    let test_modules: Vec<&Module> = files.iter().flat_map(|file| &file.found.test_modules).collect();
    let layers: BTreeSet<&str> = files.iter().filter_map(|file| layer_folder(&file.path)).collect();
    let mut faults = BTreeSet::new();
    for file in &files {
        if test_modules.iter().any(|module| file.module.starts_with(module)) {
            continue;
        }
        let mut report = |line: usize, what: String| {
            faults.insert((file.path.clone(), line, what));
        };
        for (line, path) in &file.found.paths {
            for what in check_path(file, path, &layers) {
                report(*line, what);
            }
        }
        let modules = file.module.last().map(|name| (1, name));
        for (line, name) in modules.into_iter().chain(file.found.modules.iter().map(|(line, name)| (*line, name))) {
            if DRAWERS.contains(&name.as_str()) {
                report(line, format!("a module named `{name}` is a drawer: what is shared gets a name of its own"));
            }
        }
        if file.lines_of_code > MAX_LINES_OF_CODE {
            let lines = file.lines_of_code;
            report(1, format!("{lines} lines of code are more than {MAX_LINES_OF_CODE}: one idea a file"));
        }
    }
    faults.into_iter().map(|(path, line, what)| format!("{path}:{line}: {what}")).collect()
}

/// The layer that a file of a folder in `layers` belongs to.
fn layer_folder(path: &str) -> Option<&str> {
    let (folder, _) = path.strip_prefix("src/layers/")?.split_once('/')?;
    (!SHARED_BY_LAYERS.contains(&folder)).then_some(folder)
}

fn check_path(file: &File, path: &Module, layers: &BTreeSet<&str>) -> Vec<String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let shown = path.join("::");
    let here = file.module.first().map_or("", String::as_str);
    let mut what = Vec::new();
    let mut fault = |why: String| what.push(format!("`{shown}` {why}"));

    if let (["crate", target, ..], Some(own)) = (&path[..], ROOMS.iter().position(|room| *room == here)) {
        match ROOMS.iter().position(|room| room == target) {
            Some(other) if other > own => fault(format!("points up: `{here}` stands below `{target}`")),
            Some(_) => {}
            None => fault("goes round by the crate's root: name the room that it lives in".to_owned()),
        }
    } else if !here.is_empty() && !ROOMS.contains(&here) {
        fault(format!("is in `{here}`, which is no room of the house: {}", ROOMS.join(" < ")));
    }

    if let ["crate", "layers", other, ..] = &path[..] {
        if file.path.starts_with("src/layers/") && file.path != "src/layers/mod.rs" && layers.contains(other) {
            match layer_folder(&file.path) {
                Some(layer) if layer == *other => {}
                Some(layer) => fault(format!("couples the layer `{layer}` to the layer `{other}`")),
                None => fault(format!("couples what all layers share to the layer `{other}`")),
            }
        }
    }

    if here == "algorithm" {
        if let Some(why) = forbidden_in_algorithms(&path) {
            fault(format!("is nothing for an algorithm: {why}"));
        }
    }
    let reads_clock = path.contains(&"SystemTime") || path.ends_with(&["Instant", "now"]);
    if reads_clock && file.path != "src/ground/time.rs" {
        fault("reads the clock; only src/ground/time.rs does, so that tests can move it".to_owned());
    }
    if path[0] == "fastrand" && file.path != "src/ground/chance.rs" {
        fault("draws randomness; only src/ground/chance.rs does, so that it can be seeded".to_owned());
    }
    if takes_a_lock_of_its_own(&path) && file.path != "src/ground/sync.rs" {
        fault("takes a lock that is not counted; those of src/ground/sync.rs are, so that no foreign code runs under them".to_owned());
    }
    for (teller, only) in [("metrics", "metrics"), ("tracing", "events")] {
        let only = format!("src/telemetry/{only}.rs");
        if path[0] == teller && path.len() > 1 && file.path != only {
            fault(format!("tells of something; only {only} does, so that there is one scheme of names"));
        }
    }
    what
}

/// Whether it names a lock, or brings all names of a module with locks in.
fn takes_a_lock_of_its_own(path: &[&str]) -> bool {
    let locks =
        ["Mutex", "MutexGuard", "ReentrantLock", "RwLock", "RwLockReadGuard", "RwLockWriteGuard", "Condvar", "*"];
    match path {
        ["std", "sync"] => true,
        ["std" | "tokio" | "loom" | "futures" | "futures_util", "sync" | "lock", name, ..] => locks.contains(name),
        ["parking_lot" | "spin", ..] => true,
        // Of a module that was brought in by another name.
        [_, "Mutex" | "RwLock" | "Condvar", ..] => path[0] != "sync",
        _ => false,
    }
}

/// Why an algorithm (time and chance are arguments; it decides, and others act) must not name this.
fn forbidden_in_algorithms(path: &[&str]) -> Option<&'static str> {
    match path {
        ["tokio" | "futures" | "futures_util", ..] => Some("it knows no runtime"),
        ["tower" | "http" | "http_body" | "hyper", ..] => Some("it knows neither services nor protocols"),
        ["crate", "ground", "time", "now" | "call_start" | "hand_over" | "Stopwatch" | "mark_local_wait" | "*"] => {
            Some("time is an argument")
        }
        ["crate", "ground", "chance", ..] => Some("chance is an argument"),
        ["crate", "ground", "context", ..] => Some("what it should know is an argument"),
        ["crate", "telemetry", ..] => Some("it decides, and others tell"),
        ["std" | "core", "time"] | ["std" | "core", "time", "Instant" | "*", ..] => {
            Some("its instants are those of ground::time")
        }
        ["std", "sync", ..] => Some("its atomics come from ground::sync, where they can be model-checked"),
        _ if path.iter().any(|name| ["Arc", "Mutex", "RwLock"].contains(name)) => Some("who shares it decides how"),
        _ => None,
    }
}

type Module = Vec<String>;

struct File {
    path: String,
    module: Module,
    lines_of_code: usize,
    found: Findings,
}

impl File {
    fn parse(path: &str, text: &str) -> Self {
        let module: Module = path
            .trim_start_matches("src/")
            .trim_end_matches(".rs")
            .split('/')
            .filter(|name| !["lib", "mod"].contains(name))
            .map(str::to_owned)
            .collect();
        let mut found = Findings { module: module.clone(), ..Findings::default() };
        found.visit_file(&syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}")));
        let mut lines = BTreeSet::new();
        lines_with_tokens(text.parse().expect("it parsed before"), &mut lines);
        lines.retain(|line| !found.test_lines.iter().any(|tests| tests.contains(line)));
        Self { path: path.to_owned(), module, lines_of_code: lines.len(), found }
    }
}

/// All lines that hold code; a comment is no token, and a doc comment is an attribute that is left out.
fn lines_with_tokens(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let mut lines_of = |span: Span| lines.extend(span.start().line..=span.end().line);
    let mut groups = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let inner = tokens.next_if(|next| matches!(next, TokenTree::Punct(bang) if bang.as_char() == '!'));
                let is_doc = |next: &TokenTree| {
                    matches!(next, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket
                        && group.stream().to_string().starts_with("doc ="))
                };
                if tokens.next_if(is_doc).is_none() {
                    lines_of(punct.span());
                    inner.into_iter().for_each(|bang| lines_of(bang.span()));
                }
            }
            TokenTree::Group(group) => {
                lines_of(group.span_open());
                lines_of(group.span_close());
                groups.push(group.stream());
            }
            token => lines_of(token.span()),
        }
    }
    for group in groups {
        lines_with_tokens(group, lines);
    }
}

/// What a file names, outside its tests.
#[derive(Default)]
struct Findings {
    /// The module that is being visited.
    module: Module,
    /// Every path, from imports, bodies and macros alike, with `self` and `super` resolved.
    paths: Vec<(usize, Module)>,
    /// The modules declared here.
    modules: Vec<(usize, String)>,
    /// Modules of tests in files of their own.
    test_modules: Vec<Module>,
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Findings {
    fn skip_tests(&mut self, attributes: &[syn::Attribute], span: Span) -> bool {
        let skip = attributes.iter().any(is_test_only);
        if skip {
            self.test_lines.push(span.start().line..=span.end().line);
        }
        skip
    }

    fn path(&mut self, span: Span, path: &[String]) {
        let mut absolute = Vec::new();
        let mut rest = path;
        if let Some("self" | "super") = path.first().map(String::as_str) {
            absolute.push("crate".to_owned());
            absolute.extend_from_slice(&self.module);
            while let Some((first, others)) =
                rest.split_first().filter(|(first, _)| ["self", "super"].contains(&first.as_str()))
            {
                if first == "super" {
                    absolute.pop();
                }
                rest = others;
            }
        }
        absolute.extend_from_slice(rest);
        // A lone `self` is a method's, and a lone `crate` is a visibility.
        if path.len() > 1 || !["self", "super", "crate"].contains(&path[0].as_str()) {
            self.paths.push((span.start().line, absolute));
        }
    }

    fn use_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: String| prefix.iter().cloned().chain([name]).collect::<Module>();
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&with(path.ident.to_string()), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.use_tree(prefix, tree)),
            syn::UseTree::Glob(star) => self.path(star.span(), &with("*".to_owned())),
            syn::UseTree::Name(syn::UseName { ident, .. }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                if ident == "self" && !prefix.is_empty() {
                    self.path(ident.span(), prefix);
                } else {
                    self.path(ident.span(), &with(ident.to_string()));
                }
            }
        }
    }

    /// The paths in a macro's body, which is no syntax tree yet.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<proc_macro2::Ident> = Vec::new();
        let mut colons = 0;
        // The semicolon ends the last path.
        for token in tokens.into_iter().chain(";".parse::<TokenStream>().expect("a token")) {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) if colons == 2 && !path.is_empty() => path.push(ident),
                token => {
                    if let Some(first) = path.first() {
                        let names: Module = path.iter().map(ToString::to_string).collect();
                        self.path(first.span(), &names);
                    }
                    path.clear();
                    match token {
                        TokenTree::Ident(ident) => path.push(ident),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
            colons = 0;
        }
    }
}

impl<'ast> Visit<'ast> for Findings {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item;
        let attributes = match item {
            Item::Const(syn::ItemConst { attrs, .. })
            | Item::Enum(syn::ItemEnum { attrs, .. })
            | Item::Fn(syn::ItemFn { attrs, .. })
            | Item::Impl(syn::ItemImpl { attrs, .. })
            | Item::Macro(syn::ItemMacro { attrs, .. })
            | Item::Mod(syn::ItemMod { attrs, .. })
            | Item::Static(syn::ItemStatic { attrs, .. })
            | Item::Struct(syn::ItemStruct { attrs, .. })
            | Item::Trait(syn::ItemTrait { attrs, .. })
            | Item::Type(syn::ItemType { attrs, .. })
            | Item::Use(syn::ItemUse { attrs, .. }) => &attrs[..],
            _ => &[],
        };
        if !self.skip_tests(attributes, item.span()) {
            visit::visit_item(self, item);
        } else if let Item::Mod(syn::ItemMod { ident, content: None, .. }) = item {
            self.test_modules.push(self.module.iter().cloned().chain([ident.to_string()]).collect());
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !self.skip_tests(&function.attrs, function.span()) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.modules.push((module.ident.span().start().line, module.ident.to_string()));
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Module = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(path.span(), &names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone());
    }
}

/// Whether what carries this attribute is compiled for tests alone.
fn is_test_only(attribute: &syn::Attribute) -> bool {
    fn implies_test(condition: &syn::Meta) -> bool {
        let all = |list: &syn::MetaList| {
            list.parse_args_with(Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated).unwrap_or_default()
        };
        match condition {
            syn::Meta::Path(path) => path.is_ident("test"),
            syn::Meta::List(list) if list.path.is_ident("all") => all(list).iter().any(implies_test),
            syn::Meta::List(list) if list.path.is_ident("any") => all(list).iter().all(implies_test),
            _ => false,
        }
    }
    attribute.path().is_ident("cfg") && attribute.parse_args().is_ok_and(|condition| implies_test(&condition))
}

/// This test can fail: each of these files breaks the house in one way.
mod it_can_fail {
    use super::*;

    fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
        faults(&files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    #[track_caller]
    fn one_fault(path: &str, text: &str, line: usize, why: &str) {
        let faults = faults_of(&[("src/layers/retry/mod.rs", ""), ("src/layers/call/bound.rs", ""), (path, text)]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(&format!("{path}:{line}: ")) && faults[0].contains(why), "{}", faults[0]);
    }

    #[test]
    fn an_import_that_points_up() {
        let why = "points up: `ground` stands below `layers`";
        one_fault("src/ground/time.rs", "\nuse crate::layers::call::bound::Bound;", 2, why);
        one_fault("src/ground/time.rs", "use crate::{ground::error,\nlayers::call::bound};", 2, why);
        one_fault("src/ground/time.rs", "use super::super::layers as below;", 1, why);
        one_fault("src/ground/mod.rs", "use super::layers::*;", 1, why);
        one_fault("src/ground/time.rs", "fn f() {\n    crate::layers::call::bound::f();\n}", 2, why);
        one_fault("src/ground/time.rs", "fn f(_: Vec<crate::layers::call::bound::Bound>) {}", 1, why);
        one_fault("src/ground/time.rs", "fn f() { println!(\"{}\", crate::layers::call::bound::MAX) }", 1, why);
        one_fault("src/ground/time.rs", "mod inner { fn f() { super::super::super::layers::f() } }", 1, why);
        one_fault("src/http/mod.rs", "use crate::grpc::Status;", 1, "`http` stands below `grpc`");
        one_fault("src/ground/time.rs", "use crate::retry::RetryLayer;", 1, "round by the crate's root");
        one_fault("src/attic/mod.rs", "use std::fmt;", 1, "no room of the house");
    }

    #[test]
    fn layers_that_know_each_other() {
        let why = "couples the layer `deadline` to the layer `retry`";
        one_fault("src/layers/deadline/service.rs", "use crate::layers::retry::Retry;", 1, why);
        one_fault("src/layers/deadline/service.rs", "use super::super::retry::Retry;", 1, why);
        one_fault("src/layers/call/inner.rs", "use super::super::retry::Retry;", 1, "what all layers share");
    }

    #[test]
    fn an_algorithm_that_is_not_pure() {
        let file = "src/algorithm/window.rs";
        for text in [
            "use tokio::sync::Notify;",
            "use tower::Service;",
            "fn f(_: http::StatusCode) {}",
            "use std::time::{Duration, Instant};",
            "use std::time;",
            "use std::sync::atomic::AtomicU64;",
            "use crate::ground::sync::{Arc, atomic};",
            "use crate::ground::sync::Mutex;",
            "fn f() { crate::ground::time::now(); }",
            "use crate::ground::chance::sample;",
            "struct S { shared: Arc<u8> }",
            "thread_local! { static S: Arc<u8> = make(); }",
        ] {
            one_fault(file, text, 1, "nothing for an algorithm");
        }
    }

    #[test]
    fn a_reader_of_the_clock_a_gambler_and_a_teller() {
        one_fault("src/layers/call/bound.rs", "fn f() { tokio::time::Instant::now(); }", 1, "reads the clock");
        one_fault("src/admission/gate.rs", "use std::time::SystemTime;", 1, "reads the clock");
        one_fault("src/algorithm/backoff.rs", "fn f() -> f64 {\nfastrand::f64() }", 2, "draws randomness");
        one_fault("src/layers/retry/mod.rs", "fn f() { metrics::counter!(\"name\"); }", 1, "tells of something");
        one_fault("src/http/mod.rs", "use tracing::debug;", 1, "tells of something");
    }

    #[test]
    fn a_lock_that_is_not_counted() {
        for text in [
            "use std::sync::Mutex;",
            "use std::sync::{Arc, RwLock};",
            "use std::sync::*;",
            "use std::{fmt, sync};",
            "use tokio::sync::Mutex;",
            "fn f(_: &std::sync::Mutex<u8>) {}",
            "use parking_lot::Mutex;",
        ] {
            one_fault("src/admission/gate.rs", text, 1, "a lock that is not counted");
        }
    }

    #[test]
    fn a_long_file_and_a_drawer() {
        let code = "const A: u8 = 0;\n".repeat(401);
        one_fault("src/http/mod.rs", &code, 1, "401 lines of code");
        one_fault("src/http/util.rs", "", 1, "a drawer");
        one_fault("src/http/mod.rs", "\nmod helpers { }", 2, "a drawer");
    }

    #[test]
    fn what_is_allowed_passes() {
        let tests = "use std::time::Instant;\nfn f() { Instant::now(); crate::http::f(); }\n".repeat(300);
        let long = format!(
            "//! Page.\n\n{}{}/// Doc.\n// Comment.\n#[cfg(all(test, not(seawall_loom)))]\nmod tests {{ {tests} }}\n",
            "/// Doc.\nconst A: u8 = 0;\n".repeat(399),
            "\n".repeat(50),
        );
        let faults = faults_of(&[
            ("src/ground/time.rs", "fn f() { tokio::time::Instant::now(); }"),
            ("src/ground/chance.rs", "thread_local! { static G: fastrand::Rng = fastrand::Rng::new(); }"),
            ("src/telemetry/events.rs", "fn f() { tracing::debug!(\"x\"); }"),
            ("src/telemetry/metrics.rs", "fn f() { metrics::counter!(\"y\"); }"),
            ("src/ground/sync.rs", "pub(crate) use std::sync::Mutex;"),
            ("src/admission/gate.rs", "use std::sync::{Arc, OnceLock};\nuse crate::ground::sync::{Mutex, lock};"),
            ("src/algorithm/window.rs", &long),
            (
                "src/algorithm/ring.rs",
                "use crate::ground::{sync::atomic::AtomicU64, time::Instant};\nuse std::time::Duration;",
            ),
            ("src/algorithm/mod.rs", "#[cfg(test)]\nmod reference;\nmod window;"),
            ("src/algorithm/reference.rs", "use std::sync::Arc;"),
            ("src/layers/mod.rs", "pub mod retry;\npub use self::retry::RetryLayer;"),
            ("src/layers/retry/mod.rs", "use super::retry::layer::RetryLayer;\nuse crate::layers::call::bound::Bound;"),
            ("src/grpc/mod.rs", "use crate::http::Body;\nuse ::http::Request;\nfn f(http: u8) { http::f(self) }"),
            ("src/lib.rs", "mod http;\npub use layers::retry;\npub use crate::http::Body;"),
        ]);
        assert_eq!(faults, Vec::<String>::new());
        let not_a_test = "#[cfg(any(test, unix))]\nmod tests { use std::sync::Arc; }";
        assert_eq!(faults_of(&[("src/algorithm/window.rs", not_a_test)]).len(), 1);
    }
}
