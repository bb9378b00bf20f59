//! What a file may name.

use std::collections::BTreeSet;

use super::source::{File, Module};

/// The top-level modules, bottom-up: each may use those before it.
pub(crate) const ORDER: [&str; 15] = [
    "ground",
    "telemetry",
    "loader",
    "algorithm",
    "admission",
    "layers",
    "hedge",
    "quorum",
    "quarantine",
    "http",
    "grpc",
    "fallback",
    "balance",
    "stack",
    "dashboard",
];

/// Folders of `layers` that are no layer.
pub(crate) const NO_LAYERS: [&str; 2] = ["core", "call"];

/// Names that say nothing about the content.
pub(crate) const VAGUE_NAMES: [&str; 9] =
    ["common", "helper", "helpers", "misc", "prelude", "shared", "types", "util", "utils"];

/// The files with thread-locals, and how many each has: the scope of a call, the way by which layers find a held body, the pool of
/// sleeps and wakers, and in debug builds the number of locks that are held.
const THREAD_LOCALS: [(&str, usize); 4] = [
    ("src/ground/scope/mod.rs", 1),
    ("src/http/held_body/joining.rs", 1),
    ("src/admission/pooled/mod.rs", 1),
    ("src/ground/sync.rs", 1),
];

/// The files that spawn a task: the probe of a runtime's lag, the reaper, the publisher of metrics, the streams of endpoints that a balancer
/// follows, its active
/// checks and the permits that it keeps for a moment, the sampler of a live page, and the reader of a settings file.
const SPAWNS: [&str; 8] = [
    "src/admission/lag_probe.rs",
    "src/admission/reaper/mod.rs",
    "src/admission/registry/publisher.rs",
    "src/balance/active_checks/run.rs",
    "src/balance/discovery/follow.rs",
    "src/balance/early_end.rs",
    "src/dashboard/sampler.rs",
    "src/stack/stacks/file.rs",
];

pub(crate) const MAX_LINES_OF_CODE: usize = 400;

/// The layer that a file of a folder in `layers` belongs to.
pub(crate) fn layer_folder(path: &str) -> Option<&str> {
    let (folder, _) = path.strip_prefix("src/layers/")?.split_once('/')?;
    (!NO_LAYERS.contains(&folder)).then_some(folder)
}

pub(crate) fn check_path(file: &File, path: &Module, layers: &BTreeSet<&str>) -> Vec<String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let shown = path.join("::");
    let here = file.module.first().map_or("", String::as_str);
    let mut what = Vec::new();
    let mut fault = |why: String| what.push(format!("`{shown}` {why}"));

    if let (["crate", target, ..], Some(own)) = (&path[..], ORDER.iter().position(|module| *module == here)) {
        match ORDER.iter().position(|module| *module == *target) {
            Some(other) if other > own => fault(format!("points up: `{here}` stands below `{target}`")),
            Some(_) => {}
            None => fault("goes through the root of the crate: name the module that defines it".to_owned()),
        }
    } else if !here.is_empty() && !ORDER.contains(&here) {
        fault(format!("is in `{here}`, which is no declared top-level module: {}", ORDER.join(" < ")));
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
            fault(format!("is not allowed in an algorithm: {why}"));
        }
    }
    let reads_clock = path.contains(&"SystemTime") || path.ends_with(&["Instant", "now"]);
    if reads_clock && file.path != "src/ground/instant.rs" {
        fault("reads the clock; only src/ground/instant.rs does, so that tests can move it".to_owned());
    }
    if path[0] == "fastrand" && file.path != "src/ground/chance.rs" {
        fault("draws randomness; only src/ground/chance.rs does, so that it can be seeded".to_owned());
    }
    if is_unchecked_lock(&path) && file.path != "src/ground/sync.rs" {
        fault("is a lock that is not checked; use those of src/ground/sync.rs, which check that no foreign code runs under them".to_owned());
    }
    for (facade, only) in [("metrics", "metrics"), ("tracing", "events")] {
        let only = format!("src/telemetry/{only}.rs");
        if path[0] == facade && path.len() > 1 && file.path != only {
            fault(format!("emits metrics or events; only {only} does, so that there is one scheme of names"));
        }
    }
    what
}

/// Which thread-locals and spawned tasks of a file are not allowed.
pub(crate) fn check_counts(file: &File) -> Vec<(usize, String)> {
    let allowed = THREAD_LOCALS.iter().find(|(path, _)| *path == file.path).map_or(0, |(_, count)| *count);
    let surplus = file.found.thread_locals.iter().skip(allowed).map(|line| {
        let all: Vec<String> = THREAD_LOCALS.iter().map(|(path, count)| format!("{path} ({count})")).collect();
        (*line, format!("a thread-local keeps state that no type shows; only these do: {}", all.join(", ")))
    });
    let spawns = file.found.spawns.iter().filter(|_| !SPAWNS.contains(&file.path.as_str())).map(|line| {
        (
            *line,
            format!(
                "spawns a task in the background, without the user's knowledge; only these do: {}",
                SPAWNS.join(", ")
            ),
        )
    });
    surplus.chain(spawns).collect()
}

/// Whether it names a lock, or brings all names of a module with locks in.
fn is_unchecked_lock(path: &[&str]) -> bool {
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

/// Why an algorithm (time and chance are arguments; it only decides) must not name this.
fn forbidden_in_algorithms(path: &[&str]) -> Option<&'static str> {
    match path {
        ["tokio" | "futures" | "futures_util", ..] => Some("it knows no runtime"),
        ["tower" | "http" | "http_body" | "hyper", ..] => Some("it knows neither services nor protocols"),
        [
            "crate",
            "ground",
            "time",
            "now" | "latest" | "latest_or_now" | "call_start" | "with_start" | "start_at" | "*",
        ] => Some("time is an argument"),
        ["crate", "ground", "chance", ..] => Some("chance is an argument"),
        ["crate", "ground", "context", ..] => Some("what it should know is an argument"),
        ["crate", "telemetry", ..] => Some("it decides, and layers report"),
        ["std" | "core", "time"] | ["std" | "core", "time", "Instant" | "*", ..] => {
            Some("its instants are those of ground::instant")
        }
        ["std", "sync", ..] => Some("its atomics come from ground::sync, where they can be model-checked"),
        ["crate", "ground", "settings", ..] => Some("its settings are an argument"),
        _ if path.iter().any(|name| ["Arc", "Mutex", "RwLock", "Swap", "arc_swap"].contains(name)) => {
            Some("the owner decides how it is shared")
        }
        _ => None,
    }
}
