//! Whether calls that begin among many others take longer than those that begin among few.
//!
//! While the limit is not in use, the two levels cannot be compared, and a limit that is far too high would stay: a client with 64
//! connections never fills a limit of 256, though it may keep 50 calls waiting inside a service of ten slots. But then calls take the
//! longer, the more others are in flight when they begin. If they take [`TWICE`] as long among four times as many, the limit comes
//! down to that number of calls in flight, where it is in use. There it is measured against half as many calls, and then against the level
//! at which calls would take as long as among few.
//!
//! This only raises the question. A service that became slower for its own reasons has more calls in flight, too, and the measurement
//! finds no queue.

/// As a logarithm.
const TWICE: f64 = std::f64::consts::LN_2;

/// The calls among many others that are needed, and looked at together.
const MANY: u32 = 32;

/// The calls among few others that are needed.
const FEW: f64 = 8.0;

/// A difference must be so many standard errors.
const CERTAIN: f64 = 3.0;

/// A group remembers so many calls.
const MEMORY: f64 = 64.0;

/// The times of the calls that began with 1, 2 to 3, 4 to 7, … calls in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowding {
    groups: [Group; 31],
}

/// Times as logarithms.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u32,
    mean: f64,
    variance: f64,
}

impl Crowding {
    /// Records a call. If calls like it take longer than those among few others, returns by how much, as a logarithm.
    pub(super) fn record(&mut self, in_flight: u32, took: f64) -> Option<f64> {
        let group = self.groups.get_mut(group_of(in_flight))?;
        group.record(took.max(1.0).ln());
        if group.count % MANY != 0 {
            return None;
        }
        let (group, lower) = self.groups.get(..=group_of(in_flight))?.split_last()?;
        let few = lower.iter().rev().skip(1).filter(|few| few.weight() >= FEW);
        let certain = few.filter_map(|few| {
            let (longer, error) = (group.mean - few.mean, (group.error() + few.error()).sqrt());
            (longer >= TWICE.max(CERTAIN * error)).then_some(longer)
        });
        // A group that has had no call since a slow spell still remembers that.
        certain.max_by(f64::total_cmp)
    }
}

fn group_of(in_flight: u32) -> usize {
    in_flight.max(1).ilog2().min(30) as usize
}

impl Group {
    fn record(&mut self, time: f64) {
        self.count = self.count.wrapping_add(1).max(1);
        let share = 1.0 / f64::from(self.count).min(MEMORY);
        let distance = time - self.mean;
        self.mean += share * distance;
        self.variance = (1.0 - share) * (self.variance + share * distance * distance);
    }

    fn weight(&self) -> f64 {
        f64::from(self.count).min(MEMORY)
    }

    /// The variance of the mean.
    fn error(&self) -> f64 {
        self.variance / self.weight()
    }
}
