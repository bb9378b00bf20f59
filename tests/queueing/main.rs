//! Our gates against queueing theory.
//!
//! Simulated waits converge slowly: at nine tenths of capacity eight million calls are needed for three per cent. So there are three
//! steps. The formulas are those of published tables ([`formulas`]); an exact simulation of a few lines has the waits of the formulas
//! ([`simulated`]); and each call waits at a gate as long as in that simulation ([`waits`]).
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod estimate;
mod fifo;
mod formulas;
mod gates;
mod little;
mod simulated;
mod waits;

#[path = "../../examples/plan/queueing/mod.rs"]
mod queueing;
