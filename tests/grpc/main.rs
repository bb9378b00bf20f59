//! The layers around real gRPC: tonic's clients and servers, and a server that fails as it is told to, over loopback.
#![cfg(feature = "grpc")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod fault;

mod respond;
mod retry;
mod settle;
mod streams;
mod verdicts;
