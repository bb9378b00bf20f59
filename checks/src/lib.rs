//! Checks of `seawall` with tools from outside. They are in `tests/`; this library is empty.
