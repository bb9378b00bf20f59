//! Illegal configuration cannot be built: every fault is found at once, and each is named by the path of its field.

use std::time::Duration;

use seawall::deadline::DeadlineLayer;
use seawall::error::{Fault, InvalidConfig};

/// A unit mistaken, or arithmetic gone wrong: too long for any wait.
const ABSURD: Duration = Duration::MAX;

/// The paths of all that is wrong.
fn faults<L>(built: Result<L, InvalidConfig>) -> Vec<String> {
    match built {
        Ok(_) => Vec::new(),
        Err(invalid) => {
            assert!(invalid.faults().iter().all(|fault| !fault.problem().is_empty()));
            invalid.faults().iter().map(Fault::path).map(str::to_owned).collect()
        }
    }
}

#[test]
fn a_deadline_needs_a_timeout_that_can_be_waited_for() {
    assert_eq!(faults(DeadlineLayer::new(Duration::ZERO)), ["timeout"]);
    assert_eq!(faults(DeadlineLayer::new(ABSURD)), ["timeout"]);
    assert_eq!(faults(DeadlineLayer::new(Duration::from_nanos(1))), [""; 0]);
}
