//! The layers around real gRPC: tonic's clients and servers, and a server with scripted failures, over connections in
//! memory.
#![cfg(feature = "grpc")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod fault;
#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;

mod hedge;
mod respond;
mod retry;
mod settle;
mod streams;
mod throttle;
mod verdicts;
