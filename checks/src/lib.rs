//! Checks of `seawall` with external tools. They are in `tests/`; this library is empty.
