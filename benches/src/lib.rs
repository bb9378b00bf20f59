//! Code that the benchmarks of `seawall` share. The programs are in `benches/`.

#![allow(clippy::missing_panics_doc, reason = "a benchmark stops where a call goes wrong")]

pub mod calls;
pub mod http;
pub mod layers;
