//! Builds the program that makes the calls, and runs it under callgrind.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::need;

/// The numbers of calls of the two runs. The first thousand calls cost more in layers that keep state by key.
const CALLS: [u64; 2] = [2000, 6000];

/// libc chooses its memory routines by the processor. These routines exist on every x86-64 processor.
const PLAIN_LIBC: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-AVX_Fast_Unaligned_Load,-AVX2,-AVX2_Usable,-AVX512F");

/// The program, and the names of its rows.
pub(super) struct Program {
    path: PathBuf,
    pub(super) rows: Vec<String>,
}

impl Program {
    pub(super) fn build() -> Result<Self, String> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // Without the rest of the workspace and the environment's flags: their features and flags would change the counts.
        cargo.args(["bench", "--package", "seawall-benches", "--bench", "instructions", "--", "list"]);
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env("CARGO_INCREMENTAL", "0");
        println!("running {}", need::shown(&cargo));
        let list = need::output(cargo.stderr(Stdio::inherit()))?;
        let mut lines = list.lines().map(str::to_owned);
        let path = lines.next().ok_or("the benchmark did not say its path")?.into();
        Ok(Self { path, rows: lines.collect() })
    }

    /// The instructions per call of each row that `is_asked` selects. Runs on all processors in parallel.
    pub(super) fn count(&self, valgrind: &Path, is_asked: impl Fn(&str) -> bool) -> Result<Vec<(String, f64)>, String> {
        let rows: Vec<&String> = self.rows.iter().filter(|row| is_asked(row)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut counted = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(row) = rows.get(index) else { return Ok(counted) };
                counted.push((index, self.count_row(valgrind, row)?));
            }
        };
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut counted: Vec<(usize, f64)> = thread::scope(|scope| {
            let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
            let all = workers.into_iter().map(|worker| worker.join().map_err(|_| "a thread panicked".to_owned())?);
            all.collect::<Result<Vec<_>, String>>()
        })?
        .concat();
        counted.sort_by_key(|(index, _)| *index);
        Ok(rows.into_iter().cloned().zip(counted.into_iter().map(|(_, count)| count)).collect())
    }

    fn count_row(&self, valgrind: &Path, row: &str) -> Result<f64, String> {
        let [few, many] = CALLS;
        let instructions = |calls| self.run(valgrind, row, calls);
        Ok((instructions(many)? - instructions(few)?) / (many - few) as f64)
    }

    fn run(&self, valgrind: &Path, row: &str, calls: u64) -> Result<f64, String> {
        let mut command = Command::new(valgrind);
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(&self.path);
        command.args([OsString::from(row), calls.to_string().into()]).env(PLAIN_LIBC.0, PLAIN_LIBC.1);
        let shown = need::shown(&command);
        let output = command.output().map_err(|error| format!("`{shown}` does not start: {error}"))?;
        let report = String::from_utf8_lossy(&output.stderr);
        let count = report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        match count {
            Some(count) if output.status.success() => Ok(count),
            _ => Err(format!("`{shown}` failed: {}\n{report}", output.status)),
        }
    }
}
