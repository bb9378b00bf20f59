//! The topologies of a high-availability deployment as real processes, and what their users see when a part of them fails.
//!
//! ```text
//! users (closed loop) ──HTTP──> router (axum, seawall's balancer) ──HTTP──> predictors (axum, seawall, 10 slots each)
//! ```
//! - **The ramp:** one user more each second, until one of them sees a failure. It shows the capacity of a topology: one predictor,
//!   two active ones and a standby, three active ones.
//! - **The faults:** at steady load a predictor is killed, stopped, slowed down, or fails; or all are upgraded in turn.
//!
//! `cargo run --release --all-features --example hadr` prints tables and writes `target/hadr/report.html`. It exits with 1 if something
//! that must hold does not. Everything is measured by the users. `--help` shows the options.

#![allow(
    clippy::disallowed_methods,
    reason = "processes fail in real time; only the library's clock is one file's matter"
)]

#[cfg(unix)]
mod claim;
#[cfg(unix)]
mod deployment;
#[cfg(unix)]
mod fault;
#[cfg(unix)]
mod predictor;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod progress;
#[cfg(unix)]
mod ramp;
#[cfg(unix)]
mod record;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod router;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod topology;
#[cfg(unix)]
mod users;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(unix))]
fn main() -> std::process::ExitCode {
    eprintln!("error: this example stops processes with signals, and needs a Unix");
    std::process::ExitCode::FAILURE
}
