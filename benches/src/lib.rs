//! The benchmarks of `seawall`. The programs are in `benches/`; this library is empty.
