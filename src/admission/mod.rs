//! (admission)
