//! The output: a table and sentences on the terminal, and a picture. Charts and tables are those of the storm.

#[path = "../../storm/report/chart.rs"]
mod chart;
mod curves;
#[allow(dead_code, reason = "the storm needs more of it")]
#[path = "../../storm/report/sheet.rs"]
mod sheet;
mod tables;
#[path = "../../storm/report/theme.rs"]
mod theme;

pub(crate) use curves::picture;
pub(crate) use tables::{summary, table};
