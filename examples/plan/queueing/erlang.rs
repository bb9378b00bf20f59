//! Calls that come at random, on servers that take exponential times. `load` is the number of busy servers if no call is refused.

/// Erlang B: the share of the calls that find all servers busy, if such calls are refused.
///
/// By its recurrence over the number of servers. Powers and factorials would overflow at 171 servers; here each step is a share.
pub(crate) fn erlang_b(servers: u32, load: f64) -> f64 {
    (1..=servers).fold(1.0, |busy, server| one_more(load / f64::from(server), busy))
}

/// Erlang C: the share of the calls that find all servers busy, if such calls wait. 1 where the servers cannot serve all.
pub(crate) fn erlang_c(servers: u32, load: f64) -> f64 {
    let utilisation = load / f64::from(servers);
    if utilisation >= 1.0 {
        return 1.0;
    }
    let busy = erlang_b(servers, load);
    busy / (1.0 - utilisation * (1.0 - busy))
}

/// What becomes of calls of which a limited number may wait (M/M/c/K).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded {
    /// The share of the calls that finds the queue full.
    pub(crate) refused: f64,
    /// How many calls wait on average.
    pub(crate) waiting: f64,
}

/// If `places` calls may wait.
pub(crate) fn bounded(servers: u32, load: f64, places: u32) -> Bounded {
    let utilisation = load / f64::from(servers);
    let none = Bounded { refused: erlang_b(servers, load), waiting: 0.0 };
    (1..=places).fold(none, |Bounded { refused, waiting }, place| {
        let refused = one_more(utilisation, refused);
        Bounded { refused, waiting: waiting + refused * (f64::from(place) - waiting) }
    })
}

/// The share of time in the last state of a birth and death process, from that share with one state less. `ratio` is that of births to
/// deaths between the last two states.
fn one_more(ratio: f64, last: f64) -> f64 {
    ratio * last / (1.0 + ratio * last)
}
