//! Each rule can fail: every case here breaks one, or comes close to it.

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
fn import_of_a_higher_module_is_reported() {
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
    one_fault("src/ground/time.rs", "use crate::retry::RetryLayer;", 1, "through the root of the crate");
}

#[test]
fn import_of_another_layer_is_reported() {
    let why = "couples the layer `deadline` to the layer `retry`";
    one_fault("src/layers/deadline/service.rs", "use crate::layers::retry::Retry;", 1, why);
    one_fault("src/layers/deadline/service.rs", "use super::super::retry::Retry;", 1, why);
    one_fault("src/layers/call/inner.rs", "use super::super::retry::Retry;", 1, "what all layers share");
}

#[test]
fn impure_algorithm_is_reported() {
    let file = "src/algorithm/gcra.rs";
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
        "static S: Arc<u8> = make();",
    ] {
        one_fault(file, text, 1, "not allowed in an algorithm");
    }
}

#[test]
fn forbidden_calls_are_reported() {
    one_fault("src/layers/call/bound.rs", "fn f() { tokio::time::Instant::now(); }", 1, "reads the clock");
    one_fault("src/admission/gate.rs", "use std::time::SystemTime;", 1, "reads the clock");
    one_fault("src/algorithm/backoff.rs", "fn f() -> f64 {\nfastrand::f64() }", 2, "draws randomness");
    one_fault("src/layers/call/bound.rs", "std::thread_local! {\n static S: u8 = 1; }", 2, "state that no type shows");
    one_fault("src/layers/retry/mod.rs", "fn f() { metrics::counter!(\"name\"); }", 1, "emits metrics or events");
    one_fault("src/http/mod.rs", "use tracing::debug;", 1, "emits metrics or events");
}

#[test]
fn second_thread_local_of_a_file_is_reported() {
    let file = "src/ground/scope/mod.rs";
    one_fault(
        file,
        "thread_local! { static A: u8 = 1; }\nthread_local! { static B: u8 = 1; }",
        2,
        "state that no type",
    );
    one_fault(file, "thread_local! {\n static A: u8 = 1;\n static B: u8 = 1; }", 3, "state that no type shows");
}

#[test]
fn task_in_the_background_is_reported() {
    one_fault("src/http/mod.rs", "fn f() {\n tokio::spawn(async {}); }", 2, "spawns a task");
    one_fault("src/http/mod.rs", "fn f(runtime: Handle) { runtime.spawn(async {}); }", 1, "spawns a task");
    one_fault("src/http/mod.rs", "fn f() { std::thread::spawn(|| ()); }", 1, "spawns a task");
}

#[test]
fn room_without_an_order_is_reported() {
    let faults = faults_of(&[("src/attic/mod.rs", "use std::fmt;"), ("src/attic/box.rs", "")]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("`attic` has no order"), "{faults:?}");
    assert!(faults[1].contains("no declared top-level module"), "{faults:?}");
    for room in rules::ORDER {
        assert!(graph::has_order(room), "{room}");
    }
}

#[test]
fn unchecked_lock_is_reported() {
    for text in [
        "use std::sync::Mutex;",
        "use std::sync::{Arc, RwLock};",
        "use std::sync::*;",
        "use std::{fmt, sync};",
        "use tokio::sync::Mutex;",
        "fn f(_: &std::sync::Mutex<u8>) {}",
        "use parking_lot::Mutex;",
    ] {
        one_fault("src/admission/gate.rs", text, 1, "a lock that is not checked");
    }
}

#[test]
fn long_file_and_vague_name_are_reported() {
    let code = "const A: u8 = 0;\n".repeat(401);
    one_fault("src/http/mod.rs", &code, 1, "401 lines of code");
    one_fault("src/http/util.rs", "", 1, "says nothing about its content");
    one_fault("src/http/mod.rs", "\nmod helpers { }", 2, "says nothing about its content");
}

#[test]
fn allowed_code_passes() {
    let tests = "use std::time::Instant;\nfn f() { Instant::now(); crate::http::f(); }\n".repeat(300);
    let long = format!(
        "//! Page.\n\n{}{}/// Doc.\n// Comment.\n#[cfg(all(test, not(seawall_loom)))]\nmod tests {{ {tests} }}\n",
        "/// Doc.\nconst A: u8 = 0;\n".repeat(399),
        "\n".repeat(50),
    );
    let faults = faults_of(&[
        ("src/ground/instant.rs", "fn f() { tokio::time::Instant::now(); }"),
        ("src/ground/chance.rs", "fn f() { fastrand::Rng::new(); }"),
        ("src/ground/scope/mod.rs", "thread_local! { static S: u8 = 1; }"),
        ("src/telemetry/events.rs", "fn f() { tracing::debug!(\"x\"); }"),
        ("src/telemetry/metrics.rs", "fn f() { metrics::counter!(\"y\"); }"),
        ("src/ground/sync.rs", "pub(crate) use std::sync::Mutex;"),
        ("src/admission/gate.rs", "use std::sync::{Arc, OnceLock};\nuse crate::ground::sync::{Mutex, lock};"),
        ("src/algorithm/gcra.rs", &long),
        (
            "src/algorithm/estimate.rs",
            "use crate::ground::{sync::atomic::AtomicU64, time::Instant};\nuse std::time::Duration;",
        ),
        ("src/algorithm/mod.rs", "#[cfg(test)]\nmod reference;\nmod gcra;"),
        ("src/algorithm/reference.rs", "use std::sync::Arc;"),
        ("src/layers/mod.rs", "pub mod retry;\npub use self::retry::RetryLayer;"),
        ("src/layers/retry/mod.rs", "use super::retry::layer::RetryLayer;\nuse crate::layers::call::bound::Bound;"),
        ("src/grpc/mod.rs", "use crate::http::Body;\nuse ::http::Request;\nfn f(http: u8) { http::f(self) }"),
        ("src/lib.rs", "mod http;\npub use layers::retry;\npub use crate::http::Body;"),
    ]);
    assert_eq!(faults, Vec::<String>::new());
    let not_a_test = "#[cfg(any(test, unix))]\nmod tests { use std::sync::Arc; }";
    assert_eq!(faults_of(&[("src/algorithm/gcra.rs", not_a_test)]).len(), 1);
}

#[track_caller]
fn one_fault_of(files: &[(&str, &str)], why: &str) {
    // Paths lead through parents.
    let parents = [
        "src/lib.rs",
        "src/ground/mod.rs",
        "src/layers/mod.rs",
        "src/layers/call/mod.rs",
        "src/stack/mod.rs",
        "src/stack/stacks.rs",
    ];
    let files: Vec<_> = parents.iter().map(|parent| (*parent, "")).chain(files.iter().copied()).collect();
    let faults = faults_of(&files);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].ends_with(why), "{}", faults[0]);
}

#[test]
fn circle_of_files_is_reported_as_a_path() {
    let why = "src/stack/stacks/a.rs:1: a circle of files: src/stack/stacks/a.rs -> src/stack/stacks/b.rs -> src/stack/stacks/a.rs";
    let a = ("src/stack/stacks/a.rs", "use super::b::B;\npub struct A;");
    one_fault_of(&[a, ("src/stack/stacks/b.rs", "pub struct B;\nuse crate::stack::stacks::a;")], why);
    one_fault_of(&[a, ("src/stack/stacks/b.rs", "pub struct B(super::a::A);")], why);
    one_fault_of(&[a, ("src/stack/stacks/b.rs", "pub struct B;\nfn f() { println!(\"{}\", super::a::A) }")], why);
    let all = ("src/stack/stacks/a.rs", "use super::b::*;\npub struct A;");
    one_fault_of(&[all, ("src/stack/stacks/b.rs", "pub struct B(super::a::A);")], why);

    let of_three = "src/stack/stacks/a.rs -> src/stack/stacks/b.rs -> src/stack/stacks/c.rs -> src/stack/stacks/a.rs";
    let b = ("src/stack/stacks/b.rs", "use super::c::C;\npub struct B;");
    one_fault_of(&[a, b, ("src/stack/stacks/c.rs", "use super::a::A;\npub struct C;")], of_three);
}

#[test]
fn re_exports_lead_to_the_file_behind_them() {
    let child = ("src/ground/error/child.rs", "use super::Parent;\npub struct Child;");
    let other = ("src/ground/error/other.rs", "pub struct Parent;\nfn f(_: crate::ground::error::Renamed) {}");
    let parent = "mod child;\nmod other;\npub use self::child::Child as Renamed;\npub use other::*;";
    let circle = "src/ground/error/child.rs -> src/ground/error/other.rs -> src/ground/error/child.rs";
    one_fault_of(&[("src/ground/error/mod.rs", parent), child, other], circle);

    // A parent that uses what it re-exports, and has what its child needs.
    let parent = "mod child;\npub(crate) use self::child::Child;\npub struct Parent(Child);";
    let circle = "src/ground/error/child.rs -> src/ground/error/mod.rs -> src/ground/error/child.rs";
    one_fault_of(&[("src/ground/error/mod.rs", parent), child], circle);
}

#[test]
fn parents_that_only_re_export_are_in_no_circle() {
    let faults = faults_of(&[
        ("src/lib.rs", "mod ground;"),
        ("src/ground/mod.rs", "mod error;\nmod sync;\nmod verdict;"),
        (
            "src/ground/error/mod.rs",
            "mod child;\nmod other;\npub use self::child::Child;\npub(crate) use other::Other;",
        ),
        ("src/ground/error/child.rs", "use super::Other;\npub struct Child;\nfn f(other: u8) { other }"),
        (
            "src/ground/error/other.rs",
            "pub struct Other;\n#[cfg(test)]\nmod tests { use crate::ground::error::Child; }",
        ),
        ("src/ground/sync.rs", "pub use std::sync::Arc;"),
        ("src/ground/verdict.rs", "use crate::ground::{sync::Arc, error::Child};"),
    ]);
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn arrow_up_within_a_module_is_reported() {
    let up = |path, text, what| {
        let files = [
            ("src/layers/call/bound.rs", "pub struct Bound;"),
            ("src/stack/client.rs", "pub fn client() {}"),
            ("src/ground/verdict/mod.rs", ""),
            (path, text),
        ];
        one_fault_of(&files, what);
    };
    let why = "`layers::core` stands below `layers::call`, and uses src/layers/call/bound.rs";
    up("src/layers/core/observed.rs", "use crate::layers::call::bound::Bound;", why);
    up(
        "src/ground/error/reason.rs",
        "fn f() { crate::ground::verdict::f() }",
        "`ground::error` stands below `ground::verdict`, and uses src/ground/verdict/mod.rs",
    );
    up(
        "src/stack/config.rs",
        "use super::client::client;",
        "`stack::config` stands below `stack::client`, and uses src/stack/client.rs",
    );
    up("src/loader/attic.rs", "", "`attic` has no place in the order of `loader`: see tests/architecture/graph.rs");
    up("src/ground/attic.rs", "", "`attic` has no place in the order of `ground`: see tests/architecture/graph.rs");
}
