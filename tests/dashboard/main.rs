//! The live page: its answers, and what a real browser makes of it.
#![cfg(feature = "dashboard")]

mod browser;
mod fake;
mod looks;
mod orders;
mod pages;
